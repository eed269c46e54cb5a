"""`where:` filters: how they are read, and what they say about one record.

The answer has three values. `True` and `False` are certain; `None` means "cannot tell": the field
is missing or unreadable, or it nearly equals a listed value (case, surrounding spaces). A policy
that disposes takes a record on `True` only; a policy that protects lets go on `False` only. So
what nobody can tell is never deleted and always protected.

| value | in | not_in | before, after | matches | empty |
|---|---|---|---|---|---|
| missing from the record | None | None | None | None | None |
| empty (None, "", spaces, no addresses) | False | None | None | False | True |
| equals a listed value | True | False | | | False |
| nearly equals one | None | None | | | False |
| none of them | False | True | | | False |

Numbers equal their text (`7`, `"7"`, `7.0`; an unquoted `007` in a file is the number 7); true and
false equal 1 and 0; dates equal their ISO text. `before` and `after` are strict and compare civil
days in the given zone. Of several values (mail addresses), one that is listed suffices for `in`.
`matches` searches, with the pattern limits of `retention.policy.patterns`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, tzinfo
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, NamedTuple

from retention.policy.model import LocationModel, Scalar
from retention.policy.patterns import LONGEST_VALUE, compiled, pattern_problem


class Op(StrEnum):
    """Comparisons of a structured filter; the same words as a connector's conditions."""

    IN = "in"
    NOT_IN = "not_in"
    BEFORE = "before"
    AFTER = "after"
    MATCHES = "matches"
    EMPTY = "empty"


class Filter(NamedTuple):
    """One comparison of one field; all of a `where` hold together.

    IN, NOT_IN: a tuple of scalars. BEFORE, AFTER: a date. MATCHES: a pattern. EMPTY: a bool.
    """

    field: str
    op: Op
    value: Any


class WhereError(ValueError):
    """A `where` that cannot be understood; `path` leads to the place inside it."""

    def __init__(
        self, message: str, path: tuple[str | int, ...], *, empty: bool = False, hint: str = ""
    ) -> None:
        super().__init__(message)
        self.path = path
        self.empty = empty
        """True where it selects nothing at all, which must never come to mean everything."""
        self.hint = hint


def parse(where: Mapping[str, Any] | None) -> tuple[Filter, ...]:
    """Structured filters of a `where`; none at all for None. Raises WhereError."""
    if where is None:
        return ()
    if not where:
        raise WhereError("an empty `where` selects nothing", (), empty=True)
    found: list[Filter] = []
    for field, said in where.items():
        if isinstance(said, Mapping):
            if not said:
                raise WhereError("no comparison is given", (field,), empty=True)
            found.extend(_filter(field, op, value) for op, value in said.items())
        elif isinstance(said, list | tuple):
            found.append(Filter(field, Op.IN, _listed(said, (field,))))
        else:
            found.append(Filter(field, Op.IN, _listed([said], (field,))))
    return tuple(found)


def _filter(field: str, op: str, value: Any) -> Filter:
    path = (field, op)
    match op:
        case Op.IN | Op.NOT_IN:
            listed = value if isinstance(value, list | tuple) else [value]
            return Filter(field, Op(op), _listed(listed, path))
        case Op.BEFORE | Op.AFTER:
            day = _day(value, UTC)
            if day is None:
                raise WhereError("expected a date, YYYY-MM-DD", path)
            return Filter(field, Op(op), day)
        case Op.MATCHES:
            if not isinstance(value, str):
                raise WhereError("expected a pattern in quotes", path)
            if problem := pattern_problem(value):
                raise WhereError(problem, path)
            return Filter(field, Op.MATCHES, value)
        case Op.EMPTY:
            if not isinstance(value, bool):
                raise WhereError("expected true or false", path)
            return Filter(field, Op.EMPTY, value)
        case _:
            raise WhereError(
                f"there is no comparison called `{op}`", path, hint=f"one of {', '.join(Op)}"
            )


def _listed(values: list[Any] | tuple[Any, ...], path: tuple[str | int, ...]) -> tuple[Scalar, ...]:
    if not values:
        raise WhereError("an empty list selects nothing", path, empty=True)
    for i, value in enumerate(values):
        if value is None:
            hint = f"say {path[0]}: {{empty: true}} for records without a value"
            raise WhereError("nothing is not a value to compare with", (*path, i), hint=hint)
        if not isinstance(value, str | int | float | bool):
            raise WhereError("expected plain values", (*path, i))
    return tuple(values)


