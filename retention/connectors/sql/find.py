"""Finding rows: keyset pages, each a statement of its own, so that nothing is kept from anybody."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from functools import partial
from itertools import pairwise
from typing import Any

from sqlalchemy import ColumnElement, Select, String, func, or_, select
from sqlalchemy.dialects.postgresql import ENUM as PG_ENUM
from sqlalchemy.types import Enum, Integer, Numeric

from retention.connectors.base import Condition, Op, Page, Target
from retention.connectors.sql.dates import not_after, not_before
from retention.connectors.sql.layout import Layout
from retention.connectors.sql.rows import Reading
from retention.connectors.sql.session import Session, fetch


def pages(
    session: Session, reading: Reading, target: Target, cursor: str | None, size: int
) -> Iterator[Page]:
    """Every row that may match, in the order of the key."""
    layout = reading.layout
    key = layout.key_column
    wanted = (*pushed(layout, target), *within(layout, target.span))
    statement = select(*reading.columns).where(*wanted).order_by(key).limit(size)
    after = start_of(layout, cursor)
    while True:
        page = statement if after is None else statement.where(key > after)
        rows = session.told(target.name, partial(_rows, session, page))
        if not rows:
            return
        after = rows[-1][0]
        yield Page(list(reading.records(rows)), cursor_of(layout, after), len(rows))
        if len(rows) < size:
            return


def _rows(session: Session, statement: Select[Any]) -> list[tuple[Any, ...]]:
    return fetch(session.reading(), statement)


def cursor_of(layout: Layout, after: Any) -> str:
    """The cursor of a page that ends with this key."""
    return json.dumps({"table": layout.container, "after": layout.to_text(after)})


def start_of(layout: Layout, cursor: str | None) -> Any:
    """The key to go on behind; None, the beginning, for a cursor of something else."""
    try:
        said = json.loads(cursor or "")
        return layout.to_key(said["after"]) if said["table"] == layout.container else None
    except (ValueError, KeyError, TypeError):
        return None


def spans(
    session: Session,
    layout: Layout,
    target: Target,
    most: int,
    least: int,
    ours: Sequence[ColumnElement[bool]] = (),
) -> tuple[str | None, ...]:
    """Even ranges of a whole-numbered key. Other keys are not cut: their spread is unknown.

    `ours`: what rows of the table must fulfil to be records.
    """
    if not isinstance(layout.key_type, Integer):
        return (None,)
    ends = select(func.min(layout.key_column), func.max(layout.key_column)).where(*ours)
    first, last = session.told(target.name, lambda: session.reading().execute(ends).one())
    if not isinstance(first, int) or not isinstance(last, int):
        return (None,)
    # Numbers may be missing in between, so this is the most that a range can hold.
    number = min(most, (last - first + 1) // max(1, least))
    if number < 2:
        return (None,)
    cuts = [None, *(first + (last - first + 1) * n // number for n in range(1, number)), None]
    return tuple(json.dumps(span) for span in pairwise(cuts))


def within(layout: Layout, span: str | None) -> list[ColumnElement[bool]]:
    """The conditions of a span that `spans` named."""
    if span is None:
        return []
    first, end = json.loads(span)
    key = layout.key_column
    above = [] if first is None else [key >= first]
    return above if end is None else [*above, key < end]


def total(session: Session, layout: Layout, target: Target) -> int | None:
    """Rows that match `where`, whatever their dates; None where only a scan could tell."""
    exact = [_exactly(layout, condition) for condition in target.where]
    if any(condition is None for condition in exact):
        return None
    statement = select(func.count()).select_from(layout.table)
    for condition in exact:
        if condition is not None:
            statement = statement.where(condition)
    count = session.told(target.name, lambda: session.reading().execute(statement).scalar_one())
    return int(count)


# --- push-down --------------------------------------------------------------------------------


def pushed(layout: Layout, target: Target) -> list[ColumnElement[bool]]:
    """Conditions that hide no row which `target`'s own conditions may let through."""
    found = [
        not_after(
            layout.kind, layout.shape(b.source), layout.column(b.source), b.instant, layout.zone
        )
        for b in target.bounds
    ]
    found += [_coarsely(layout, condition) for condition in target.where]
    return [condition for condition in found if condition is not None]


def _coarsely(layout: Layout, condition: Condition) -> ColumnElement[bool] | None:
    """At least what the engine's comparison lets through or cannot tell; None: everything."""
    column = layout.column(condition.source)
    shape = layout.shape(condition.source)
    match condition.op:
        case Op.IN:
            return _one_of(layout, condition, exact=False)
        case Op.EMPTY if condition.value is False:
            return column.is_not(None)
        case Op.BEFORE:
            day = _midnight(layout, condition.value)
            return not_after(layout.kind, shape, column, day, layout.zone)
        case Op.AFTER:
            return not_before(shape, column, condition.value, layout.zone)
        case _:
            return None


def _midnight(layout: Layout, day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=layout.zone)


def _one_of(layout: Layout, condition: Condition, *, exact: bool) -> ColumnElement[bool] | None:
    """Listed values, where the database compares them as the engine does.

    The engine cannot tell apart texts that differ in case or surrounding spaces, so the coarse
    form lets those through; numbers and dates in texts have many spellings and are not pushed.
    """
    name = layout.known(condition.source)
    column, kind = layout.table.c[name], layout.types[name]
    values = list(condition.value)
    if isinstance(kind, Integer | Numeric) and layout.kind != "sqlite":
        numbers = [_number(value) for value in values]
        plain = [number for number in numbers if number is not None]
        return column.in_(plain) if plain and len(plain) == len(numbers) else None
    textual = isinstance(kind, String) and not isinstance(kind, Enum | PG_ENUM)
    if not textual or not all(isinstance(v, str) and _is_word(v) for v in values):
        return None
    if exact:
        return column.in_(values)
    return or_(*(column.icontains(value.strip(), autoescape=True) for value in values))


def _is_word(value: str) -> bool:
    """Letters whose other case every database knows, and not readable as number, date or bool."""
    return (
        value.isascii()
        and value.strip() != ""
        and _number(value) is None
        and value.strip().casefold() not in {"true", "false"}
        and not value.strip()[0].isdigit()
    )


def _number(value: Any) -> int | Decimal | None:
    if isinstance(value, bool):
        return None
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        return None
    if not number.is_finite():
        return None
    return int(number) if number == number.to_integral_value() else number


def _exactly(layout: Layout, condition: Condition) -> ColumnElement[bool] | None:
    column = layout.column(condition.source)
    if condition.op is Op.IN:
        return _one_of(layout, condition, exact=True)
    if condition.op is Op.NOT_IN:
        listed = _one_of(layout, condition._replace(op=Op.IN), exact=True)
        return None if listed is None else or_(column.is_(None), ~listed)
    if condition.op is Op.EMPTY and isinstance(
        layout.types[layout.known(condition.source)], String
    ):
        empty = or_(column.is_(None), func.trim(column) == "")
        return empty if condition.value else ~empty
    return None


def again(session: Session, reading: Reading, place: str, keys: list[str]) -> list[Any]:
    """The rows of these keys, as they are now, in any order."""
    layout = reading.layout
    raw: set[Any] = set()
    for key in keys:
        try:
            raw.add(layout.to_key(key))
        except ValueError:
            continue
    if not raw:
        return []
    rows = session.told(place, lambda: reading.again.fetch(session.reading(), list(raw)))
    # A collation may find a key that only looks alike.
    return [row for row in rows if row[0] in raw]
