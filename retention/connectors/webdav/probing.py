"""What `doctor` should know of a WebDAV server before anybody relies on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from urllib.parse import urlsplit

from retention.connectors.base import Probe, Target
from retention.connectors.outgoing import is_loopback
from retention.connectors.webdav.bin import Bin
from retention.connectors.webdav.properties import DAV, OC, Entry, look
from retention.connectors.webdav.reading import instant, strong_etag
from retention.connectors.webdav.session import Session
from retention.connectors.webdav.tree import Tree
from retention.connectors.webdav.walking import Walk
from retention.errors import ConnectorError, TemporaryFailure

_NAMES = (f"{DAV}resourcetype", f"{DAV}getetag", f"{DAV}getlastmodified", f"{OC}permissions")
_SKEW = 120.0


def probe(
    session: Session,
    tree: Tree,
    bin_: Bin,
    targets: Sequence[Target],
    walk: Callable[[Target], tuple[Walk, Sequence[str]]],
    now: datetime,
) -> Iterator[Probe]:
    """Findings in the order in which a person would ask. Raises only what is temporary."""
    try:
        root = look(session, tree, "", _NAMES, "looking at the root")
    except TemporaryFailure:
        raise
    except ConnectorError as error:
        yield Probe("credentials", ok=False, detail=error.message, hint=error.hint)
        return
    if root is None or not root.folder:
        yield Probe("url", ok=False, detail="there is no folder at `url`", hint="check `url`")
        return
    yield Probe("credentials", ok=True, detail="logged in; the root folder can be read")
    yield _protection(session.settings.url)
    yield _skew(session, tree, now)
    yield from _bin(bin_)
    sample: Entry | None = None
    for target in targets:
        check = f"location {target.name}"
        try:
            through, folders = walk(target)
            through.check_roots()
            for folder in folders:
                yield from _rights(session, tree, folder, check)
            sample = sample or _some_file(through)
        except TemporaryFailure:
            raise
        except ConnectorError as error:
            yield Probe(check, ok=False, detail=error.message, hint=error.hint)
            continue
        yield Probe(check, ok=True, detail=f"{len(folders)} folders to begin in, all are there")
    if sample is not None:
        yield _condition(session, tree, sample)
    yield Probe(
        "excess rights",
        ok=True,
        detail="WebDAV cannot limit a login to deleting: it may also write wherever it may delete",
        hint="best is an account of its own, with which only these folders are shared",
    )


def _protection(url: str) -> Probe:
    split = urlsplit(url)
    if split.scheme == "https":
        return Probe("tls", ok=True, detail="protected, certificate checked")
    inside = is_loopback(split.hostname or "")
    return Probe("tls", ok=inside, detail="unprotected, but on this machine only")


def _skew(session: Session, tree: Tree, now: datetime) -> Probe:
    answer = session.ask("OPTIONS", tree.url("", folder=True), "asking for the time")
    theirs = instant(answer.headers.get("Date", ""))
    if theirs is None:
        return Probe("clock", ok=True, detail="the server does not tell its time")
    apart = abs((theirs - now).total_seconds())
    if apart <= _SKEW:
        return Probe("clock", ok=True, detail="the server's clock agrees with ours")
    return Probe(
        "clock",
        ok=False,
        detail=f"the server's clock is {int(apart)} s from ours",
        hint="files get their dates from that clock: set it right",
    )


def _bin(bin_: Bin) -> Iterator[Probe]:
    try:
        there = bin_.there
    except TemporaryFailure:
        raise
    except ConnectorError as error:
        yield Probe("bin", ok=False, detail=error.message, hint=error.hint)
        return
    if there:
        yield Probe("bin", ok=True, detail="deleted files are looked for in the bin, and purged")
    else:
        yield Probe(
            "bin",
            ok=True,
            detail="no bin is known: if the server keeps deleted files, nobody sees them here",
            hint="say `trash` where the server has a bin",
        )
    if bin_.has_versions:
        yield Probe("versions", ok=True, detail="old versions are looked for after each deletion")


def _rights(session: Session, tree: Tree, folder: str, check: str) -> Iterator[Probe]:
    entry = look(session, tree, folder, _NAMES, "looking at a folder's rights")
    said = entry.text(f"{OC}permissions") if entry else ""
    if not said:
        return
    if "D" not in said and folder:
        yield Probe(
            f"{check}: rights",
            ok=False,
            detail="the account may not delete there",
            hint="share the folder with the right to delete",
        )
    if "S" in said:
        yield Probe(
            f"{check}: shared",
            ok=False,
            detail="a folder belongs to another account: its bin is out of sight",
            hint="use the owner's account, or empty the owner's bin by its own retention",
        )
    if "M" in said:
        yield Probe(
            f"{check}: mounted",
            ok=True,
            detail="a folder lies on a storage of its own, whose snapshots nobody sees here",
        )


def _some_file(walk: Walk) -> Entry | None:
    for batch in walk.files(_NAMES, 1, None):
        return next((entry for entry in batch.files if strong_etag(entry)), None)
    return None


def _condition(session: Session, tree: Tree, sample: Entry) -> Probe:
    """Asked with a HEAD, which changes nothing: a wrong tag must be refused."""
    url = tree.url(sample.key)
    wrong = {"If-Match": '"no-file-has-this-tag"'}
    status = session.ask("HEAD", url, "asking with a wrong tag", wrong).status
    if status == 412:
        return Probe("if-match", ok=True, detail="the server checks the precondition itself")
    return Probe(
        "if-match",
        ok=True,
        detail="the server ignores preconditions: each file is looked at right before deleting",
        hint="a change within the same second could be lost: run at night",
    )
