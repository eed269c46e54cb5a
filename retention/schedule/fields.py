"""One cron field at a time: our own strict grammar, checked before croniter sees anything.

croniter accepts far more than people mean (six fields, `R`, `1-1` for "all", `W`), and what it
accepts changed between versions. So each field is read here and written out again in a form that
every cron understands in the same way; `H` is resolved on the way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from retention.errors import PolicyError

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]

_VALUE = r"(?:\d{1,2}|[a-z]{3})"
_STEPPED = re.compile(rf"(?P<low>{_VALUE})(?:-(?P<high>{_VALUE}))?(?:/(?P<step>\d+))?", re.ASCII)
_STAR = re.compile(r"\*(?:/(?P<step>\d+))?", re.ASCII)
_HASH = re.compile(r"h(?:\((?P<low>\d{1,2})-(?P<high>\d{1,2})\))?(?:/(?P<step>\d+))?", re.ASCII)
_NTH = re.compile(rf"(?P<day>{_VALUE})#(?P<nth>[1-5])", re.ASCII)
_LAST = re.compile(rf"l(?P<day>{_VALUE})", re.ASCII)


class CronError(PolicyError):
    """A schedule that cannot be taken. `code` says which kind:

    `bad-cron` (not our grammar), `both-day-fields` (cron would fire when either matches),
    `never-fires` (no date has such a day), `bad-schedule` (not a schedule at all).
    """

    code = "bad-cron"


@dataclass(frozen=True, slots=True)
class Field:
    """What one of the five fields may hold: `low` to `high`, both included."""

    name: str
    low: int
    high: int
    names: Mapping[str, int] = field(default_factory=dict)
    hash_high: int | None = None
    """`H` stays at or below this, so that no month lacks the day it picks."""

    def number(self, text: str) -> int:
        """The value of a number or a name. Raises CronError."""
        value = int(text) if text.isdigit() else self.names.get(text)
        top = 7 if self is DAY_OF_WEEK else self.high
        if value is None or not self.low <= value <= top:
            raise CronError(
                f"`{text}` is no {self.name}",
                hint=f"use {self.low} to {self.high}",
                code="bad-cron",
            )
        return value


MINUTE = Field("minute", 0, 59)
HOUR = Field("hour", 0, 23)
DAY_OF_MONTH = Field("day of month", 1, 31, hash_high=28)
MONTH = Field("month", 1, 12, {name: n for n, name in enumerate(_MONTHS, 1)})
DAY_OF_WEEK = Field("day of week", 0, 6, {name: n for n, name in enumerate(_DAYS)})
FIELDS = (MINUTE, HOUR, DAY_OF_MONTH, MONTH, DAY_OF_WEEK)


def plain(kind: Field, text: str, name: str) -> str:
    """The field in plain cron: numbers only, steps with explicit ends, `H` resolved for `name`.

    `L` (last day of the month), `5#2` (second Friday) and `L5` (last Friday) stay as they are.
    Raises CronError.
    """
    items = text.lower().split(",")
    if len(items) > 1 and "*" in items:
        raise CronError(f"`{text}`: `*` already means every {kind.name}", hint="write `*` alone")
    written = [_item(kind, item, name) for item in items]
    special = [w for w in written if "#" in w or w.startswith("L")]
    if kind is DAY_OF_WEEK and special and len(special) != len(written):
        raise CronError(
            f"`{text}` mixes plain days of the week with numbered ones",
            hint="make two policies, or number each day: `1#1,1#3`",
        )
    return ",".join(dict.fromkeys(written))


def stable_hash(name: str, what: str, size: int) -> int:
    """A number from 0 to `size - 1` that depends on nothing but the two texts."""
    digest = sha256(f"{name}\0{what}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % size


def _item(kind: Field, item: str, name: str) -> str:
    if found := _STAR.fullmatch(item):
        step = _step(kind, found["step"], kind.low, kind.high)
        return "*" if step == 1 else f"*/{step}"
    if found := _HASH.fullmatch(item):
        return _hashed(kind, found, name)
    if kind is DAY_OF_MONTH and item == "l":
        return "L"
    if kind is DAY_OF_WEEK and (found := _NTH.fullmatch(item)):
        return f"{kind.number(found['day']) % 7}#{found['nth']}"
    if kind is DAY_OF_WEEK and (found := _LAST.fullmatch(item)):
        return f"L{kind.number(found['day']) % 7}"
    if found := _STEPPED.fullmatch(item):
        return _range(kind, item, found)
    raise CronError(f"`{item}` is no {kind.name} that cron knows", hint=_hint(item))


def _range(kind: Field, item: str, found: re.Match[str]) -> str:
    low = kind.number(found["low"])
    if found["high"] is None and found["step"] is None:
        return str(low % 7 if kind is DAY_OF_WEEK else low)
    high = kind.number(found["high"]) if found["high"] is not None else kind.high
    if kind is DAY_OF_WEEK and high == 0 < low:
        high = 7  # a week that ends with Sunday
    same = low == high or (kind is DAY_OF_WEEK and low % 7 == high % 7)
    if same and found["high"] is not None:
        raise CronError(
            f"`{item}` begins and ends with the same {kind.name}",
            hint=f"write `{low}` for that one, `*` for all: programs differ on this range",
        )
    if low > high:
        raise CronError(
            f"`{item}` runs backwards",
            hint=f"write `{_stepped(low, kind.high, 1)},{_stepped(kind.low, high, 1)}`",
        )
    return _stepped(low, high, _step(kind, found["step"], low, high, open_end=not found["high"]))


def _hashed(kind: Field, found: re.Match[str], name: str) -> str:
    if not name:
        raise CronError("`H` needs the name of a policy to spread by")
    low = kind.number(found["low"]) if found["low"] else kind.low
    high = kind.number(found["high"]) if found["high"] else kind.hash_high or kind.high
    if low > high:
        raise CronError(f"`{found[0].upper()}` runs backwards", hint="the smaller number first")
    if found["step"] is None:
        return str((low + stable_hash(name, kind.name, high - low + 1)) % (kind.high + 1))
    step = _step(kind, found["step"], low, high)
    return _stepped(low + stable_hash(name, kind.name, step), high, step)


def _stepped(low: int, high: int, step: int) -> str:
    """A range that means the same everywhere; a single value where the step leaves but one."""
    if low + step > high:
        return str(low)
    return f"{low}-{high}" if step == 1 else f"{low}-{high}/{step}"


def _step(kind: Field, text: str | None, low: int, high: int, *, open_end: bool = False) -> int:
    step = int(text) if text is not None else 1
    if step < 1 or (step > high - low and not open_end and text is not None):
        raise CronError(
            f"a step of {step} does not fit into {kind.name}s {low} to {high}",
            hint="name the values you mean",
        )
    return step


def _hint(item: str) -> str:
    if item.startswith("r"):
        return "`R` would differ on every machine; `H` spreads by the policy's name and stays"
    if "?" in item:
        return "write `*`"
    if "w" in item:
        return "the nearest weekday is not supported: retention periods never roll to working days"
    return "numbers, names (jan, mon), `*`, `a-b`, `*/n`, lists with commas, `H`, `L`, `1#2`"
