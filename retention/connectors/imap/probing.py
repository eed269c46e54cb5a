"""What `doctor` should know of a mailbox before anybody relies on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_address

from retention.connectors.base import Probe, Target
from retention.connectors.imap.session import Session
from retention.connectors.imap.settings import Tls
from retention.connectors.mail_folders import MailFolder
from retention.errors import ConnectorError, TemporaryFailure

_NEEDED = "rswte"
"""RFC 4314: read, keep seen state, write flags, mark deleted, expunge."""
_EXCESS = "xkai"
_GMAIL_LIMITS = frozenset({1000, 2000, 5000, 10000})

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
    uidplus = session.has("UIDPLUS")
    yield Probe(
        "uidplus",
        uidplus,
        "single messages can be expunged" if uidplus else "no UIDPLUS: deleting is refused",
        "" if uidplus else "ask the provider; a plain EXPUNGE would hit other people's marks",
    )
    if session.has("X-GM-EXT-1"):
        yield Probe(
            "gmail",
            ok=False,
            detail="this is Gmail: expunging removes a label, so deleting is refused",
            hint="deleting at Gmail is not supported yet",
        )
    for target in targets:
        yield from _target(session, target, resolve)


def _protection(session: Session) -> Probe:
    settings = session.settings
    if settings.tls is not Tls.NONE:
        return Probe("tls", ok=True, detail=f"protected ({settings.tls}), certificate checked")
    if _loopback(settings.host):
        return Probe("tls", ok=True, detail="unprotected, but on this machine only")
    return Probe(
        "tls",
        ok=False,
        detail="password and mail travel in the clear",
        hint="say `tls: implicit` or `starttls`",
    )


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


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
            counts.append(session.open(folder.name, afresh=True).exists)
        except TemporaryFailure:
            raise
        except ConnectorError as error:
            told = f"a folder cannot be opened: {error.message}"
            yield Probe(check, ok=False, detail=told, hint=error.hint)
    yield Probe(check, bool(covered), f"{len(counts)} folders with {sum(counts)} messages")
    if session.has("ACL"):
        yield from _rights(session, check, covered)
    if session.has("X-GM-EXT-1") and _GMAIL_LIMITS.intersection(counts):
        yield Probe(
            check,
            ok=False,
            detail="a folder shows exactly as many messages as Gmail's folder size limit allows",
            hint="set “Folder size limits” in Gmail's IMAP settings to none: older mail is hidden",
        )


def _rights(session: Session, check: str, folders: Sequence[MailFolder]) -> Iterator[Probe]:
    lacking: set[str] = set()
    excess: set[str] = set()
    for folder in folders:
        rights = session.rights(folder)
        if rights is not None:
            lacking |= set(_NEEDED) - rights
            excess |= set(_EXCESS) & rights
    yield Probe(
        f"{check}: rights",
        not lacking,
        f"lacks {', '.join(sorted(lacking))}" if lacking else "may read, mark and expunge",
        "grant r, s, w, t and e on these folders" if lacking else "",
    )
    if excess:
        told = ", ".join(sorted(excess))
        yield Probe(
            f"{check}: excess rights", ok=True, detail=f"could also {told} (RFC 4314), not needed"
        )
