"""SEARCH on the label server: keys as functions of a message."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import UTC, date
from email import message_from_bytes
from email.utils import parsedate_to_datetime
from typing import Protocol

from tests.servers.gmail_store import Account, Message
from tests.servers.gmail_syntax import MONTHS, Item, RefuseError


class Selected(Protocol):
    """The connection that asks, with a folder selected."""

    def chosen(self, numbers: str, *, uid: bool) -> Iterable[tuple[int, int, Message]]: ...
    def flags(self, message: Message) -> str: ...
    def box(self) -> Account: ...


Test = Callable[[int, int, Message], bool]


class Keys:
    """SEARCH keys as functions."""

    def __init__(self, client: Selected, words: list[Item]) -> None:
        self.client = client
        self.words = words

    def all(self) -> Test:
        tests = []
        while self.words:
            tests.append(self.key())
        return lambda n, u, m: all(test(n, u, m) for test in tests)

    def text(self) -> str:
        return str(self.words.pop(0))

    def key(self) -> Test:
        word = self.words.pop(0)
        if isinstance(word, list):
            return Keys(self.client, list(word)).all()
        name = word.upper()
        if re.fullmatch(r"[\d:*,]+", name):
            chosen = {u for _, u, _ in self.client.chosen(name, uid=False)}
            return lambda n, u, m: u in chosen
        method: Callable[[], Test] | None = getattr(self, _KEYS.get(name, ""), None)
        if method is None:
            raise RefuseError(f"BAD Could not parse command: {name}")
        self.name = name
        return method()

    def everything(self) -> Test:
        return lambda n, u, m: True

    def uid(self) -> Test:
        chosen = {u for _, u, _ in self.client.chosen(self.text(), uid=True)}
        return lambda n, u, m: u in chosen

    def negated(self) -> Test:
        inner = self.key()
        return lambda n, u, m: not inner(n, u, m)

    def either(self) -> Test:
        one, other = self.key(), self.key()
        return lambda n, u, m: one(n, u, m) or other(n, u, m)

    def dated(self) -> Test:
        name, day = self.name, _day(self.text())
        return lambda n, u, m: _compares(name, m.received.astimezone(UTC).date(), day)

    def sent(self) -> Test:
        name, day = self.name.removeprefix("SENT"), _day(self.text())

        def test(_n: int, _u: int, message: Message) -> bool:
            value = message_from_bytes(message.data).get("date")
            return value is not None and _compares(name, parsedate_to_datetime(value).date(), day)

        return test

    def header(self) -> Test:
        name, part = self.text(), self.text().lower()

        def test(_n: int, _u: int, message: Message) -> bool:
            values = message_from_bytes(message.data).get_all(name, [])
            return any(part in str(value).lower() for value in values)

        return test

    def flagged(self) -> Test:
        wanted = not self.name.startswith("UN")
        flag = "\\" + self.name.removeprefix("UN").capitalize()
        flags = self.client.flags
        return lambda n, u, m: (flag in flags(m).split()) is wanted

    def msgid(self) -> Test:
        wanted = int(self.text())
        return lambda n, u, m: m.msgid == wanted

    def thrid(self) -> Test:
        wanted = int(self.text())
        return lambda n, u, m: m.thrid == wanted

    def labelled(self) -> Test:
        name = self.client.box().label_named(self.text())
        return lambda n, u, m: name in m.labels

    def raw(self) -> Test:
        """Of Gmail's own search language only `rfc822msgid:`, `label:` and bare words."""
        tests = [self._raw(word) for word in self.text().split()]
        return lambda n, u, m: all(test(n, u, m) for test in tests)

    def _raw(self, word: str) -> Test:
        operator, colon, value = word.partition(":")
        if colon and operator == "rfc822msgid":
            return lambda n, u, m: value.encode() in m.data
        if colon and operator == "label":
            return lambda n, u, m: value.lower() in {name.lower() for name in m.labels}
        if colon:
            raise RefuseError(f"BAD not modelled: {operator}")
        return lambda n, u, m: word.lower().encode() in m.data.lower()


_KEYS = {
    "ALL": "everything", "UID": "uid", "NOT": "negated", "OR": "either",
    "BEFORE": "dated", "ON": "dated", "SINCE": "dated",
    "SENTBEFORE": "sent", "SENTON": "sent", "SENTSINCE": "sent", "HEADER": "header",
    "DELETED": "flagged", "UNDELETED": "flagged", "SEEN": "flagged", "UNSEEN": "flagged",
    "FLAGGED": "flagged", "UNFLAGGED": "flagged", "ANSWERED": "flagged",
    "X-GM-MSGID": "msgid", "X-GM-THRID": "thrid", "X-GM-LABELS": "labelled", "X-GM-RAW": "raw",
}  # fmt: skip


def _day(text: str) -> date:
    day, month, year = text.split("-")
    return date(int(year), MONTHS.index(month.capitalize()) + 1, int(day))


def _compares(name: str, one: date, other: date) -> bool:
    return {"BEFORE": one < other, "ON": one == other, "SINCE": one >= other}[name]
