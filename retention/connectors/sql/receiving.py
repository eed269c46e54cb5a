"""Taking in copies of records that lie elsewhere: one row each, under a key that is given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time
from functools import partial
from typing import Any

from sqlalchemy import String, insert

from retention.connectors.base import Arrival, Outcome, Result, Value
from retention.connectors.sql.dates import Shape
from retention.connectors.sql.failures import Constraint
from retention.connectors.sql.layout import Layout
from retention.connectors.sql.rows import Reading
from retention.connectors.sql.session import Session


def receive(session: Session, reading: Reading, arrivals: Sequence[Arrival]) -> Iterator[Outcome]:
    """Insert what is not there yet; where a row is refused, the others go in all the same.

    Raises ConnectorError where the database fails as a whole.
    """
    layout = reading.layout
    rows: dict[Any, Arrival] = {}
    for arrival in arrivals:
        try:
            rows[layout.to_key(arrival.key)] = arrival
        except ValueError:
            yield Outcome(arrival.key, Result.FAILED_PERMANENT, "key-not-text")
    try:
        yield from session.told(layout.place, partial(_insert, session, reading, rows))
    except Constraint:
        for key, arrival in rows.items():
            try:
                yield from session.told(
                    layout.place, partial(_insert, session, reading, {key: arrival})
                )
            except Constraint:
                yield Outcome(arrival.key, Result.FAILED_PERMANENT, "constraint")


def _insert(session: Session, reading: Reading, rows: Mapping[Any, Arrival]) -> list[Outcome]:
    layout = reading.layout
    with session.acting() as connection:
        known = {row[0] for row in reading.present.fetch(connection, list(rows))} if rows else set()
        fresh = [
            {layout.key: key, **_columns(layout, arrival.values)}
            for key, arrival in rows.items()
            if key not in known
        ]
        if fresh:
            connection.execute(insert(layout.table), fresh)
    return [Outcome(arrival.key, Result.RECEIVED) for arrival in rows.values()]


def _columns(layout: Layout, values: Mapping[str, Value]) -> dict[str, Any]:
    return {layout.known(name): _stored(layout, name, value) for name, value in values.items()}


def _stored(layout: Layout, name: str, value: Value) -> Any:
    if isinstance(value, date):
        return _moment(layout, layout.shape(name), value)
    if isinstance(value, tuple):
        value = ", ".join(value)
    textual = isinstance(layout.type_of(name), String)
    return str(value) if textual and value is not None else value


def _moment(layout: Layout, shape: Shape, value: date) -> Any:
    """A date as the column keeps it, the inverse of how `dates` reads it."""
    if not isinstance(value, datetime):
        if shape in {Shape.DAY, Shape.ANY}:
            return value.isoformat() if shape is Shape.ANY else value
        value = datetime.combine(value, time(), layout.zone)
    local = value.astimezone(layout.zone).replace(tzinfo=None)
    return {
        Shape.INSTANT: value,
        Shape.UTC: value.astimezone(UTC).replace(tzinfo=None),
        Shape.LOCAL: local,
        Shape.DAY: local.date(),
        Shape.NUMBER: int(value.timestamp()),
        Shape.ANY: local.isoformat(" ", "seconds"),
    }[shape]
