"""What a message says, in plain words for people and as data for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from retention.ledger.store import stamp
from retention.policy.counting import zone_of
from retention.watch.advice import advice
from retention.watch.alarms import Alarm, Telling, What

MOST_LISTED = 50
"""Alarms that are written out; beyond that they are counted."""
LONGEST_LINE = 500
_HEADINGS = {
    What.BEGAN: "NEEDS SOMEBODY",
    What.LASTS: "STILL NEEDS SOMEBODY (told before)",
    What.ENDED: "OVER",
}


@dataclass(frozen=True, slots=True)
class Message:
    """One message. `zone` is the organisation's; `origin` says whose service it is."""

    tellings: tuple[Telling, ...]
    origin: str
    zone: str
    at: datetime

    def subject(self) -> str:
        """`2 alarms: limit (contact-form), partial (crm); 1 over`, on one line."""
        alarming = [t.alarm for t in self.tellings if t.what is not What.ENDED]
        over = [t.alarm for t in self.tellings if t.what is What.ENDED]
        parts = []
        if alarming:
            parts.append(f"{_count(len(alarming))}: {_names(alarming)}")
        if over:
            parts.append(f"{len(over)} over" if alarming else f"over: {_names(over)}")
        said = one_line(f"[retention {self.origin}] {'; '.join(parts)}", 200)
        # Where a name looks like an encoded word, a reader of mail would decode line breaks again.
        return said.replace("=?", "= ?")

    def text(self) -> str:
        """The whole message for people."""
        lines = [
            f"The retention service of {one_line(self.origin)} reports, {self._when(self.at)}."
        ]
        listed = self._listed()
        for what, heading in _HEADINGS.items():
            chosen = [telling.alarm for telling in listed if telling.what is what]
            if chosen:
                lines += ["", heading]
                for alarm in chosen:
                    lines += self._paragraph(alarm, what)
        if left := self._left():
            kinds = ", ".join(f"{number} × {one_line(kind)}" for kind, number in left.most_common())
            lines += ["", f"And {left.total()} more: {kinds}."]
        lines += [
            "",
            "How things stand: retention status",
            "What each alarm means: docs/how-to/when-it-alarms.md",
        ]
        return "\n".join(lines) + "\n"

    def to_json(self) -> dict[str, Any]:
        """The body of a webhook. `text` is a sentence that chat systems show as it is."""
        return {
            "version": 1,
            "origin": self.origin,
            "at": stamp(self.at),
            "text": self.subject(),
            "alarms": [
                {
                    "id": alarm.id,
                    "policy": alarm.policy or None,
                    "kind": alarm.kind,
                    "detail": one_line(alarm.detail),
                    "state": str(what),
                    "since": stamp(alarm.raised_at),
                    "ended": stamp(alarm.cleared_at) if alarm.cleared_at else None,
                    "what": advice(alarm.kind, alarm.policy).what,
                    "do": advice(alarm.kind, alarm.policy).do,
                }
                for alarm, what, _ in self._listed()
            ],
            "more": dict(self._left()),
        }

    def _listed(self) -> list[Telling]:
        """What needs somebody comes first, so that it is what a long message still says."""
        order = list(_HEADINGS)
        return sorted(self.tellings, key=lambda t: order.index(t.what))[:MOST_LISTED]

    def _left(self) -> Counter[str]:
        listed = {telling.alarm.id for telling in self._listed()}
        return Counter(t.alarm.kind for t in self.tellings if t.alarm.id not in listed)

    def _paragraph(self, alarm: Alarm, what: What) -> Iterator[str]:
        words = advice(alarm.kind, alarm.policy)
        whose = f": {one_line(alarm.policy)}" if alarm.policy else ""
        yield f"* {one_line(alarm.kind)}{whose}"
        if what is What.ENDED and alarm.cleared_at is not None:
            yield f"  From {self._when(alarm.raised_at)} to {self._when(alarm.cleared_at)}."
            return
        yield f"  {words.what}"
        if alarm.detail:
            yield f"  Detail: {one_line(alarm.detail)}"
        yield f"  Since: {self._when(alarm.raised_at)}"
        yield f"  What to do: {one_line(words.do)}"

    def _when(self, at: datetime) -> str:
        return f"{at.astimezone(zone_of(self.zone)):%Y-%m-%d %H:%M} ({self.zone})"


def one_line(text: str, longest: int = LONGEST_LINE) -> str:
    """Text without line breaks and control characters, cut at a length."""
    plain = "".join(c if c.isprintable() else " " for c in text)
    return plain if len(plain) <= longest else f"{plain[: longest - 1]}…"


def _count(number: int) -> str:
    return f"{number} alarm" if number == 1 else f"{number} alarms"


def _names(alarms: list[Alarm]) -> str:
    said = [f"{a.kind} ({a.policy})" if a.policy else a.kind for a in alarms[:3]]
    return ", ".join(said) + (", …" if len(alarms) > 3 else "")
