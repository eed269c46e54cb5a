"""Rows of other tables that belong to a record: deleted before it, looked for after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, inspect, select
from sqlalchemy.engine import Connection
from sqlalchemy.sql import TableClause

from retention.connectors.sql.layout import (
    Layout,
    columns_of,
    existing_table,
    fitting_keys,
    known_column,
    table_of,
)
from retention.connectors.sql.session import fetch
from retention.connectors.sql.settings import Child, SqlLocation, Via


class Branch:
    """One child table of a layout, with its way back to the record."""

    def __init__(self, connection: Connection, layout: Layout, child: Child) -> None:
        self._layout = layout
        self._inspector = inspect(connection)
        self.said = child
        self.table, types, name = self._table(child.table)
        parent = known_column(types, child.parent, name, layout.place)
        self.parent, self._kind = self.table.c[parent], types[parent]
        self._match: list[ColumnElement[bool]] = []
        for said, value in child.match.items():
            column = self.table.c[known_column(types, said, name, layout.place)]
            self._match.append(column.is_(None) if value is None else column == value)
        # Ask for every table on the way now, so that a wrong name is told before any act.
        self._steps = self._way(child.via)

    def _table(self, said: str) -> tuple[TableClause, dict[str, Any], str]:
        name, schema = existing_table(self._inspector, said, self._layout.place)
        types = columns_of(self._inspector, name, schema)
        return table_of(name, schema, types), dict(types), f"{schema}.{name}" if schema else name

    def _way(self, via: Via | None) -> list[tuple[Any, Any, Any]]:
        """From the child to the record: each table's key, its pointer, and the pointer's type."""
        steps: list[tuple[Any, Any, Any]] = []
        while via is not None:
            table, types, name = self._table(via.table)
            place = self._layout.place
            key = table.c[known_column(types, via.key, name, place)]
            parent = known_column(types, via.parent, name, place)
            steps.append((key, table.c[parent], types[parent]))
            via = via.via
        return steps

    def belongs(self, keys: list[Any]) -> ColumnElement[bool]:
        """Rows that belong to the records with these keys."""
        if not self._steps:
            return and_(self._layout.among(self.parent, keys, self._kind), *self._match)
        # From the record outwards: each table's keys are those that point at the one before.
        key, parent, kind = self._steps[-1]
        inner = select(key).where(self._layout.among(parent, keys, kind))
        for key, parent, _ in reversed(self._steps[:-1]):
            inner = select(key).where(parent.in_(inner))
        return and_(self.parent.in_(inner), *self._match)

    def erase(self, connection: Connection, keys: list[Any]) -> None:
        """Delete the rows of these records."""
        connection.execute(delete(self.table).where(self.belongs(keys)))

    def left(self, connection: Connection, keys: list[Any]) -> set[Any]:
        """Keys of those records that still have rows here; only direct children can be told."""
        if self._steps:
            return set()
        by_value = dict(zip(fitting_keys(keys, self._kind), keys, strict=True))
        found = fetch(connection, select(self.parent).where(self.belongs(keys)).distinct())
        return {by_value[row[0]] for row in found if row[0] in by_value}

    def contents(self, connection: Connection, key: Any) -> list[dict[str, Any]]:
        """Every row of one record, by column name."""
        names = [c.name for c in self.table.c]
        columns = [c.label(f"c{n}") for n, c in enumerate(self.table.c)]
        rows = connection.execute(select(*columns).where(self.belongs([key])))
        return [dict(zip(names, row, strict=True)) for row in rows]


def branches(connection: Connection, layout: Layout, settings: SqlLocation) -> Sequence[Branch]:
    """The child tables in the order of deletion: deepest first, else as they are listed."""
    listed = sorted(settings.children, key=lambda child: -child.depth)
    return [Branch(connection, layout, child) for child in listed]
