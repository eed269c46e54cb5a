"""What the database says of a location's table: columns, key, types. Looked up once a session.

Names from policy files reach SQL as quoted identifiers of things that were found here, never as
text.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import (
    TEXT,
    VARCHAR,
    BindParameter,
    ColumnElement,
    Inspector,
    Integer,
    LargeBinary,
    Numeric,
    String,
    Text,
    Uuid,
    any_,
    bindparam,
    cast,
    inspect,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import Connection
from sqlalchemy.sql import TableClause, column, quoted_name, table
from sqlalchemy.sql.expression import ColumnClause
from sqlalchemy.sql.sqltypes import Float, NullType
from sqlalchemy.types import TypeEngine

from retention.connectors.base import Target
from retention.connectors.sql.dates import Shape, shape_of
from retention.connectors.sql.session import Session
from retention.connectors.sql.settings import SqlLocation
from retention.errors import PermanentFailure

_Named = Mapping[str, TypeEngine[Any]]
ToKey = Callable[[str], Any]
ToText = Callable[[Any], str]


@dataclass(frozen=True, slots=True)
class Layout:
    """A table as it is, and how to speak of it."""

    kind: str
    name: str
    schema: str | None
    table: TableClause
    types: _Named
    key: str
    key_type: TypeEngine[Any]
    to_key: ToKey
    """Text → what the driver compares with; ValueError where no such key can exist."""
    to_text: ToText
    zone: tzinfo
    place: str

    @property
    def container(self) -> str:
        """The table's name as `containers` gives it."""
        return f"{self.schema}.{self.name}" if self.schema else self.name

    def column(self, name: str) -> ColumnElement[Any]:
        """A column of the table. Raises PermanentFailure where there is none of that name."""
        return self.table.c[self.known(name)]

    @property
    def key_column(self) -> ColumnElement[Any]:
        """The key's column."""
        return self.table.c[self.key]

    def known(self, name: str) -> str:
        """The column's own name for `name`."""
        return known_column(self.types, name, self.container, self.place)

    def type_of(self, name: str) -> TypeEngine[Any]:
        """A column's reflected type."""
        return self.types[self.known(name)]

    def shape(self, name: str) -> Shape:
        """How a column stores dates."""
        return shape_of(self.kind, self.type_of(name))

    def among(
        self, what: ColumnElement[Any], keys: Sequence[Any], of: TypeEngine[Any] | None = None
    ) -> ColumnElement[bool]:
        """`what`, a column of type `of` (default: the key's), is one of these keys."""
        kind = self.key_type if of is None else of
        if self.kind == "postgresql":
            return self.any_of(what, bindparam(None, self.array(keys, kind)), kind)
        return what.in_(fitting_keys(keys, kind))

    def any_of(
        self, what: ColumnElement[Any], value: BindParameter[Any], of: TypeEngine[Any]
    ) -> ColumnElement[bool]:
        """PostgreSQL: one parameter for a whole batch, so that the statement stays the same."""
        # A cast to varchar(n) would cut a long key down to somebody else's.
        item = Text() if isinstance(of, VARCHAR | TEXT) else of
        return what == any_(cast(value, ARRAY(item)))

    def array(self, keys: Sequence[Any], of: TypeEngine[Any]) -> Any:
        """The keys as `any_of` takes them; numbers as one text that is made of numbers only."""
        fitting = fitting_keys(keys, of)
        return f"{{{','.join(map(str, fitting))}}}" if all_numbers(fitting) else fitting


def fitting_keys(keys: Sequence[Any], kind: TypeEngine[Any]) -> list[Any]:
    """The keys as a column of this type holds them: MariaDB would take text `1x` for number 1."""
    if isinstance(kind, String):
        return [key if isinstance(key, str | bytes) else str(key) for key in keys]
    return list(keys)


def all_numbers(keys: Sequence[Any]) -> bool:
    """Whether there are keys, and all are whole numbers."""
    return {type(key) for key in keys} == {int}


class Layouts:
    """The layouts of one session's tables."""

    def __init__(self, session: Session, timezone: str) -> None:
        self._session = session
        self._timezone = timezone
        self._known: dict[tuple[str, str, str | None], Layout] = {}

    def of(self, target: Target, settings: SqlLocation) -> Layout:
        """The layout of a target's table, with every column it names checked."""
        ident = (settings.table, settings.key, settings.timezone)
        if (layout := self._known.get(ident)) is None:
            layout = self._known[ident] = self._look(target, settings)
        for source in (*target.dates, *target.fields):
            layout.known(source)
        return layout

    def forget(self) -> None:
        """Look again next time: the schema may have changed."""
        self._known.clear()

    def _look(self, target: Target, settings: SqlLocation) -> Layout:
        connection = self._session.reading()
        inspector = inspect(connection)
        name, schema = existing_table(inspector, settings.table, target.name)
        types = columns_of(inspector, name, schema)
        container = f"{schema}.{name}" if schema else name
        key = known_column(types, settings.key, container, target.name)
        _refuse_shared_keys(inspector, name, schema, key, target.name)
        from_clause = table_of(name, schema, types)
        _refuse_missing_keys(connection, from_clause, key, target.name)
        to_key, to_text = _key_forms(types[key], target.name)
        return Layout(
            self._session.kind,
            name,
            schema,
            from_clause,
            types,
            key,
            types[key],
            to_key,
            to_text,
            ZoneInfo(settings.timezone or self._timezone),
            target.name,
        )