def for_location(filters: tuple[Filter, ...], location: LocationModel) -> tuple[Filter, ...]:
    """The same filters on the location's own source names: its dates, then its fields."""
    return tuple(
        f._replace(field=location.dates.get(f.field) or location.source(f.field)) for f in filters
    )


def matches(
    filters: tuple[Filter, ...], values: Mapping[str, Any], zone: tzinfo = UTC
) -> bool | None:
    """Whether all filters hold for `values` (fields and dates, by the filters' names).

    False where one certainly does not; None where none is certainly false and one cannot be told.
    """
    certain = True
    for f in filters:
        if f.field not in values:
            certain = False
            continue
        held = _holds(f, values[f.field], zone)
        if held is False:
            return False
        certain = certain and held is True
    return True if certain else None


def _holds(f: Filter, value: Any, zone: tzinfo) -> bool | None:
    several = isinstance(value, tuple | list | frozenset | set)
    parts: list[Any] = [v for v in (value if several else (value,)) if not _is_empty(v)]
    if f.op is Op.EMPTY:
        return (not parts) is f.value
    if not parts:
        return False if f.op in (Op.IN, Op.MATCHES) else None
    if f.op is Op.NOT_IN:
        listed = _any(_is_one_of(v, f.value) for v in parts)
        return None if listed is None else not listed
    if f.op is Op.IN:
        return _any(_is_one_of(v, f.value) for v in parts)
    if f.op is Op.MATCHES:
        return _any(_found(f.value, v) for v in parts)
    return _all(_on_side(f.op, v, f.value, zone) for v in parts)


def _any(answers: Any) -> bool | None:
    seen = list(answers)
    return True if True in seen else None if None in seen else False


def _all(answers: Any) -> bool | None:
    seen = list(answers)
    return False if False in seen else None if None in seen else True


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _is_one_of(value: Any, listed: tuple[Scalar, ...]) -> bool | None:
    return _any(_same(value, wanted) for wanted in listed)


def _same(value: Any, wanted: Scalar) -> bool | None:
    """Whether a record's value is the wanted one; None where only a person could tell."""
    if isinstance(value, bool) or isinstance(wanted, bool):
        left, right = _as_bool(value), _as_bool(wanted)
        return None if left is None or right is None else left is right
    if isinstance(value, date):
        day = _day(wanted, UTC)
        return None if day is None or isinstance(value, datetime) else value == day
    if isinstance(value, str) and isinstance(wanted, str):
        near = value.strip().casefold() == wanted.strip().casefold()
        return (value == wanted or None) if near else False
    if isinstance(value, str | int | float | Decimal):
        return _same_number(value, wanted)
    return None


def _same_number(value: str | float | Decimal, wanted: Scalar) -> bool | None:
    left, right = _as_number(value), _as_number(wanted)
    if left is None or right is None:
        # Text beside a number is another value; a number that is none (NaN) is no value.
        return False if isinstance(value, str) or isinstance(wanted, str) else None
    return left == right


def _as_bool(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float | Decimal) and value in (0, 1):
        return bool(value)
    if isinstance(value, str):
        return {"true": True, "1": True, "false": False, "0": False}.get(value.strip().casefold())
    return None


def _as_number(value: Any) -> Decimal | None:
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _day(value: Any, zone: tzinfo) -> date | None:
    if isinstance(value, datetime):
        return value.date() if value.tzinfo is None else value.astimezone(zone).date()
    if isinstance(value, date):
        return value
    if isinstance(value, str):
        try:
            return date.fromisoformat(value.strip())
        except ValueError:
            return None
    return None


def _on_side(op: Op, value: Any, wanted: date, zone: tzinfo) -> bool | None:
    day = _day(value, zone)
    if day is None:
        return None
    return day < wanted if op is Op.BEFORE else day > wanted


def _found(pattern: str, value: Any) -> bool | None:
    if not isinstance(value, str | int):
        return None
    text = str(value)
    if len(text) > LONGEST_VALUE:
        return None
    return compiled(pattern).search(text) is not None
