"""What `doctor` asks of a database: what may we do, what more could we do, what would mislead."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, inspect, select, text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from retention.clock import Clock
from retention.connectors.base import Probe, Target
from retention.connectors.sql.children import branches
from retention.connectors.sql.dates import Shape
from retention.connectors.sql.layout import Layout
from retention.connectors.sql.session import Session
from retention.connectors.sql.settings import SqlLocation
from retention.connectors.sql.uploads import Root, UnsafePath

_SKEW = 30.0
_SOFT = {"deleted_at", "deleted", "is_deleted", "deleted_on", "trashed", "trashed_at", "archived"}
_SAMPLE = 50


def of_system(session: Session, clock: Clock) -> Iterator[Probe]:
    """Connection, excess rights, clock."""
    kind = session.kind
    session.told(session.system, lambda: session.reading().execute(text("SELECT 1")))
    yield _good("connection", f"connected to {kind}")
    excess = session.told(session.system, lambda: _excess(kind, session.reading()))
    yield Probe(
        "excess rights",
        not excess,
        f"the account may also {', '.join(excess)}" if excess else "none found",
        "give it SELECT, DELETE and UPDATE on the tables that are named, nothing else"
        if excess
        else "",
    )
    if kind != "sqlite":
        skew = session.told(session.system, lambda: _skew(session.reading(), clock))
        yield Probe(
            "clock",
            abs(skew) <= _SKEW,
            f"the server's clock differs by {abs(skew):.0f} s",
            "" if abs(skew) <= _SKEW else "synchronise both machines (NTP)",
        )


def of_target(
    session: Session,
    layout: Layout,
    target: Target,
    settings: SqlLocation,
    root: Root | None,
    organisation_zone: str,
) -> Iterator[Probe]:
    """Rights on the table, dates without a zone, triggers, rows elsewhere, files."""
    place = target.name
    connection = session.reading()
    yield _good(f"{place}: table", f"`{layout.container}` with key `{layout.key}`")
    lacking = session.told(place, lambda: _lacking(layout, connection))
    yield Probe(
        f"{place}: rights",
        not lacking,
        f"lacks {', '.join(lacking)}" if lacking else "may read, delete and change rows",
        f"GRANT {', '.join(lacking)} on the table" if lacking else "",
    )
    naive = [name for name in target.dates if layout.shape(name) in {Shape.LOCAL, Shape.ANY}]
    if naive and settings.timezone is None:
        names = ", ".join(f"`{name}`" for name in naive)
        yield _bad(
            f"{place}: time zone",
            f"{names}: times without a zone are read as {organisation_zone}",
            "say `timezone:` on the location, so that nothing is read hours off",
        )
    triggers = session.told(place, lambda: _triggers(layout, connection))
    if triggers:
        yield _bad(
            f"{place}: triggers",
            f"{triggers} trigger(s) run when rows are deleted or changed",
            "check that none of them copies rows to another table or keeps them",
        )
    soft = sorted(name for name in layout.types if name.casefold() in _SOFT)
    if soft:
        yield _bad(
            f"{place}: soft delete",
            f"column(s) {', '.join(f'`{n}`' for n in soft)}: the application may only hide rows",
            "hidden rows are found and deleted like the others; check that this is meant",
        )
    yield from session.told(place, lambda: list(_elsewhere(layout, connection, settings, place)))
    session.told(place, lambda: branches(connection, layout, settings))
    if root is not None:
        yield from session.told(
            place, lambda: list(_files(layout, connection, settings, root, place))
        )


def _good(check: str, detail: str) -> Probe:
    return Probe(check, ok=True, detail=detail)


def _bad(check: str, detail: str, hint: str) -> Probe:
    return Probe(check, ok=False, detail=detail, hint=hint)


def _excess(kind: str, connection: Connection) -> list[str]:
    if kind == "postgresql":
        row = connection.execute(
            text(
                "SELECT rolsuper, rolcreaterole, rolcreatedb, rolbypassrls,"
                " has_schema_privilege(current_schema(), 'CREATE')"
                " FROM pg_roles WHERE rolname = current_user"
            )
        ).one()
        names = (
            "do everything (superuser)", "create roles", "create databases",
            "ignore row security", "create tables",
        )  # fmt: skip
        return [name for name, has in zip(names, row, strict=True) if has]
    if kind == "mysql":
        grants = " ".join(str(row[0]) for row in connection.execute(text("SHOW GRANTS"))).upper()
        wide = {
            "ALL PRIVILEGES": "do everything", "SUPER": "administer the server",
            "DROP": "drop tables", "CREATE USER": "create users", "FILE": "read and write files",
            "ALTER": "alter tables", "WITH GRANT OPTION": "grant rights",
        }  # fmt: skip
        return [words for right, words in wide.items() if right in grants]
    return []


def _skew(connection: Connection, clock: Clock) -> float:
    there: Any = connection.execute(select(func.current_timestamp())).scalar_one()
    if isinstance(there, datetime):
        # The session's zone is UTC.
        aware = there if there.tzinfo else there.replace(tzinfo=UTC)
        return (aware - clock.now()).total_seconds()
    return 0.0


def _lacking(layout: Layout, connection: Connection) -> list[str]:
    """Rights among SELECT, DELETE, UPDATE that are known to be missing."""
    if layout.kind == "postgresql":
        quote = connection.dialect.identifier_preparer.quote_identifier
        name = quote(layout.name)
        full = f"{quote(layout.schema)}.{name}" if layout.schema else name
        wanted = ("SELECT", "DELETE", "UPDATE")
        held = connection.execute(
            select(*(func.has_table_privilege(full, right) for right in wanted))
        ).one()
        return [right for right, has in zip(wanted, held, strict=True) if not has]
    if layout.kind == "mysql":
        return _lacking_mysql(layout, connection)
    writable = connection.execute(text("PRAGMA query_only")).scalar_one() == 0
    return [] if writable else ["DELETE"]


def _lacking_mysql(layout: Layout, connection: Connection) -> list[str]:
    """A statement that can match nothing tells what is allowed, and changes nothing."""
    lacking = []
    quote = connection.dialect.identifier_preparer.quote_identifier
    name = f"{quote(layout.schema)}.{quote(layout.name)}" if layout.schema else quote(layout.name)
    for right, statement in (
        ("SELECT", f"SELECT 1 FROM {name} WHERE 1 = 0"),
        ("DELETE", f"DELETE FROM {name} WHERE 1 = 0"),
        ("UPDATE", f"UPDATE {name} SET {quote(layout.key)} = {quote(layout.key)} WHERE 1 = 0"),
    ):
        try:
            connection.exec_driver_sql(statement.replace("%", "%%"))
        except DBAPIError as error:
            if getattr(error.orig, "args", (0,))[0] not in {1142, 1143, 1044}:
                raise
            lacking.append(right)
    return lacking


def _triggers(layout: Layout, connection: Connection) -> int:
    if layout.kind == "postgresql":
        statement = text(
            "SELECT count(*) FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid"
            " JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE NOT g.tgisinternal AND g.tgenabled <> 'D' AND (g.tgtype & 24) <> 0"
            " AND c.relname = :name AND n.nspname = coalesce(:schema, current_schema())"
        )
    elif layout.kind == "mysql":
        statement = text(
            "SELECT count(*) FROM information_schema.triggers"
            " WHERE event_manipulation IN ('DELETE', 'UPDATE') AND event_object_table = :name"
            " AND event_object_schema = coalesce(:schema, database())"
        )
    else:
        statement = text(
            "SELECT count(*) FROM sqlite_master WHERE type = 'trigger'"
            " AND tbl_name = :name AND :schema IS NULL"
        )
    values = {"name": layout.name, "schema": layout.schema}
    return int(connection.execute(statement, values).scalar_one())


def _elsewhere(
    layout: Layout, connection: Connection, settings: SqlLocation, place: str
) -> Iterator[Probe]:
    """Tables that point here: by a foreign key, or by the name of a column."""
    inspector = inspect(connection)
    listed = {child.table for child in settings.children}
    for (_, name), keys in inspector.get_multi_foreign_keys(schema=layout.schema).items():
        for key in keys:
            here = key["referred_table"] == layout.name
            if not here or name in listed or layout.key not in key["referred_columns"]:
                continue
            rule = _on_delete(layout, connection, name, key)
            consequence = {
                "CASCADE": "its rows go too, unseen by the log",
                "SET NULL": "its rows stay, without the link",
                "SET DEFAULT": "its rows stay, with another link",
            }.get(rule, "its rows stop the deletion")
            yield _bad(
                f"{place}: rows of `{name}`",
                f"`{name}` points here ({rule}): {consequence}",
                "list it under `children`, or give it a location of its own",
            )
            listed.add(name)
    suspects = _named_like(layout)
    for (_, name), columns in inspector.get_multi_columns(schema=layout.schema).items():
        found = [c["name"] for c in columns if c["name"].casefold() in suspects]
        if found and name not in listed and name != layout.name:
            yield _bad(
                f"{place}: rows of `{name}`",
                f"its column `{found[0]}` looks as if it points here, without a foreign key",
                "if it does, list it under `children`: its rows would be left behind",
            )


def _on_delete(layout: Layout, connection: Connection, name: str, key: Any) -> str:
    """What a foreign key does when the row it points at goes."""
    if layout.kind == "sqlite":
        # SQLAlchemy reads SQLite's rule from the text of CREATE TABLE, and misses short forms.
        rules = text(
            'SELECT on_delete FROM pragma_foreign_key_list(:name) WHERE lower("table") = :here'
        )
        here = {"name": name, "here": layout.name.lower()}
        return str(connection.execute(rules, here).scalars().first() or "NO ACTION")
    return str(key.get("options", {}).get("ondelete") or "NO ACTION").upper()


def _named_like(layout: Layout) -> set[str]:
    """`wp_posts` → post_id, posts_id, wp_post_id, …"""
    name = layout.name.casefold()
    short = name.rpartition("_")[2]
    stems = {name, short, name.removesuffix("s"), short.removesuffix("s")}
    return {f"{stem}_{end}" for stem in stems for end in {"id", layout.key.casefold()}} - {"_id"}


def _files(
    layout: Layout, connection: Connection, settings: SqlLocation, root: Root, place: str
) -> Iterator[Probe]:
    root.check()
    assert settings.uploads is not None  # noqa: S101 -- the root is made from it
    column: Any = layout.column(settings.uploads.column)
    rows = connection.execute(
        select(column).where(column.is_not(None), column != "").limit(_SAMPLE)
    ).all()
    missing = unsafe = 0
    for row in rows:
        try:
            missing += not root.exists(str(row[0]))
        except UnsafePath:
            unsafe += 1
    good = not (missing or unsafe)
    yield Probe(
        f"{place}: files",
        good,
        f"of {len(rows)} rows looked at, {missing} name a file that is not there and {unsafe} "
        "one outside the folder or no plain file",
        "" if good else "check `uploads.root` and that the column holds one path below it",
    )
