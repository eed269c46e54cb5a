"""Deleting files, each only if it is what it was, and then what the server kept of them.

Before each DELETE the file is looked at again; `If-Match` closes the gap where the server heeds
it. Nextcloud is asked to leave the bin out (`X-NC-Skip-Trashbin`); an older one, which does not
know that, is purged of exactly these items afterwards. A folder is never deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from retention.connectors.base import Outcome, Record, Ref, Result
from retention.connectors.webdav.bin import Bin, Item
from retention.connectors.webdav.properties import Entry, look
from retention.connectors.webdav.reading import (
    Sources,
    file_id,
    size_of,
    split_trace,
    strong_etag,
)
from retention.connectors.webdav.session import Session
from retention.connectors.webdav.tree import Tree
from retention.errors import ConnectorError

_SKIP_BIN = {"X-NC-Skip-Trashbin": "true"}


_ANSWERS = {
    202: (Result.UNKNOWN, ""),
    207: (Result.UNKNOWN, ""),
    403: (Result.FAILED_PERMANENT, "denied"),
    405: (Result.FAILED_PERMANENT, "denied"),
    412: (Result.CHANGED, ""),
    423: (Result.FAILED_TEMPORARY, "locked"),
}
"""What an answer to DELETE means, and a word for it."""


class Deleted(NamedTuple):
    """A file that is gone from its place, but perhaps not from the bin."""

    ref: Ref
    record: Record | None
    """As it was just before; None where it was gone already."""


class Eraser:
    """One act. `left`: what was deleted but could not be purged yet, remembered by the session."""

    def __init__(
        self,
        session: Session,
        tree: Tree,
        sources: Sources,
        bin_: Bin,
        left: dict[str, Record],
        check_roots: Callable[[], None],
    ) -> None:
        self._session = session
        self._tree = tree
        self._sources = sources
        self._bin = bin_
        self._left = left
        self._check_roots = check_roots

    def erase(self, refs: Sequence[Ref]) -> Iterator[Outcome]:
        """One outcome per ref. Raises after the outcomes of what was done."""
        gone: list[Deleted] = []
        failure: ConnectorError | None = None
        for ref in refs:
            try:
                done = self._delete(ref)
            except ConnectorError as error:
                failure = error
                break
            if isinstance(done, Outcome):
                yield done
            else:
                gone.append(done)
        if gone:
            yield from self._purge(gone)
        if failure is not None:
            failure.__context__ = None
            raise failure

    def _delete(self, ref: Ref) -> Outcome | Deleted:
        entry = look(
            self._session, self._tree, ref.key, self._sources.names, "looking before deleting"
        )
        if entry is None:
            return self._absent(ref)
        if entry.folder:
            return Outcome(ref.key, Result.CHANGED, "now_a_folder")
        if self._sources.version(entry) != ref.version:
            return Outcome(ref.key, Result.CHANGED)
        headers = dict(_SKIP_BIN)
        if etag := strong_etag(entry):
            headers["If-Match"] = etag
        status = self._session.ask("DELETE", self._tree.url(ref.key), "deleting", headers).status
        if status in (200, 204):
            return Deleted(ref, self._sources.record(entry, ref.container))
        if status in (404, 410):
            return self._absent(ref)
        refused = (Result.FAILED_PERMANENT, f"http_{status}")
        return Outcome(ref.key, *_ANSWERS.get(status, refused))

    def _absent(self, ref: Ref) -> Outcome | Deleted:
        # Where the folder is not there, an unmounted disk looks like a deletion.
        try:
            self._check_roots()
        except ConnectorError as error:
            if not error.permanent or error.code != "folder_missing":
                raise
            return Outcome(ref.key, Result.FAILED_PERMANENT, "folder_missing")
        return Deleted(ref, None)

    def _purge(self, gone: Sequence[Deleted]) -> Iterator[Outcome]:
        wanted = {d.ref.key: split_trace(d.ref.trace)[1] for d in gone}
        try:
            items = self._bin.find(wanted)
        except ConnectorError as error:
            yield from (self._unpurged(d, error) for d in gone)
            return
        for deleted in gone:
            ref = deleted.ref
            mine = [i for i in items.get(ref.key, ()) if self._is(i, deleted)]
            mine = mine or _latest(items.get(ref.key, ()), deleted)
            try:
                purged = not [item for item in mine if not self._bin.purge(item)]
                clean = self._bin.drop_versions(wanted[ref.key])
            except ConnectorError as error:
                yield self._unpurged(deleted, error)
                continue
            self._left.pop(ref.key, None)
            yield _outcome(deleted, found=bool(mine), purged=purged, clean=clean)

    def _is(self, item: Item, deleted: Deleted) -> bool:
        """Whether an item of the bin is this very file, by its number or else by its version."""
        _, number = split_trace(deleted.ref.trace)
        if number and (theirs := file_id(item.entry)):
            return number == theirs
        as_file = Entry(deleted.ref.key, folder=False, props=item.entry.props)
        return self._sources.version(as_file) == deleted.ref.version

    def _unpurged(self, deleted: Deleted, error: ConnectorError) -> Outcome:
        """Deleted, but what the bin holds of it is not known, or still there."""
        key = deleted.ref.key
        if error.permanent:
            if deleted.record is None:
                return Outcome(key, Result.UNKNOWN, "bin_unreadable")
            return Outcome(key, Result.DISPOSED, "bin_unreadable")
        if deleted.record is not None:
            self._left[key] = deleted.record
        return Outcome(key, Result.FAILED_TEMPORARY, "left_in_bin")


def _latest(items: Sequence[Item], deleted: Deleted) -> list[Item]:
    """Where a server tells no numbers: what came from there last, if we deleted it just now.

    `items`: the latest first. The size, a part of the version, must be the same.
    """
    if not items or deleted.record is None or file_id(items[0].entry):
        return []
    size = str(size_of(items[0].entry))
    alone = len(items) == 1 or items[0].deleted > items[1].deleted
    return [items[0]] if alone and deleted.ref.version.split(".")[1:2] == [size] else []


def _outcome(deleted: Deleted, *, found: bool, purged: bool, clean: bool) -> Outcome:
    code = ("" if clean else "versions_left") if purged else "left_in_bin"
    done = deleted.record is not None or (found and purged)
    return Outcome(deleted.ref.key, Result.DISPOSED if done else Result.ALREADY_ABSENT, code)
