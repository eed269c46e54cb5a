"""What a server keeps of a deleted file: Nextcloud's and ownCloud's bin, and old versions.

An item of the bin is the file that it was by its number (`oc:fileid`), which it keeps; only where
a server tells no numbers, by its place and size. Emptying the bin as a whole is never asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from retention.connectors.webdav.properties import BASIC, DAV, Entry, NotThere, listing, look
from retention.connectors.webdav.reading import TRASH, file_id, instant
from retention.connectors.webdav.session import Session
from retention.connectors.webdav.settings import WebdavSystem
from retention.connectors.webdav.tree import Tree, joined
from retention.errors import CredentialsRefused, PermanentFailure

_NAMES = (*BASIC, *TRASH)
_DELETED = (200, 204)


class Item(NamedTuple):
    """A deleted file that still lies in the bin. `entry.key` is its key there."""

    entry: Entry
    deleted: int
    """When, in Unix seconds; 0 where the server does not say."""

    @property
    def tells_date(self) -> bool:
        """Whether its modification date is the file's own: Nextcloud shows the deletion there."""
        modified = instant(self.entry.text(f"{DAV}getlastmodified"))
        return modified is not None and abs(modified.timestamp() - self.deleted) > 2


class Bin:
    """The bin of one session's account; perhaps there is none."""

    def __init__(self, session: Session, settings: WebdavSystem) -> None:
        shape = settings.nextcloud
        deduced = f"{shape['dav']}/trashbin/{shape['user']}/trash" if shape else None
        url = settings.trash or deduced
        self._session = session
        self._tree = Tree(url, session.system) if url else None
        self._said = settings.trash is not None
        self._there: bool | None = None
        # Places in the bin are told from the account's root, which `url` may lie below.
        home = Tree(f"{shape['dav']}/files/{shape['user']}", session.system) if shape else None
        self._below = home.key(settings.url, settings.url) if home else ""
        versions = f"{shape['dav']}/versions/{shape['user']}/versions" if shape else None
        old = settings.versions or versions
        self._versions = Tree(old, session.system) if old else None

    @property
    def there(self) -> bool:
        """Whether the account has a bin. Raises PermanentFailure for a named one that is gone."""
        if self._there is None:
            tree = self._tree
            names = (f"{DAV}resourcetype",)
            self._there = (
                tree is not None
                and look(self._session, tree, "", names, "looking for the bin") is not None
            )
            if not self._there and self._said:
                raise PermanentFailure(
                    "there is no bin at `trash`",
                    hint="check the URL, or leave it out",
                    place=self._session.system,
                    code="missing",
                )
        return self._there

    @property
    def has_versions(self) -> bool:
        """Whether old versions could be looked for."""
        return self._versions is not None

    def find(self, wanted: Mapping[str, str]) -> dict[str, list[Item]]:
        """Key → its items in the bin, the latest first. `wanted`: key → number of the file, or "".

        Files that went with their folder count too. Raises ConnectorErrors.
        """
        found: dict[str, list[Item]] = {}
        if not wanted or not self.there or self._tree is None:
            return found
        numbers = {number: key for key, number in wanted.items() if number}
        places = {joined(self._below, key): key for key in wanted}
        folders: list[tuple[Entry, str, int]] = []
        for entry in listing(self._session, self._tree, "", _NAMES, "looking into the bin"):
            original = (entry.text(TRASH[0]) or entry.text(TRASH[2])).strip("/")
            deleted = _seconds(entry)
            if entry.folder:
                if any(place.startswith(f"{original}/") for place in places):
                    folders.append((entry, original, deleted))
                continue
            number = file_id(entry)
            key = numbers.get(number) if number else None
            if key is None:
                at = places.get(original)
                # Another file that lay there before has a number of its own.
                key = at if at is not None and not (number and wanted[at]) else None
            if key is not None:
                found.setdefault(key, []).append(Item(entry, deleted))
        for folder, original, deleted in folders:
            for place, key in places.items():
                if place.startswith(f"{original}/"):
                    self._inside(folder, place.removeprefix(original), key, wanted, deleted, found)
        for items in found.values():
            items.sort(key=lambda item: item.deleted, reverse=True)
        return found

    def _inside(
        self,
        folder: Entry,
        rest: str,
        key: str,
        wanted: Mapping[str, str],
        deleted: int,
        found: dict[str, list[Item]],
    ) -> None:
        assert self._tree is not None  # noqa: S101 -- for the type checker; asked for before
        entry = look(self._session, self._tree, folder.key + rest, _NAMES, "looking into the bin")
        if entry is None or entry.folder:
            return
        number = file_id(entry)
        if not (number and wanted[key]) or number == wanted[key]:
            found.setdefault(key, []).append(Item(entry, deleted))

    def purge(self, item: Item) -> bool:
        """Remove one item for good; False where the server refuses. Raises TemporaryFailure."""
        assert self._tree is not None  # noqa: S101 -- an item comes from `find`
        return self._delete(self._tree.url(item.entry.key), "purging from the bin")

    def old_versions(self, number: str) -> list[Entry]:
        """What is left of a file's former contents; nothing where the server has no such place."""
        if self._versions is None or not number:
            return []
        names = (f"{DAV}resourcetype",)
        try:
            found = listing(self._session, self._versions, number, names, "looking for versions")
            return [entry for entry in found if not entry.folder]
        except NotThere:
            return []

    def drop_versions(self, number: str) -> bool:
        """Remove a deleted file's former contents; False where some stay."""
        if self._versions is None:
            return True
        urls = [self._versions.url(entry.key) for entry in self.old_versions(number)]
        stayed = [url for url in urls if not self._delete(url, "removing an old version")]
        return not stayed

    def _delete(self, url: str, doing: str) -> bool:
        try:
            status = self._session.ask("DELETE", url, doing).status
        except CredentialsRefused:
            return False
        return status in _DELETED or status == 404


def _seconds(entry: Entry) -> int:
    text = entry.text(TRASH[1]) or entry.text(TRASH[3])
    return int(text) if text.isascii() and text.isdigit() else 0