def table_of(name: str, schema: str | None, names: Iterable[str]) -> TableClause:
    """A table to build statements with; every identifier is quoted, none is typed."""
    columns: list[ColumnClause[Any]] = [column(quoted_name(n, quote=True)) for n in names]
    quoted_schema = quoted_name(schema, quote=True) if schema else None
    return table(quoted_name(name, quote=True), *columns, schema=quoted_schema)


def existing_table(inspector: Inspector, said: str, place: str) -> tuple[str, str | None]:
    """(table, schema) for `table` or `schema.table`. Raises PermanentFailure with near names."""
    names = inspector.get_table_names()
    if said in names:
        return said, None
    schema, dot, name = said.partition(".")
    if dot and schema in inspector.get_schema_names():
        names = inspector.get_table_names(schema=schema)
        if name in names:
            return name, schema
    raise PermanentFailure(
        f"there is no table `{said}`",
        hint=_near(name if dot else said, names),
        place=place,
        code="missing",
    )


def columns_of(inspector: Inspector, name: str, schema: str | None) -> _Named:
    """Column name → type, in the table's order."""
    return {c["name"]: c["type"] for c in inspector.get_columns(name, schema=schema)}


def known_column(types: _Named, name: str, container: str, place: str) -> str:
    """The column's own name. Databases differ on case; a name that fits one column fits."""
    if name in types:
        return name
    folded = [known for known in types if known.casefold() == name.casefold()]
    if len(folded) == 1:
        return folded[0]
    raise PermanentFailure(
        f"the table `{container}` has no column `{name}`",
        hint=_near(name, types),
        place=place,
        code="missing",
    )


def _near(name: str, names: Iterable[str]) -> str:
    known = sorted(names)
    near = difflib.get_close_matches(name, known, n=5, cutoff=0.5) or known[:10]
    return f"there are {', '.join(f'`{n}`' for n in near)}" if near else "there are none"


def _refuse_shared_keys(
    inspector: Inspector, name: str, schema: str | None, key: str, place: str
) -> None:
    """A key that two rows may share would delete the wrong one."""
    if inspector.get_pk_constraint(name, schema=schema).get("constrained_columns") == [key]:
        return
    unique = [c["column_names"] for c in inspector.get_unique_constraints(name, schema=schema)]
    for index in inspector.get_indexes(name, schema=schema):
        options = index.get("dialect_options", {})
        partial = any(name.endswith("_where") for name in options)
        if index["unique"] and not partial and index.get("expressions") is None:
            unique.append([c for c in index["column_names"] if c is not None])
    if [key] not in unique:
        raise PermanentFailure(
            f"the column `{key}` of `{name}` is no key: two rows could share a value",
            hint="name the primary key, or add a unique index to the column",
            place=place,
            code="key",
        )


def _refuse_missing_keys(
    connection: Connection, from_clause: TableClause, key: str, place: str
) -> None:
    """Rows without a key can never be named, so they would stay for ever without a word."""
    found = connection.execute(
        select(from_clause.c[key]).where(from_clause.c[key].is_(None)).limit(1)
    ).first()
    if found is not None:
        raise PermanentFailure(
            f"some rows have no `{key}`: they could never be deleted",
            hint="give every row a key, and make the column NOT NULL",
            place=place,
            code="key",
        )


def _key_forms(key_type: TypeEngine[Any], place: str) -> tuple[ToKey, ToText]:
    if isinstance(key_type, Integer):
        return _integer, str
    if isinstance(key_type, Uuid):
        return UUID, str
    if isinstance(key_type, Numeric) and not isinstance(key_type, Float):
        return _decimal, str
    if isinstance(key_type, LargeBinary) or type(key_type).__name__ in {"BINARY", "VARBINARY"}:
        return bytes.fromhex, lambda value: bytes(value).hex()
    if isinstance(key_type, String | NullType):
        return str, str
    raise PermanentFailure(
        f"keys of type {type(key_type).__name__} are not supported",
        hint="use a number, text, UUID or binary key",
        place=place,
        code="key",
    )


def _integer(text: str) -> int:
    number = int(text)
    if str(number) != text:
        raise ValueError("not the way this key is written")
    return number


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError("not a number") from None
