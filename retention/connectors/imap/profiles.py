"""Whose rules a mail server keeps: Gmail's, Exchange's, or none but the standard's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import cast

from retention.clock import Clock, SystemClock
from retention.connectors.base import (
    Connector,
    Content,
    Finality,
    Level,
    Manifest,
    Outcome,
    Page,
    Probe,
    Proof,
    Record,
    Ref,
    Scalar,
    Target,
)
from retention.connectors.base import Opened as Opening
from retention.connectors.imap import connector as plain
from retention.connectors.imap.account import Account
from retention.connectors.imap.asking import criteria_of
from retention.connectors.imap.gmail import Gmail
from retention.connectors.imap.labels import MAILBOX
from retention.connectors.imap.oauth import Tokens
from retention.connectors.imap.settings import ImapSystem, Profile
from retention.errors import ConnectorError, PermanentFailure, TemporaryFailure
from retention.policy.periods import Period, last_day

_GMAIL_ITSELF = ("gmail.com", "googlemail.com")
"""Domains of accounts that no organisation administers."""
_WORKSPACE = Period(days=25)
"""How long an organisation's administrator can restore mail after it left the Trash."""
_EXCHANGE = Period(days=14)
"""How long Exchange keeps deleted items unless told otherwise."""


manifest = replace(
    plain.manifest,
    finality=Finality.UNKNOWN,
    notes=(
        *(note for note in plain.manifest.notes if not note.startswith("Gmail")),
        "A Gmail message is one record whatever its labels, and is deleted from all of them.",
        (
            "Administrators can bring back what was deleted: at Gmail for organisations for 25 "
            "days, at Exchange for 14 unless set otherwise. Until then a proof says so."
        ),
        "Legal holds at the provider (Vault, litigation hold) keep mail and are out of sight.",
    ),
)


def connect(opened: Opening) -> Connector:
    """A new session with a mail server; it connects when first used."""
    return MailConnector(opened)


