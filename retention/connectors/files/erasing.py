"""Deleting files of one folder, each only if it is the very file that was decided upon."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from retention.connectors.base import Outcome, Ref, Result
from retention.connectors.files.aside import Aside, NoRoomError, bring_back
from retention.connectors.files.attributes import why_not_permitted
from retention.connectors.files.globs import Steps
from retention.connectors.files.identity import Version, parsed, version_of
from retention.connectors.files.names import SLOTS
from retention.connectors.files.root import Elsewhere, Folder, Root, settle
from retention.connectors.files.surroundings import InUse

YOUNGEST_LOG = timedelta(hours=24)
"""Where nobody can tell whether a log is still written to, its age must."""
_TEMPORARY = {
    errno.ENOSPC: "no_space",
    errno.EDQUOT: "no_space",
    errno.EBUSY: "busy",
    errno.ETXTBSY: "busy",
    errno.EAGAIN: "busy",
}


class Rules(NamedTuple):
    """What the location says of deleting, and what is known of the machine now."""

    accessed: bool
    links_too: bool
    """Delete a name although the file has another one."""
    logs: bool
    in_use: InUse
    now: datetime


class Refused(Exception):
    """This file is left as it is; `outcome` says why."""

    def __init__(self, result: Result, code: str = "") -> None:
        super().__init__(code)
        self.result = result
        self.code = code


class Eraser:
    """Works off the refs of one call, folder by folder."""

    def __init__(self, root: Root, rules: Rules) -> None:
        self._root = root
        self._rules = rules
        self._unlinked: dict[int, tuple[int, Version]] = {}
        """Inodes that we took a name from: when they changed before, and what they are since."""

    def folder(self, folder: Folder, wanted: Mapping[str, Ref]) -> list[Outcome]:
        """Delete these names. Returns when the disk has them deleted."""
        aside = Aside(folder)
        try:
            outcomes = [self._outcome(aside, name, ref) for name, ref in wanted.items()]
        finally:
            aside.close()
        settle(folder.at)
        return outcomes

    def _outcome(self, aside: Aside, name: str, ref: Ref) -> Outcome:
        try:
            links = self._dispose(aside, name, ref)
        except Refused as refused:
            return Outcome(ref.key, refused.result, refused.code)
        except FileNotFoundError:
            # Renamed or removed this very moment: which of the two, the engine finds out.
            return Outcome(ref.key, Result.FAILED_TEMPORARY, "moved")
        except NoRoomError:
            return Outcome(ref.key, Result.FAILED_TEMPORARY, "busy")
        except OSError as error:
            return Outcome(ref.key, *_refusal(error, aside.folder, name))
        return Outcome(ref.key, Result.DISPOSED, "linked" if links > 1 else "")

    def _dispose(self, aside: Aside, name: str, ref: Ref) -> int:
        """Delete one file; how many names it had. Raises Refused, NoRoomError, OSError."""
        folder = aside.folder
        status = self._found(folder, name)
        expected = self._expected(parsed(ref.version), status.st_ino)
        if expected is None or not folder.ours(status) or self._version(status) != expected:
            raise Refused(Result.CHANGED)
        self._refuse_used(status)
        self._refuse_linked(status)
        status = aside.take(name)
        same = folder.ours(status) and self._version(status).same_file(expected)
        if not same or (status.st_nlink > 1 and not self._rules.links_too):
            back = aside.bring_back(name)
            if not same:
                raise Refused(Result.CHANGED, "" if back else "set_aside")
            raise Refused(Result.FAILED_PERMANENT, "hard_link" if back else "set_aside")
        if status.st_nlink > 1:
            self._unlink_one(aside, name, status, parsed(ref.version))
        else:
            self._unlink(aside, name)
        return status.st_nlink

    def _found(self, folder: Folder, name: str) -> os.stat_result:
        try:
            return folder.status(name)
        except FileNotFoundError:
            if not bring_back(folder, name):
                raise Refused(Result.ALREADY_ABSENT) from None
        return folder.status(name)

    def _expected(self, version: Version | None, inode: int) -> Version | None:
        """The version that was decided upon, after what we ourselves did to its other names."""
        before, since = self._unlinked.get(inode, (0, None))
        if version is None or since is None or version.inode != inode or version.changed != before:
            return version
        return version._replace(changed=since.changed, links=since.links)

    def _version(self, status: os.stat_result) -> Version:
        return version_of(status, accessed=self._rules.accessed)

    def _refuse_linked(self, status: os.stat_result) -> None:
        if status.st_nlink > 1 and not self._rules.links_too:
            raise Refused(Result.FAILED_PERMANENT, "hard_link")

    def _refuse_used(self, status: os.stat_result) -> None:
        rules, inode = self._rules, (status.st_dev, status.st_ino)
        if inode in rules.in_use.locked:
            raise Refused(Result.FAILED_TEMPORARY, "locked")
        if inode in rules.in_use.opened:
            raise Refused(Result.FAILED_TEMPORARY, "open")
        if rules.logs and rules.in_use.blind:
            written = datetime.fromtimestamp(status.st_mtime, UTC)
            if rules.now - written < YOUNGEST_LOG:
                raise Refused(Result.FAILED_TEMPORARY, "perhaps_open")

    def _unlink_one(
        self, aside: Aside, name: str, status: os.stat_result, decided: Version | None
    ) -> None:
        """Take one of several names; remember what that made of the file."""
        with aside.held(name) as descriptor:
            self._unlink(aside, name)
            since = self._version(os.fstat(descriptor))
        if decided is not None:
            self._unlinked[status.st_ino] = decided.changed, since

    @staticmethod
    def _unlink(aside: Aside, name: str) -> None:
        try:
            aside.unlink(name)
        except OSError as error:
            if not aside.holds(name):
                # It is gone, and the disk says that something went wrong: the engine looks.
                raise Refused(Result.UNKNOWN, "disk") from None
            result, code = _refusal(error, aside.folder, name)
            raise Refused(result, code if aside.bring_back(name) else "set_aside") from None

    def tidy(self, steps: Steps, bases: Sequence[Steps], *, prune: bool) -> None:
        """Remove what our deletions left empty: private folders always, others where asked.

        Never a folder that a glob names, and never one that still holds something: a file that
        appears meanwhile makes the removal fail, and that is right.
        """
        while steps and (steps[-1] in SLOTS or (prune and not _named(steps, bases))):
            try:
                with self._root.folder(steps[:-1]) as above:
                    os.rmdir(steps[-1], dir_fd=above.at)
                    settle(above.at)
            except (OSError, Elsewhere):
                return
            steps = steps[:-1]


def _named(steps: Steps, bases: Sequence[Steps]) -> bool:
    return any(base[: len(steps)] == steps for base in bases)


def _refusal(error: OSError, folder: Folder, name: str) -> tuple[Result, str]:
    """What a refusal of the operating system means. Names and texts of it stay out."""
    number = error.errno or 0
    if code := _TEMPORARY.get(number):
        return Result.FAILED_TEMPORARY, code
    if number == errno.EROFS:
        return Result.FAILED_PERMANENT, "read_only"
    if number == errno.EACCES:
        return Result.FAILED_PERMANENT, "denied"
    if number == errno.EPERM:
        return Result.FAILED_PERMANENT, why_not_permitted(folder, name)
    if number in (errno.EMFILE, errno.ENFILE):
        return Result.FAILED_TEMPORARY, "too_many_open"
    return Result.FAILED_TEMPORARY, "disk"
