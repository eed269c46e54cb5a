"""What a Gmail account's own IMAP settings say, where its access token may read them."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from typing import Any

from retention.connectors.base import Probe
from retention.connectors.imap.gmail import limit_of
from retention.connectors.imap.oauth import Tokens, got
from retention.connectors.imap.settings import GmailSettings
from retention.connectors.outgoing import refuse_private
from retention.errors import ConnectorError

_PATH = "/gmail/v1/users/me/settings/imap"
_BEHAVIOURS = {
    "archive": "archived: it stays in All Mail",
    "trash": "moved to the Trash",
    "deleteForever": "deleted for ever",
}


class Account:
    """Read once a session; what cannot be read is unknown, never assumed."""

    def __init__(self, system: str, settings: GmailSettings, tokens: Tokens) -> None:
        self._system = system
        self._settings = settings
        self._tokens = tokens
        self._told: Mapping[str, Any] | None = None
        self._why = ""

    def __repr__(self) -> str:
        return f"Account({self._system})"

    def folder_limit(self) -> int | None:
        """`maxFolderSize`, 0 for no limit; None where it cannot be read."""
        told = self._read()
        return limit_of(told) if told else None

    def probe(self) -> Iterator[Probe]:
        """What the settings mean for mail that other programs delete, and for what we can see."""
        told = self._read()
        if not told:
            yield Probe(
                "gmail: imap settings",
                ok=True,
                detail=f"cannot be read ({self._why}); folder limits are guessed by numbers",
                hint="an OAuth token and the Gmail API enabled for its project would tell",
            )
            return
        behaviour = _BEHAVIOURS.get(str(told.get("expungeBehavior", "")), "archived")
        auto = "at once" if told.get("autoExpunge") else "when it says so"
        limit = limit_of(told)
        yield Probe(
            "gmail: imap settings",
            ok=limit == 0,
            detail=f"what another program deletes from its last label is {behaviour}, {auto}; "
            + (
                "folders are shown whole"
                if limit == 0
                else f"folders show {limit} messages at most"
            ),
            hint="" if limit == 0 else "take the folder size limit away in Gmail's IMAP settings",
        )

    def _read(self) -> Mapping[str, Any]:
        if self._told is None:
            self._told = self._ask()
        return self._told

    def _ask(self) -> Mapping[str, Any]:
        if not self._tokens.from_provider:
            self._why = "no OAuth token"
            return {}
        try:
            refuse_private(self._settings.api, self._system, private=self._settings.private)
            status, told = got(self._settings.api + _PATH, self._tokens.access())
        except ssl.SSLCertVerificationError:
            self._why = "certificate"
        except OSError:
            self._why = "no connection"
        except ConnectorError as error:
            self._why = error.code
        else:
            # The API leaves out what is zero or false: an answer with anything in it is whole.
            if status == 200 and told:
                return told
            self._why = f"HTTP {status}"
        return {}
