"""What `doctor` says of a folder before anything is due."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import cast

from retention.connectors.base import Probe, Target
from retention.connectors.files.overlap import Known
from retention.connectors.files.root import Folder, Root
from retention.connectors.files.settings import FilesLocation, HardLinks
from retention.connectors.files.sources import Sources
from retention.connectors.files.surroundings import in_use, mount_of
from retention.connectors.files.survey import Seen, survey
from retention.errors import ConnectorError

_SNAPSHOTS = {"btrfs", "zfs", "bcachefs"}
_UNSTABLE = {"vfat", "exfat", "msdos"}
_HOMES = (Path("/home"), Path("/Users"), Path("/root"))


def system(root: Root) -> Iterator[Probe]:
    """The root, the account, the disk."""
    try:
        with root.opened() as folder:
            yield Probe("path", ok=True, detail="the root is a folder that can be read")
            yield from _place(root, folder)
            yield from _disk(folder)
    except ConnectorError as error:
        yield Probe("path", ok=False, detail=error.message, hint=error.hint)
        return
    if os.geteuid() == 0:
        yield Probe(
            "account",
            ok=False,
            detail="this runs as root, who may delete everything everywhere",
            hint="run it as an account that may write to these folders only",
        )
    if in_use(frozenset()).blind:
        yield Probe(
            "open files",
            ok=False,
            detail="other accounts' processes cannot be seen, nor what they have open",
            hint="logs younger than 24 hours are left alone; other files go even if open",
        )


def _place(root: Root, folder: Folder) -> Iterator[Probe]:
    status = os.fstat(folder.at)
    if _is_home(status):
        yield Probe(
            "path",
            ok=False,
            detail="the root is a home folder, with everything a person has",
            hint="name the folder below it that holds the data",
        )
    if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
        yield Probe(
            "path",
            ok=False,
            detail="everybody may write to the root, so everybody may swap what lies in it",
            hint="chmod o-w",
        )
    if root.holds_policies:
        yield Probe("path", ok=True, detail="*.yaml here are policies, and never records")


def _is_home(status: os.stat_result) -> bool:
    people = {Path(p.pw_dir) for p in pwd.getpwall() if p.pw_uid >= 500 or p.pw_uid == 0}
    with suppress(OSError):
        people |= {child for top in _HOMES[:2] if top.is_dir() for child in top.iterdir()}
    for home in {*people, *_HOMES}:
        with suppress(OSError):
            # Accounts of services have / or /nonexistent as home.
            if home != Path("/") and os.path.samestat(home.stat(), status):
                return True
    return False


def _disk(folder: Folder) -> Iterator[Probe]:
    mount = mount_of(folder.at)
    if mount is None:
        return
    if "ro" in mount.options:
        yield Probe(
            "disk",
            ok=False,
            detail="the file system is mounted read-only: nothing can be deleted",
            hint="mount it for writing, or point `path` at the place where it is",
        )
    if mount.kind in _SNAPSHOTS:
        yield Probe(
            "disk",
            ok=False,
            detail=f"{mount.kind} may keep deleted files in snapshots, which are not touched",
            hint="let snapshots expire within what the policy promises",
        )
    if mount.kind in _UNSTABLE:
        yield Probe(
            "disk",
            ok=False,
            detail=f"{mount.kind} has no lasting inode numbers: files may seem changed, and stay",
            hint="keep the data on another file system",
        )


def location(root: Root, target: Target, known: Known, timezone: str) -> Iterator[Probe]:
    """What the globs mean, and what they do not reach."""
    settings = cast(FilesLocation, target.settings)
    check = f"location {target.name}"
    try:
        known.add(target.name, settings.selection)
        Sources(target, timezone)
        seen = survey(root, settings.selection)
    except ConnectorError as error:
        yield Probe(check, ok=False, detail=error.message, hint=error.hint)
        return
    more = "at least " if seen.cut else ""
    yield Probe(check, ok=True, detail=f"{more}{seen.files} files in {seen.folders} folders")
    yield from _accessed(root, target, check)
    for ok, number, detail, hint in _told(seen, settings):
        if number:
            yield Probe(check, ok=ok, detail=f"{number} {detail}", hint=hint)


def _accessed(root: Root, target: Target, check: str) -> Iterator[Probe]:
    if "accessed" not in target.dates:
        return
    with root.opened() as folder:
        mount = mount_of(folder.at)
    options = mount.options if mount else frozenset()
    for option, what in (("noatime", "never"), ("relatime", "at most once a day")):
        if option in options:
            yield Probe(
                check,
                ok=option == "relatime",
                detail=f"`accessed` is recorded {what} on this mount ({option})",
                hint="use `modified`" if option == "noatime" else "count in days, not in hours",
            )


def _told(seen: Seen, settings: FilesLocation) -> Iterator[tuple[bool, int, str, str]]:
    """(fine, how many, what, hint). Numbers only: names may be personal."""
    yield (False, seen.unreadable, "folders cannot be read", "let the account read them")
    yield (
        False,
        seen.unwritable,
        "folders cannot be written to",
        "deleting a file needs the right to write to its folder",
    )
    yield (
        False,
        seen.sticky,
        "files belong to others in sticky folders, and may not be deleted",
        "run as the owner, or take the sticky bit off",
    )
    yield (False, seen.fixed, "files or folders are immutable or append-only", "chattr -i -a")
    refused = settings.hard_links is HardLinks.REFUSE
    yield (
        False,
        seen.linked,
        f"files have another hard link{', and are left alone' if refused else ''}",
        "remove the other name, or say `hard_links: unlink` and mind the proof",
    )
    yield (
        False,
        seen.links,
        "symbolic links match; neither they nor what they lead to is a record",
        "name the real place as a location of its own",
    )
    yield (True, seen.special, "pipes, sockets or devices match and are no records", "")
    yield (
        False,
        seen.borders,
        "folders lie on other file systems and are not entered",
        "make each a system of its own",
    )
    yield (
        False,
        seen.placeholders,
        "files lie in a cloud and not on this machine; their content is never fetched",
        "delete them where they are, or keep them on this machine",
    )
    yield (
        False,
        seen.hidden,
        "hidden files or folders are not meant by a wildcard",
        "write the dot in a glob of its own, if they are meant",
    )
    yield (
        False,
        seen.copies,
        "backups that programs make (~, .swp, .bak) lie beside records",
        "a file's backup is another file: let a glob mean it too",
    )
    yield (
        False,
        seen.copy_folders,
        "folders hold trash, snapshots or old versions, which may keep what is deleted",
        "let them expire within what the policy promises",
    )
    yield (
        False,
        seen.set_aside,
        "files were set aside by an interrupted disposal",
        "the next run brings them back and decides anew",
    )
