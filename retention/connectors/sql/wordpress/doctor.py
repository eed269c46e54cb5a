"""What `doctor` says of a WordPress site: rights, time, files, and data that nobody deletes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Integer, cast, func, select
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from retention.connectors.base import Probe
from retention.connectors.sql import php
from retention.connectors.sql.session import fetch
from retention.connectors.sql.uploads import UnsafePath
from retention.connectors.sql.wordpress.files import Elsewhere
from retention.connectors.sql.wordpress.site import Site, rows_come_back
from retention.connectors.sql.wordpress.stores import OTHERS, STORES

if TYPE_CHECKING:
    from retention.connectors.sql.wordpress.store import WordPress

_REFUSED = {1142, 1143, 1044, 1227}
_SAMPLE = 50
_TRASH_DAYS = 40
_NOT_NEEDED = ("users", "options", "usermeta")
_LEFT = {
    "wpcf7_uploads": "Contact Form 7 left files",
    "gravity_forms/signatures": "Gravity Forms keeps signatures",
}
_BACKUPS = (
    "updraft", "ai1wm-backups", "backups", "backup", "backupbuddy_backups", "wpvivid-backups",
    "uploads/backwpup*", "uploads/backup*", "uploads/wp-clone*", "uploads/snapshots",
)  # fmt: skip


def of_store(store: WordPress, covered: Collection[tuple[str, str]]) -> Iterator[Probe]:
    """Findings about one location. `covered`: (prefix, store) of every location there is."""
    place = store.target.name
    told = store.session.told
    counts = told(place, lambda: _statuses(store))
    yield Probe(f"{place}: entries", ok=True, detail=f"{store.store.title}: {counts}")
    yield from told(place, lambda: list(_rights(store)))
    yield from told(place, lambda: list(_time(store)))
    firm = told(place, lambda: rows_come_back(store.session, store.layout.name))
    if not firm:
        yield _bad(
            f"{place}: transactions",
            f"`{store.layout.name}` is of an engine without transactions",
            "a deletion that is cut short leaves an entry half empty until the next run; "
            "convert the site's tables to InnoDB",
        )
    yield from told(place, lambda: list(_trash(store)))
    yield from told(place, lambda: list(_files(store)))
    yield from _folders(store)
    yield from told(place, lambda: list(_uncovered(store, covered)))


def _bad(check: str, detail: str, hint: str) -> Probe:
    return Probe(check, ok=False, detail=detail, hint=hint)


def _statuses(store: WordPress) -> str:
    """How many there are, by status where entries have one."""
    layout = store.layout
    name = store.store.names.get("status", "status")
    group = [layout.column(name)] if name in layout.types else []
    statement = select(func.count(), *group).select_from(layout.table)
    rows = fetch(store.session.reading(), statement.where(*store.entries.ours()).group_by(*group))
    parts = [f"{row[0]} {row[1] or '(no status)'}" if group else str(row[0]) for row in rows]
    return ", ".join(parts) or "none"


# --- rights -----------------------------------------------------------------------------------


def _rights(store: WordPress) -> Iterator[Probe]:
    place, site = store.target.name, store.site
    if site.session.kind != "mysql":
        return
    connection = site.session.reading()
    mine = [store.layout.name, *(site.table(n).name for n in store.parts.names)]
    lacking = [
        f"{right} on `{name}`"
        for name in mine
        for right in ("SELECT", "DELETE")
        if not _may(connection, right, name)
    ]
    yield Probe(
        f"{place}: rights",
        not lacking,
        f"lacks {', '.join(lacking)}" if lacking else "may read and delete entries and their parts",
        f"GRANT {', '.join(lacking)}" if lacking else "",
    )
    others = [f"{site.prefix}{name}" for name in _NOT_NEEDED if site.has(name)]
    excess = [name for name in others if _may(connection, "DELETE", name)]
    if excess:
        yield _bad(
            f"{place}: excess rights",
            f"the account may also delete from {', '.join(f'`{n}`' for n in excess)}",
            "give it SELECT and DELETE on the tables of the form plugins alone; WordPress's own "
            "account is not the one to use",
        )


def _may(connection: Connection, right: str, name: str) -> bool:
    """A statement that can match nothing tells what is allowed, and changes nothing."""
    quoted = connection.dialect.identifier_preparer.quote_identifier(name)
    verb = "SELECT 1" if right == "SELECT" else "DELETE"
    try:
        connection.exec_driver_sql(f"{verb} FROM {quoted} WHERE 1 = 0")
    except DBAPIError as error:
        if getattr(error.orig, "args", (0,))[0] not in _REFUSED:
            raise
        return False
    return True


def _time(store: WordPress) -> Iterator[Probe]:
    place = store.target.name
    local = {n for names in store.store.dates.values() for n in names} - store.store.in_utc
    if not local:
        return
    how = "as `timezone` says" if store.settings.timezone else "as the site's settings say"
    zone = store.site.zone
    yield Probe(f"{place}: time zone", ok=True, detail=f"the site's own time is {zone}, {how}")


def _trash(store: WordPress) -> Iterator[Probe]:
    """WordPress empties its bin itself, unless its configuration says never."""
    site = store.site
    if store.store.post_type is None or site.session.kind != "mysql":
        return
    posts, meta = store.layout.table, site.table("postmeta").table
    late = func.unix_timestamp() - _TRASH_DAYS * 86_400
    statement = select(func.count()).select_from(posts.join(meta, meta.c["post_id"] == posts.c.ID))
    statement = statement.where(
        *store.entries.ours(),
        meta.c["meta_key"] == "_wp_trash_meta_time",
        cast(meta.c["meta_value"], Integer) < late,
    )
    number = fetch(site.session.reading(), statement)[0][0]
    if number:
        yield _bad(
            f"{store.target.name}: trash",
            f"{number} entries lie in WordPress's trash for more than {_TRASH_DAYS} days",
            "EMPTY_TRASH_DAYS may be 0 or its cron not run; they go when their period ends, but "
            "people think of them as deleted",
        )


# --- files ------------------------------------------------------------------------------------


def _files(store: WordPress) -> Iterator[Probe]:
    place, root = store.target.name, store.files.root
    statement = select(*store.entries.columns).where(*store.entries.ours())
    statement = statement.order_by(store.layout.key_column.desc()).limit(_SAMPLE)
    connection = store.session.reading()
    entries = store.entries.whole(connection, fetch(connection, statement)).values()
    if root is not None:
        root.check()
    named = missing = unsafe = unreadable = 0
    for entry in entries:
        try:
            for path in store.files.named(entry):
                named += 1
                missing += root is not None and not root.exists(path)
        except UnsafePath:
            unsafe += 1
        except (php.Unreadable, Elsewhere):
            unreadable += 1
    if unreadable:
        yield _bad(
            f"{place}: unreadable entries",
            f"of the newest {len(entries)}, {unreadable} cannot be read whole",
            "they are reported and never deleted; look at them in WordPress",
        )
    if root is None and named:
        yield _bad(
            f"{place}: files",
            f"the newest {len(entries)} entries name {named} uploaded files",
            "say `uploads: …/wp-content/uploads`; until then, entries with files stay",
        )
    elif root is not None:
        yield Probe(
            f"{place}: files",
            not (missing or unsafe),
            f"the newest {len(entries)} entries name {named} files: {missing} not there, "
            f"{unsafe} entries name one outside the folder or no plain file",
            "check `uploads`" if missing or unsafe else "",
        )


def _folders(store: WordPress) -> Iterator[Probe]:
    """Backups, files left by plugins, a cache: what no deletion here reaches."""
    root, place = store.files.root, store.target.name
    if root is None:
        return
    content = root.path.parent
    found = sorted({p.name for form in _BACKUPS for p in content.glob(form) if p.is_dir()})
    if found:
        yield _bad(
            f"{place}: backups",
            f"beside the uploads lie folders of backups: {', '.join(found)}",
            "deleted entries live on in them; let them expire, and name them as a location",
        )
    for name, whose in _LEFT.items():
        left = root.path / name
        if left.is_dir() and any(_plain_files(left)):
            yield _bad(
                f"{place}: files left behind",
                f"{whose} in `{name}` that no entry is known to name",
                "delete old ones by age, with a location of the connector `files`",
            )
    if (content / "object-cache.php").exists():
        yield _bad(
            f"{place}: object cache",
            "the site keeps an object cache, which may hold deleted entries until they expire",
            "flush it after a run (`wp cache flush`)",
        )


def _plain_files(folder: Path) -> Iterator[Path]:
    return (p for p in folder.rglob("*") if p.is_file() and not p.name.startswith((".", "index.")))


# --- what no location covers ------------------------------------------------------------------


def said_twice(stores: Mapping[str, WordPress], tables: Mapping[str, str]) -> Iterator[Probe]:
    """Rows that a store and a table of its own both mean; `tables`: location → its table."""
    for name, store in stores.items():
        both = [other for other, table in tables.items() if table == store.layout.name]
        if both:
            yield _bad(
                f"{name}: said twice",
                f"{', '.join(both)} reads the table `{store.layout.name}` too",
                "rules of one do not bind the other where they share rows: keep one of them, or "
                "let `where` part them",
            )


def _uncovered(store: WordPress, covered: Collection[tuple[str, str]]) -> Iterator[Probe]:
    """Other stores of this site, and the same plugins on the other sites of a network."""
    site, place = store.site, store.target.name
    known: list[tuple[str, str, str]] = [
        (name, said.table, said.post_type or "") for name, said in STORES.items()
    ]
    known += [(title, table, kind) for title, (table, kind) in OTHERS.items()]
    for name, table, kind in known:
        number = 0 if (site.prefix, name) in covered else _rows(site, table, kind)
        if number:
            ready = name in STORES
            yield _bad(
                f"{place}: not covered",
                f"{STORES[name].title if ready else name}: {number} entries in no location",
                f"add a location with `store: {name}`"
                if ready
                else "write a location with `table` and `children`, or empty it by hand",
            )
    tables = {said.table for said in STORES.values() if said.table != "posts"}
    mine = {prefix for prefix, _ in covered}
    others = [
        name
        for name in site.tables()
        for table in tables
        if name.endswith(f"_{table}") and name.removesuffix(table) not in mine
    ]
    others += [name for name in _other_posts(site) if name.removesuffix("posts") not in mine]
    if others:
        yield _bad(
            f"{place}: other sites",
            f"tables of other sites that no location covers: {', '.join(sorted(others))}",
            "each site of a network has a prefix of its own: `prefix: wp_2_`",
        )


def _other_posts(site: Site) -> Iterator[str]:
    """Tables of other sites' posts, where Flamingo keeps messages among them."""
    for name in site.tables():
        prefix = name.removesuffix("posts")
        if name.endswith("_posts") and f"{prefix}postmeta" in site.tables():
            other = Site(site.session, prefix, None, site.place)
            kinds = [said.post_type for said in STORES.values() if said.post_type]
            if prefix != site.prefix and any(_rows(other, "posts", kind) for kind in kinds):
                yield name


def _rows(site: Site, table: str, kind: str) -> int:
    if not site.has(table):
        return 0
    found = site.table(table).table
    statement = select(func.count()).select_from(found)
    if kind:
        statement = statement.where(found.c["post_type"] == kind)
    try:
        return int(fetch(site.session.reading(), statement)[0][0])
    except DBAPIError:
        # No right to look there: then it is another's to say.
        return 0


def covered_by(settings: Sequence[tuple[str | None, str | None]]) -> set[tuple[str, str]]:
    """(prefix, store) of the locations that have a store."""
    return {("wp_" if prefix is None else prefix, store) for prefix, store in settings if store}
