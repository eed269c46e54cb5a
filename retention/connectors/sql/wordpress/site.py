"""One WordPress site in a database: its tables, and its own time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, timedelta, timezone, tzinfo
from functools import cached_property
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy import Inspector, inspect, select, text
from sqlalchemy.sql import TableClause
from sqlalchemy.types import TypeEngine

from retention.connectors.sql.layout import columns_of, existing_table, table_of
from retention.connectors.sql.session import Session, fetch
from retention.errors import PermanentFailure

_FURTHEST = 14.0
"""Hours that a clock on Earth may differ from UTC."""


class Known(NamedTuple):
    """A table as it was found."""

    name: str
    table: TableClause
    types: Mapping[str, TypeEngine[Any]]


class Site:
    """Tables are asked for without the site's prefix."""

    def __init__(self, session: Session, prefix: str, timezone: str | None, place: str) -> None:
        self.session = session
        self.prefix = prefix
        self.place = place
        self._timezone = timezone
        self._inspector: Inspector | None = None
        self._known: dict[str, Known] = {}

    def table(self, name: str) -> Known:
        """Raises PermanentFailure where there is none of that name."""
        if name not in self._known:
            inspector = self._inspect()
            if not self.has(name):
                raise PermanentFailure(
                    f"there is no table `{self.prefix}{name}`, or the account may not see it",
                    hint="check `prefix`, and the account's rights",
                    place=self.place,
                    code="missing",
                )
            found, schema = existing_table(inspector, f"{self.prefix}{name}", self.place)
            types = columns_of(inspector, found, schema)
            self._known[name] = Known(found, table_of(found, schema, types), types)
        return self._known[name]

    def has(self, name: str) -> bool:
        """Whether there is such a table."""
        return f"{self.prefix}{name}" in self._inspect().get_table_names()

    def tables(self) -> list[str]:
        """Every table of the database."""
        return self._inspect().get_table_names()

    def option(self, *names: str) -> dict[str, str]:
        """Settings of the site."""
        options = self.table("options").table
        statement = select(options.c["option_name"], options.c["option_value"]).where(
            options.c["option_name"].in_(names)
        )
        return {str(n): str(v) for n, v in fetch(self.session.reading(), statement)}

    @cached_property
    def zone(self) -> tzinfo:
        """The site's own time. Raises PermanentFailure where it is not told."""
        if self._timezone is not None:
            return ZoneInfo(self._timezone)
        told = self.session.told(self.place, self._time_options)
        try:
            if name := told.get("timezone_string", ""):
                return ZoneInfo(name)
            # WordPress itself writes both when it is installed.
            hours = float(told["gmt_offset"] or 0)
        except (ZoneInfoNotFoundError, ValueError, KeyError):
            hours = _FURTHEST + 1
        if not abs(hours) <= _FURTHEST:
            raise PermanentFailure(
                "the site's settings tell no time zone that is known",
                hint="say `timezone:` on the location",
                place=self.place,
                code="timezone",
            )
        return timezone(timedelta(hours=hours)) if hours else UTC

    def _time_options(self) -> dict[str, str]:
        return self.option("timezone_string", "gmt_offset") if self.has("options") else {}

    def _inspect(self) -> Inspector:
        if self._inspector is None:
            self._inspector = inspect(self.session.reading())
        return self._inspector


def rows_come_back(session: Session, table: str) -> bool:
    """Whether a rollback brings back rows of this table: MyISAM's do not."""
    if session.kind != "mysql":
        return True
    asked = text(
        "SELECT engine FROM information_schema.tables"
        " WHERE table_schema = database() AND table_name = :name"
    )
    engine = session.reading().execute(asked, {"name": table}).scalar()
    return str(engine or "").casefold() not in {"myisam", "aria", "memory", "csv", "archive"}
