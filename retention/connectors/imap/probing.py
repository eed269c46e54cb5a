"""What `doctor` should know of a mailbox before anybody relies on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from retention.connectors.base import Probe, Target
from retention.connectors.imap.session import Session
from retention.connectors.imap.settings import Tls, WithoutUidplus
from retention.connectors.mail_folders import MailFolder
from retention.errors import ConnectorError, TemporaryFailure

_NEEDED = "rte"
"""RFC 4314: read, mark as deleted, expunge."""
_EXCESS = "xkai"
_LONG = {
    "r": "read (r)",
    "t": "mark as deleted (t)",
    "e": "expunge (e)",
    "x": "delete folders (x)",
    "k": "make folders (k)",
    "a": "change rights (a)",
    "i": "put messages in (i)",
}

Resolve = Callable[[Target], tuple[MailFolder, ...]]


def probe(session: Session, targets: Sequence[Target], resolve: Resolve) -> Iterator[Probe]:
    """Findings in the order in which a person would ask. Raises only what is temporary."""
    try:
        folders = session.folders()
    except TemporaryFailure:
        raise
    except ConnectorError as error:
        yield Probe("credentials", ok=False, detail=error.message, hint=error.hint)
        return
    yield Probe("credentials", ok=True, detail=f"logged in; {len(folders)} folders are visible")
    yield _protection(session)
    yield _uidplus(session)
    for target in targets:
        yield from _target(session, target, resolve)


def _uidplus(session: Session) -> Probe:
    if session.has("UIDPLUS"):
        return Probe("uidplus", ok=True, detail="single messages can be expunged")
    if session.settings.without_uidplus is WithoutUidplus.LIFT_MARKS:
        return Probe(
            "uidplus",
            ok=True,
            detail="no UIDPLUS: other people's \\Deleted marks are lifted while we expunge",
            hint="a message that another client marks in that very moment goes with ours",
        )
    return Probe(
        "uidplus",
        ok=False,
        detail="no UIDPLUS: deleting is refused",
        hint="ask the provider; or read what `without_uidplus: lift_marks` risks",
    )


def _protection(session: Session) -> Probe:
    settings = session.settings
    if settings.tls is not Tls.NONE:
        return Probe("tls", ok=True, detail=f"protected ({settings.tls}), certificate checked")
    # Anything else without TLS is refused before a password is sent.
    return Probe("tls", ok=True, detail="unprotected, but on this machine only")


def _target(session: Session, target: Target, resolve: Resolve) -> Iterator[Probe]:
    check = f"location {target.name}"
    try:
        covered = resolve(target)
    except TemporaryFailure:
        raise
    except ConnectorError as error:
        yield Probe(check, ok=False, detail=error.message, hint=error.hint)
        return
    counts = []
    for folder in covered:
        try:
            opened = session.open(folder.name, afresh=True)
            counts.append(opened.exists)
        except TemporaryFailure:
            raise
        except ConnectorError as error:
            told = f"a folder cannot be opened: {error.message}"
            yield Probe(check, ok=False, detail=told, hint=error.hint)
    yield Probe(check, bool(covered), f"{len(counts)} folders with {sum(counts)} messages")
    if session.has("ACL"):
        yield from _rights(session, check, covered)


def _rights(session: Session, check: str, folders: Sequence[MailFolder]) -> Iterator[Probe]:
    lacking: set[str] = set()
    excess: set[str] = set()
    for folder in folders:
        rights = session.rights(folder)
        if rights is not None:
            lacking |= set(_NEEDED) - rights
            excess |= set(_EXCESS) & rights
    told = ", ".join(_LONG[r] for r in _NEEDED if r in lacking)
    yield Probe(
        f"{check}: rights",
        not lacking,
        f"lacks: {told}" if lacking else "may read, mark and expunge",
        f"grant {', '.join(r for r in _NEEDED if r in lacking)} on these folders (RFC 4314)"
        if lacking
        else "",
    )
    if excess:
        told = ", ".join(_LONG[r] for r in _EXCESS if r in excess)
        yield Probe(f"{check}: excess rights", ok=True, detail=f"could also {told}: not needed")
