"""Statements about a batch of keys, compiled once and run thousands of times.

SQLAlchemy writes the SQL, quotes the names and knows the dialects; but building a statement and
looking it up in a cache costs more than the driver does, a thousand times a run. So the text is
kept, and only the keys change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Executable, bindparam, literal_column
from sqlalchemy.engine import Connection
from sqlalchemy.sql.elements import ClauseElement
from sqlalchemy.types import TypeEngine

from retention.connectors.sql.layout import Layout, all_numbers, fitting_keys
from retention.connectors.sql.session import fetch

_KEYS = "retention_keys"
_HOLE = f"(/*{_KEYS}*/)"

Build = Callable[[ColumnElement[bool]], Executable]
"""Makes the whole statement from the condition that picks the batch."""


class Prepared:
    """One statement of one target. `column`, of type `of`, is what is compared with the keys."""

    def __init__(
        self, layout: Layout, column: ColumnElement[Any], of: TypeEngine[Any], build: Build
    ) -> None:
        self._layout = layout
        self._column = column
        self._of = of
        self._build = build
        self._sql: str | None = None
        self._values: dict[str, Any] = {}
        self._order: Sequence[str] | None = None

    def fetch(self, connection: Connection, keys: Sequence[Any]) -> list[tuple[Any, ...]]:
        """The rows that the statement gives for these keys."""
        if self._layout.kind == "postgresql":
            self._compile(connection, self._layout.any_of(self._column, bindparam(_KEYS), self._of))
            value = self._layout.array(keys, self._of)
            return self._run(connection, self._sql or "", {**self._values, _KEYS: value})
        fitting = fitting_keys(keys, self._of)
        if self._layout.kind == "mysql" and all_numbers(fitting):
            hole = self._column.op("IN", is_comparison=True)(literal_column(_HOLE))
            self._compile(connection, hole)
            numbers = ",".join(map(str, fitting))
            text = (self._sql or "").replace(_HOLE, f"({numbers})")
            return self._run(connection, text, self._values)
        picked = self._layout.among(self._column, keys, self._of)
        return fetch(connection, self._build(picked))

    def _compile(self, connection: Connection, condition: ColumnElement[bool]) -> None:
        if self._sql is None:
            statement = self._build(condition)
            assert isinstance(statement, ClauseElement)  # noqa: S101 -- every Core statement is
            compiled = statement.compile(connection.engine)
            self._sql = str(compiled)
            self._values = dict(compiled.params)
            self._order = getattr(compiled, "positiontup", None)

    def _run(
        self, connection: Connection, text: str, values: dict[str, Any]
    ) -> list[tuple[Any, ...]]:
        given: Any = values if self._order is None else tuple(values[n] for n in self._order)
        result = connection.exec_driver_sql(text, given)
        rows: list[tuple[Any, ...]] = list(result.cursor.fetchall()) if result.returns_rows else []
        result.close()
        return rows