class MailConnector(plain.ImapConnector):
    """One session with one mailbox, by the rules of whoever keeps it."""

    def __init__(self, opened: Opening) -> None:
        super().__init__(opened)
        settings = self._settings = cast(ImapSystem, opened.settings)
        self._clock = cast(Clock, opened.extras.get("clock") or SystemClock())
        self._tokens = self._session.tokens = Tokens(
            opened.system,
            base=opened.base,
            oauth=settings.oauth,
            access_token=settings.access_token,
            said=opened.extras.get("said"),
            resolve=opened.extras.get("resolve"),
        )
        self._account = Account(opened.system, settings.gmail, self._tokens)
        self._labels: Gmail | None = None

    def describe(self) -> Manifest:
        return manifest

    def close(self) -> None:
        if self._labels is not None:
            self._labels.forget()
        super().close()

    # --- whose rules --------------------------------------------------------------------------

    def _profile(self) -> Profile:
        """Whose rules hold. Raises PermanentFailure where the settings say what is not so."""
        said = self._settings.profile
        gmail = self._session.has("X-GM-EXT-1")
        if said is Profile.GMAIL and not gmail:
            raise PermanentFailure(
                "the server is not Gmail's: it lacks X-GM-EXT-1",
                hint="say `profile: auto`",
                place=self._system,
                code="profile",
            )
        if said is not Profile.AUTO:
            return said
        if gmail:
            return Profile.GMAIL
        exchange = b"Microsoft Exchange" in self._session.greeting
        return Profile.EXCHANGE if exchange else Profile.NONE

    def _gmail(self, target: Target | None = None) -> Gmail | None:
        """The calls over labels, where this is Gmail."""
        if self._profile() is not Profile.GMAIL:
            return None
        unit = getattr(target.settings, "unit", "message") if target else "message"
        if unit != "message":
            raise PermanentFailure(
                "threads cannot be one record at Gmail", hint="leave `unit` out", place=self._system
            )
        if self._labels is None:
            limit = self._account.folder_limit()
            gmail = self._settings.gmail
            self._labels = Gmail(self._session, self._own, self._page, gmail, limit)
        return self._labels

    def _recoverable(self, profile: Profile) -> Period | None:
        said = self._settings.recoverable
        if said is not None:
            return said if isinstance(said, Period) else None
        if profile is Profile.EXCHANGE:
            return _EXCHANGE
        domain = self._settings.username.rpartition("@")[2].lower()
        return _WORKSPACE if profile is Profile.GMAIL and domain not in _GMAIL_ITSELF else None

    # --- the calls ----------------------------------------------------------------------------

    def probe(self, targets: Sequence[Target]) -> Iterator[Probe]:
        for finding in super().probe(targets):
            yield finding
            if finding.check == "credentials" and not finding.ok:
                return
        try:
            profile = self._profile()
        except TemporaryFailure:
            raise
        except ConnectorError as error:
            yield Probe("profile", ok=False, detail=error.message, hint=error.hint)
            return
        yield from self._tokens.probe()
        if profile is Profile.GMAIL:
            yield from self._probe_gmail(targets)
        yield self._probe_finality(profile)

    def _probe_gmail(self, targets: Sequence[Target]) -> Iterator[Probe]:
        yield Probe("gmail", ok=True, detail="Gmail: messages are deleted by way of the Trash")
        yield from self._account.probe()
        try:
            labels = self._gmail()
            folders = [f for target in targets for f in self._resolved(target)]
            if labels is not None:
                labels.complete(folders)
        except TemporaryFailure:
            raise
        except ConnectorError as error:
            yield Probe("gmail: all mail", ok=False, detail=error.message, hint=error.hint)
        else:
            yield Probe(
                "gmail: all mail", ok=True, detail="All Mail, Spam and Trash are shown whole"
            )

    def _probe_finality(self, profile: Profile) -> Probe:
        period = self._recoverable(profile)
        if period is None:
            return Probe(
                "finality",
                ok=True,
                detail="what is expunged counts as gone; backups of the server are out of sight",
            )
        return Probe(
            "finality",
            ok=True,
            detail=f"what is deleted can be brought back by administrators for {period}; until "
            "then proofs say that it is with the vendor",
            hint="another period: `recoverable: 30 days`; none: `recoverable: none`",
        )

    def containers(self, target: Target) -> tuple[str, ...]:
        found = super().containers(target)
        return (*found, MAILBOX) if self._gmail(target) else found

    def count(self, target: Target) -> int | None:
        gmail = self._gmail(target)
        return gmail.count(self._resolved(target)) if gmail else super().count(target)

    def spans(self, target: Target, most: int, least: int) -> tuple[str | None, ...]:
        # Folders overlap: a message in two spans would be found twice.
        return (None,) if self._gmail(target) else super().spans(target, most, least)

    def find(self, target: Target, cursor: str | None = None) -> Iterator[Page]:
        gmail = self._gmail(target)
        if gmail is None:
            yield from super().find(target, cursor)
            return
        criteria = criteria_of(target)
        yield from gmail.find(target, self._resolved(target), criteria, cursor)

    def recheck(self, target: Target, keys: Sequence[str]) -> Iterator[Record]:
        gmail = self._gmail(target)
        if gmail is None:
            yield from super().recheck(target, keys)
        else:
            yield from gmail.recheck(target, frozenset(self._covered(target)), keys)

    def read(self, target: Target, refs: Sequence[Ref]) -> Iterator[Content]:
        gmail = self._gmail(target)
        yield from gmail.read(refs) if gmail else super().read(target, refs)

    def erase(self, target: Target, refs: Sequence[Ref]) -> Iterator[Outcome]:
        if not refs:
            return
        gmail = self._gmail(target)
        if gmail is None:
            yield from super().erase(target, refs)
            return
        covered = frozenset(self._covered(target))
        folders = [f for f in self._session.folders(again=False) if f.name in covered]
        yield from gmail.erase(target, folders, covered, refs)

    def verify(
        self,
        target: Target,
        refs: Sequence[Ref],
        control: Ref | None,
        masked: Mapping[str, Scalar] | None = None,
    ) -> Iterator[Proof]:
        if not refs:
            return
        gmail = self._gmail(target) if masked is None else None
        if gmail is None:
            found = super().verify(target, refs, control, masked)
        else:
            covered = self._covered(target)
            folders = [f for f in self._session.folders(again=False) if f.name in covered]
            found = gmail.verify(folders, refs, control)
        period = self._recoverable(self._profile())
        yield from (self._honest(proof, period) for proof in found)

    def _honest(self, proof: Proof, period: Period | None) -> Proof:
        """Gone for us, and with the vendor for as long as its administrators can bring it back."""
        if period is None or proof.level not in (Level.GONE, Level.CLEAN):
            return proof
        last = last_day(self._clock.now().date(), period) + timedelta(days=1)
        until = datetime.combine(last, time(), UTC) + timedelta(hours=period.hours)
        return proof._replace(level=Level.VENDOR, until=until)
