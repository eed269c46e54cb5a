"""SQL: children, files, constraints, dates and names, on a SQLite file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from retention.connectors import sql
from retention.connectors.base import (
    Bound,
    Condition,
    Connector,
    Level,
    Op,
    Opened,
    Outcome,
    Record,
    Ref,
    Result,
    Target,
)
from retention.connectors.sql.settings import SqlLocation, SqlSystem
from retention.errors import CredentialsRefused, PermanentFailure, TemporaryFailure

Rows = list[tuple[Any, ...]]


class Shop:
    """A SQLite file, its own connection, and a session of the connector."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "shop.db"
        self.db = sqlite3.connect(self.file, isolation_level=None)
        self.db.execute("PRAGMA synchronous = OFF")
        self.connector = self.open()

    def open(self, **options: Any) -> Connector:
        system = SqlSystem.model_validate({"url": "sqlite:///shop.db", **options})
        return sql.connect(Opened("shop", system, str(self.folder), {"timezone": "Europe/Oslo"}))

    def run(self, statement: str, *values: Any) -> Rows:
        return self.db.execute(statement, values).fetchall()

    def find(self, target: Target) -> list[Record]:
        return [r for page in self.connector.find(target) for r in page.records]

    def erase(self, target: Target) -> dict[str, Outcome]:
        """Find everything, erase it, give the outcomes by key."""
        refs = [record.ref for record in self.find(target)]
        return {o.key: o for o in self.connector.erase(target, refs)}

    def levels(self, target: Target, refs: list[Ref]) -> dict[str, Level]:
        session = self.open()
        found = {p.key: p.level for p in session.verify(target, refs, None)}
        session.close()
        return found


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path)
    yield shop
    shop.connector.close()
    shop.db.close()


def at(table: str, key: str = "id", *, dates: tuple[str, ...] = (), **more: Any) -> Target:
    return Target(f"c/{table}", SqlLocation(table=table, key=key, **more), dates)


# --- children ---------------------------------------------------------------------------------


@pytest.fixture
def orders(shop: Shop) -> Target:
    """Orders with items, options of items, and notes that belong to many kinds of things."""
    shop.run("CREATE TABLE orders (id INTEGER PRIMARY KEY, buyer TEXT)")
    shop.run(
        "CREATE TABLE items (item INTEGER PRIMARY KEY, order_id INTEGER REFERENCES orders, n TEXT)"
    )
    shop.run("CREATE TABLE options (item_id INTEGER REFERENCES items, v TEXT)")
    shop.run("CREATE TABLE notes (of_id TEXT, of_kind TEXT, v TEXT)")
    for n in (1, 2, 3):
        shop.run("INSERT INTO orders VALUES (?, 'b')", n)
        shop.run("INSERT INTO items VALUES (?, ?, 'i')", n * 10, n)
        shop.run("INSERT INTO options VALUES (?, 'o')", n * 10)
        shop.run("INSERT INTO notes VALUES (?, 'order', 'x'), (?, 'person', 'y')", n, n)
    return at(
        "orders",
        children=[
            {"table": "items", "key": "item", "parent": "order_id"},
            {
                "table": "options",
                "parent": "item_id",
                "via": {"table": "items", "key": "item", "parent": "order_id"},
            },
            {"table": "notes", "parent": "of_id", "match": {"of_kind": "order"}},
        ],
    )


def test_children_go_first_deepest_first_and_only_their_own(shop: Shop, orders: Target) -> None:
    """Rows below a record go with it, in an order that no foreign key stops; others stay."""
    refs = [r.ref for r in shop.find(orders) if r.ref.key != "3"]
    outcomes = list(shop.connector.erase(orders, refs))
    assert [o.result for o in outcomes] == [Result.DISPOSED] * 2
    assert shop.run("SELECT id FROM orders") == [(3,)]
    assert shop.run("SELECT item FROM items") == [(30,)]
    assert shop.run("SELECT item_id FROM options") == [(30,)]
    left = shop.run("SELECT of_id, of_kind FROM notes ORDER BY 2, 1")
    assert left == [("3", "order"), ("1", "person"), ("2", "person"), ("3", "person")]
    assert set(shop.levels(orders, refs).values()) == {Level.GONE}


def test_children_that_are_left_are_no_gone(shop: Shop, orders: Target) -> None:
    """A record whose row is gone but whose children are not is still present."""
    refs = [r.ref for r in shop.find(orders)]
    shop.run("PRAGMA foreign_keys = OFF")
    shop.run("DELETE FROM orders WHERE id = 1")
    shop.run("DELETE FROM items WHERE order_id = 1")
    assert shop.levels(orders, refs[:1]) == {"1": Level.PRESENT}
    (outcome,) = shop.connector.erase(orders, refs[:1])
    assert outcome.result is Result.ALREADY_ABSENT
    assert shop.levels(orders, refs[:1]) == {"1": Level.GONE}


def test_a_changed_record_keeps_its_children(shop: Shop, orders: Target) -> None:
    """Where the record does not go, nothing below it goes either."""
    target = Target(orders.name, orders.settings, (), ("buyer",))
    refs = [r.ref for r in shop.find(target)]
    shop.run("UPDATE orders SET buyer = 'other' WHERE id = 2")
    results = {o.key: o.result for o in shop.connector.erase(target, refs)}
    assert results == {"1": Result.DISPOSED, "2": Result.CHANGED, "3": Result.DISPOSED}
    assert shop.run("SELECT item FROM items") == [(20,)]
    assert shop.run("SELECT count(*) FROM notes WHERE of_kind = 'order'") == [(1,)]


def test_a_row_that_others_point_at_fails_alone(shop: Shop) -> None:
    """One row that a foreign key holds does not keep the rest of its batch."""
    shop.run("CREATE TABLE people (id INTEGER PRIMARY KEY)")
    shop.run("CREATE TABLE invoices (id INTEGER PRIMARY KEY, person REFERENCES people)")
    for n in range(20):
        shop.run("INSERT INTO people VALUES (?)", n)
    shop.run("INSERT INTO invoices VALUES (1, 13)")
    outcomes = shop.erase(at("people"))
    failed = {k: o for k, o in outcomes.items() if o.result is not Result.DISPOSED}
    assert {k: (o.result, o.code) for k, o in failed.items()} == {
        "13": (Result.FAILED_PERMANENT, "constraint")
    }
    assert len(outcomes) == 20
    assert shop.run("SELECT id FROM people") == [(13,)]


def test_rows_elsewhere_are_named_by_the_probe(shop: Shop, orders: Target) -> None:
    """A table that points here and is not listed is a finding, with a foreign key or without."""
    shop.run("CREATE TABLE refunds (id INTEGER, o INTEGER REFERENCES orders ON DELETE CASCADE)")
    shop.run("CREATE TABLE visits (order_id INTEGER)")
    findings = [p for p in shop.connector.probe([orders]) if not p.ok]
    assert {p.check for p in findings} == {
        "c/orders: rows of `refunds`",
        "c/orders: rows of `visits`",
    }
    assert "CASCADE" in next(p.detail for p in findings if "refunds" in p.check)
    assert all(p.hint for p in findings)


def test_triggers_and_soft_deletes_are_named_by_the_probe(shop: Shop) -> None:
    """What copies or hides rows instead of deleting them is a finding."""
    shop.run("CREATE TABLE p (id INTEGER PRIMARY KEY, born TEXT, deleted_at TEXT)")
    shop.run("CREATE TABLE p_old (id INTEGER)")
    shop.run("CREATE TRIGGER t AFTER DELETE ON p BEGIN INSERT INTO p_old VALUES (old.id); END")
    checks = {p.check for p in shop.connector.probe([at("p", dates=("born",))]) if not p.ok}
    assert {"c/p: triggers", "c/p: soft delete", "c/p: time zone"} <= checks


# --- files ------------------------------------------------------------------------------------


@pytest.fixture
def applications(shop: Shop) -> Target:
    shop.run("CREATE TABLE applications (id INTEGER PRIMARY KEY, cv TEXT)")
    (shop.folder / "up" / "a").mkdir(parents=True)
    (shop.folder / "secret.txt").write_text("not yours")
    return at("applications", uploads={"column": "cv", "root": "up"})


def _apply(shop: Shop, number: int, path: str | None) -> None:
    shop.run("INSERT INTO applications VALUES (?, ?)", number, path)


def test_files_go_with_their_rows(shop: Shop, applications: Target) -> None:
    """The named file goes, others in the folder stay; no file named, and none there, are fine."""
    (shop.folder / "up" / "a" / "1.pdf").write_text("cv")
    (shop.folder / "up" / "a" / "other.pdf").write_text("other")
    _apply(shop, 1, "a/1.pdf")
    _apply(shop, 2, None)
    _apply(shop, 3, "a/never-there.pdf")
    refs = [r.ref for r in shop.find(applications)]
    assert {o.result for o in shop.connector.erase(applications, refs)} == {Result.DISPOSED}
    assert [f.name for f in (shop.folder / "up" / "a").iterdir()] == ["other.pdf"]
    assert set(shop.levels(applications, refs).values()) == {Level.GONE}


def test_a_file_that_is_left_is_no_gone(shop: Shop, applications: Target) -> None:
    """The row alone does not make a record gone."""
    (shop.folder / "up" / "1.pdf").write_text("cv")
    _apply(shop, 1, "1.pdf")
    refs = [r.ref for r in shop.find(applications)]
    shop.run("DELETE FROM applications")
    assert shop.levels(applications, refs) == {"1": Level.PRESENT}


@pytest.mark.parametrize(
    "path",
    ["../secret.txt", "/etc/hostname", "a/../../secret.txt", "link.txt", "out/secret.txt", "a",
     "a/", "..", ".", "\0", "a\\..\\..\\secret.txt"],
)  # fmt: skip
def test_no_path_leads_out_of_the_folder(shop: Shop, applications: Target, path: str) -> None:
    """Neither dots, nor links, nor absolute paths; the row stays too, and is named."""
    (shop.folder / "up" / "link.txt").symlink_to(shop.folder / "secret.txt")
    (shop.folder / "up" / "out").symlink_to(shop.folder)
    (shop.folder / "up" / "good.txt").write_text("x")
    _apply(shop, 1, path)
    _apply(shop, 2, "good.txt")
    outcomes = shop.erase(applications)
    assert (outcomes["1"].result, outcomes["1"].code) == (
        Result.FAILED_PERMANENT,
        "upload-unsafe",
    )
    assert outcomes["2"].result is Result.DISPOSED
    assert (shop.folder / "secret.txt").read_text() == "not yours"
    assert (shop.folder / "up" / "a").is_dir()
    assert shop.run("SELECT id FROM applications") == [(1,)]


def test_a_missing_folder_stops_the_act(shop: Shop, applications: Target) -> None:
    """An unmounted folder must not look like files that are gone."""
    _apply(shop, 1, "1.pdf")
    refs = [r.ref for r in shop.find(applications)]
    (shop.folder / "up" / "a").rmdir()
    (shop.folder / "up").rmdir()
    with pytest.raises(PermanentFailure):
        list(shop.connector.erase(applications, refs))
    assert shop.run("SELECT id FROM applications") == [(1,)]
    with pytest.raises(PermanentFailure):
        list(shop.connector.verify(applications, [refs[0]._replace(key="9")], None))


def test_a_hand_over_holds_row_children_and_file(shop: Shop, applications: Target) -> None:
    """What is deleted afterwards is all in the export."""
    shop.run("CREATE TABLE marks (application INTEGER, mark TEXT)")
    shop.run("INSERT INTO marks VALUES (1, 'good')")
    (shop.folder / "up" / "1.pdf").write_bytes(b"cv\x00")
    _apply(shop, 1, "1.pdf")
    target = at(
        "applications",
        uploads={"column": "cv", "root": "up"},
        children=[{"table": "marks", "parent": "application"}],
    )
    (content,) = shop.connector.read(target, [Ref("applications", "1")])
    whole = json.loads(content.data)
    assert whole["row"] == {"id": 1, "cv": "1.pdf"}
    assert whole["children"] == [{"table": "marks", "rows": [{"application": 1, "mark": "good"}]}]
    assert whole["file"] == {"path": "1.pdf", "base64": "Y3YA"}


def test_the_probe_counts_files_that_are_not_there(shop: Shop, applications: Target) -> None:
    """A column that holds no paths, or a wrong folder, shows before the first run."""
    _apply(shop, 1, '["a.pdf"]')
    (finding,) = [p for p in shop.connector.probe([applications]) if p.check.endswith("files")]
    assert not finding.ok


# --- dates ------------------------------------------------------------------------------------

OSLO_NOON = datetime(2024, 7, 1, 10, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        ("2024-07-01 12:00:00", OSLO_NOON),
        ("2024-07-01T12:00:00.000", OSLO_NOON),
        ("2024-07-01T10:00:00Z", OSLO_NOON),
        ("2024-07-01 12:00:00+02:00", OSLO_NOON),
        ("2024-07-01", date(2024, 7, 1)),
        ("20240701", date(2024, 7, 1)),
        ("20240701120000", OSLO_NOON),
        (1719828000, OSLO_NOON),
        (1719828000000, OSLO_NOON),
        ("1719828000", OSLO_NOON),
        (1719828000.0, OSLO_NOON),
        (0, None),
        (-5, None),
        ("", None),
        ("0000-00-00 00:00:00", None),
        ("2024-02-30", None),
        ("soon", None),
        ("01.07.2024", None),
        ("2024", None),
        (b"\xff", None),
        (None, None),
        ("2024-10-27 02:30:00", datetime(2024, 10, 27, 1, 30, tzinfo=UTC)),
    ],
)
def test_dates_are_read_or_are_none(shop: Shop, stored: Any, read: Any) -> None:
    """ISO text, days and seconds are dates; anything else is None, which is never due."""
    shop.run("CREATE TABLE t (id INTEGER PRIMARY KEY, d)")
    shop.run("INSERT INTO t VALUES (1, ?)", stored)
    (record,) = shop.find(at("t", dates=("d",)))
    assert record.dates["d"] == read


def test_a_location_may_say_its_own_zone(shop: Shop) -> None:
    """A site that stores its local clock time is read in its own zone."""
    shop.run("CREATE TABLE t (id INTEGER PRIMARY KEY, d)")
    shop.run("INSERT INTO t VALUES (1, '2024-07-01 12:00:00')")
    (record,) = shop.find(at("t", dates=("d",), timezone="America/New_York"))
    assert record.dates["d"] == datetime(2024, 7, 1, 16, 0, tzinfo=UTC)


def _moments(first: int, last: int) -> st.SearchStrategy[datetime]:
    """Clock times without a zone, as databases hold them."""
    return st.datetimes(
        datetime(first, 1, 1, tzinfo=UTC).replace(tzinfo=None),
        datetime(last, 1, 1, tzinfo=UTC).replace(tzinfo=None),
    )


_STORED = st.one_of(
    st.none(),
    st.text(max_size=12),
    st.integers(-10, 2_000_000_000_000),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    _moments(1990, 2040).map(str),
    st.dates(date(1990, 1, 1), date(2040, 1, 1)).map(str),
    _moments(1990, 2040).map(lambda d: d.replace(tzinfo=UTC).isoformat()),
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    stored=st.lists(_STORED, min_size=1, max_size=12),
    bound=_moments(1995, 2035),
)
def test_a_bound_never_hides_what_is_old_or_unreadable(
    shop: Shop, stored: list[Any], bound: datetime
) -> None:
    """Whatever a column holds: what a full scan calls old, or cannot date, is found."""
    shop.run("DROP TABLE IF EXISTS t")
    shop.run("CREATE TABLE t (id INTEGER PRIMARY KEY, d)")
    for value in stored:
        shop.run("INSERT INTO t (d) VALUES (?)", value)
    instant = bound.replace(tzinfo=UTC)
    target = at("t", dates=("d",))

    def due(record: Record) -> bool:
        when = record.dates["d"]
        if when is None:
            return True
        if not isinstance(when, datetime):
            return when <= (instant + timedelta(days=1)).date()
        return when < instant

    whole = {r.ref.key for r in shop.find(target) if due(r)}
    bounded = Target(target.name, target.settings, ("d",), (), (), (Bound("d", instant),))
    assert whole <= {r.ref.key for r in shop.find(bounded)}


def test_old_rows_are_found_without_reading_all(shop: Shop) -> None:
    """A bound is pushed down: recent rows are not even transferred."""
    shop.run("CREATE TABLE t (id INTEGER PRIMARY KEY, d DATETIME)")
    for year in (2020, 2021, 2022, 2023):
        shop.run("INSERT INTO t (d) VALUES (?)", f"{year}-05-05 05:05:05")
    bound = Bound("d", datetime(2022, 1, 1, tzinfo=UTC))
    target = Target("c/t", SqlLocation(table="t", key="id"), ("d",), (), (), (bound,))
    assert [r.ref.key for r in shop.find(target)] == ["1", "2"]
    assert shop.connector.count(target) == 4


def test_counts_follow_where(shop: Shop) -> None:
    """A share is of the rows that a location's `where` means; unknown where only a scan tells."""
    shop.run("CREATE TABLE posts (id INTEGER PRIMARY KEY, kind TEXT)")
    for kind in ("enquiry", "page", "page", None):
        shop.run("INSERT INTO posts (kind) VALUES (?)", kind)

    def count(op: Op, value: Any) -> int | None:
        where = (Condition("kind", op, value),)
        settings = SqlLocation(table="posts", key="id")
        return shop.connector.count(Target("c/posts", settings, (), ("kind",), where))

    assert count(Op.IN, ("enquiry",)) == 1
    assert count(Op.NOT_IN, ("page",)) == 2
    assert count(Op.EMPTY, True) == 1
    assert count(Op.MATCHES, "^p") is None


def test_near_matches_are_not_hidden(shop: Shop) -> None:
    """Case and spaces are for the engine to judge: a pushed-down filter lets such rows through."""
    shop.run("CREATE TABLE t (id INTEGER PRIMARY KEY, s TEXT)")
    for status in ("ended", "Ended", " ended ", "other", "50%", None):
        shop.run("INSERT INTO t (s) VALUES (?)", status)
    where = (Condition("s", Op.IN, ("ended",)),)
    target = Target("c/t", SqlLocation(table="t", key="id"), (), ("s",), where)
    assert [r.ref.key for r in shop.find(target)] == ["1", "2", "3"]


# --- names and keys ---------------------------------------------------------------------------


def test_names_are_only_names(shop: Shop) -> None:
    """Tables and columns with quotes, spaces, percent signs and SQL in them are just names."""
    shop.run("CREATE TABLE victim (id INTEGER PRIMARY KEY)")
    shop.run("INSERT INTO victim VALUES (1)")
    table, key, field = 'x"; DROP TABLE victim; --', "key %s 'of' it", 'se"lect :a %(b)s'
    quoted = [name.replace('"', '""') for name in (table, key, field)]
    shop.run(f'CREATE TABLE "{quoted[0]}" ("{quoted[1]}" INTEGER PRIMARY KEY, "{quoted[2]}" TEXT)')
    shop.run(f"INSERT INTO \"{quoted[0]}\" VALUES (1, 'a'), (2, 'b')")
    target = Target("c/x", SqlLocation(table=table, key=key), (), (field,))
    refs = [r.ref for r in shop.find(target)]
    (masked,) = shop.connector.mask(target, refs[1:], {field: "'; DROP TABLE victim; --"})
    assert masked.result is Result.DISPOSED
    assert [o.result for o in shop.connector.erase(target, refs[:1])] == [Result.DISPOSED]
    assert list(shop.connector.probe([target]))
    assert shop.run("SELECT * FROM victim") == [(1,)]


@pytest.mark.parametrize(
    "said",
    [
        {"table": "victim; DROP TABLE victim", "key": "id"},
        {"table": "victim WHERE 1=1 --", "key": "id"},
        {"table": "victim", "key": "id OR 1=1"},
        {"table": "victim", "key": "id", "children": [{"table": "a; b", "parent": "id"}]},
        {"table": "victim", "key": "id", "uploads": {"column": "no; pe", "root": "."}},
    ],
)
def test_what_is_not_there_is_refused(shop: Shop, said: dict[str, Any]) -> None:
    """A name that the database does not know never reaches a statement."""
    shop.run("CREATE TABLE victim (id INTEGER PRIMARY KEY)")
    shop.run("INSERT INTO victim VALUES (1)")
    target = Target("c/v", SqlLocation.model_validate(said))
    with pytest.raises(PermanentFailure) as caught:
        shop.find(target)
    assert caught.value.code == "missing"
    assert caught.value.place == "c/v"
    assert shop.run("SELECT * FROM victim") == [(1,)]


def test_a_mistyped_name_is_answered_with_near_ones(shop: Shop) -> None:
    """The hint names what there is."""
    shop.run("CREATE TABLE contact_form (id INTEGER PRIMARY KEY, created_at TEXT)")
    with pytest.raises(PermanentFailure) as caught:
        shop.find(at("contact_from"))
    assert "`contact_form`" in caught.value.hint
    with pytest.raises(PermanentFailure) as caught:
        shop.find(at("contact_form", dates=("create_at",)))
    assert "`created_at`" in caught.value.hint


def test_a_key_must_be_unique(shop: Shop) -> None:
    """A column that two rows may share would delete the wrong row."""
    shop.run("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b TEXT UNIQUE, c TEXT NOT NULL)")
    shop.run("CREATE UNIQUE INDEX some_c ON t (c) WHERE a = 'x'")
    shop.run("INSERT INTO t VALUES (1, 'x', 'y', 'z')")
    for column in ("a", "c"):
        with pytest.raises(PermanentFailure) as caught:
            shop.find(at("t", column))
        assert caught.value.code == "key"
    assert [r.ref.key for r in shop.find(at("t", "b"))] == ["y"]
    shop.run("INSERT INTO t VALUES (2, 'x', NULL, 'u')")
    with pytest.raises(PermanentFailure, match="have no `b`"):
        shop.find(at("t", "b"))


def test_a_key_of_the_wrong_type_is_refused(shop: Shop) -> None:
    """SQLite lets text stand in a number column: such a row could not be named again."""
    shop.run("CREATE TABLE t (id INTEGER UNIQUE NOT NULL)")
    shop.run("INSERT INTO t VALUES ('007x')")
    with pytest.raises(PermanentFailure, match="another type"):
        shop.find(at("t"))


def test_a_key_of_several_columns_is_refused() -> None:
    """Said at validation, in words."""
    with pytest.raises(ValidationError, match="several columns"):
        SqlLocation.model_validate({"table": "t", "key": ["a", "b"]})


def test_a_ref_that_is_no_key_is_not_gone(shop: Shop) -> None:
    """A key that cannot exist is a failure, and unknown: never a proof."""
    shop.run("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    ref = Ref("t", "1 OR 1=1")
    assert [o.result for o in shop.connector.erase(at("t"), [ref])] == [Result.FAILED_PERMANENT]
    assert shop.levels(at("t"), [ref]) == {"1 OR 1=1": Level.UNKNOWN}


# --- the system -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    ["postgresql://u:hunter2@h/db", "mysql://h/db?password=hunter2", "hunter2", "http://hunter2"],
)
def test_bad_urls_are_refused_without_repeating_them(url: str) -> None:
    """A password in a file is an error, and no error repeats it."""
    try:
        sql.connect(Opened("s", SqlSystem.model_validate({"url": url}), "."))
    except ValidationError as error:
        told = str(error.errors(include_input=False, include_context=False))
    except Exception as error:  # noqa: BLE001 -- whichever it is, its text is looked at
        told = str(error)
    assert "hunter2" not in told


def test_a_mistyped_file_does_not_become_a_database(tmp_path: Path) -> None:
    """Opening what is not there fails and leaves nothing behind."""
    system = SqlSystem.model_validate({"url": "sqlite:///nowhere.db"})
    connector = sql.connect(Opened("s", system, str(tmp_path)))
    with pytest.raises(PermanentFailure, match="cannot be opened"):
        connector.containers(at("t"))
    connector.close()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_permanent(tmp_path: Path) -> None:
    """Nothing to retry."""
    (tmp_path / "x.db").write_text("hello " * 400)
    system = SqlSystem.model_validate({"url": "sqlite:///x.db"})
    connector = sql.connect(Opened("s", system, str(tmp_path)))
    with pytest.raises(PermanentFailure, match="no intact"):
        connector.containers(at("t"))
    connector.close()


def test_deleted_rows_are_overwritten_in_the_file(shop: Shop) -> None:
    """SQLite keeps the bytes of deleted rows unless it is told not to."""
    shop.run("CREATE TABLE t (id INTEGER PRIMARY KEY, secret TEXT)")
    shop.run("INSERT INTO t VALUES (1, 'canary.person@example.org')")
    assert b"canary.person" in shop.file.read_bytes()
    assert {o.result for o in shop.erase(at("t")).values()} == {Result.DISPOSED}
    assert b"canary.person" not in shop.file.read_bytes()


def test_one_connection_is_enough(shop: Shop) -> None:
    """`pool: 1` takes turns instead of waiting for itself."""
    shop.run("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    shop.run("INSERT INTO t VALUES (1), (2)")
    shop.connector.close()
    shop.connector = shop.open(pool=1, statement_timeout=1)
    refs = [r.ref for r in shop.find(at("t"))]
    assert {o.result for o in shop.connector.erase(at("t"), refs[:1])} == {Result.DISPOSED}
    assert [r.ref for r in shop.find(at("t"))] == refs[1:]


def test_masking_what_must_not_be_empty_fails_alone(shop: Shop) -> None:
    """The database's own rules are a permanent failure of that record."""
    shop.run("CREATE TABLE t (id INTEGER PRIMARY KEY, n TEXT NOT NULL, u TEXT UNIQUE)")
    shop.run("INSERT INTO t VALUES (1, 'a', 'b'), (2, 'c', 'd')")
    refs = [r.ref for r in shop.find(at("t"))]
    outcomes = list(shop.connector.mask(at("t"), refs, {"n": None}))
    assert {(o.result, o.code) for o in outcomes} == {(Result.FAILED_PERMANENT, "constraint")}
    unique = [o.result for o in shop.connector.mask(at("t"), refs, {"u": "gone"})]
    assert sorted(unique) == [Result.DISPOSED, Result.FAILED_PERMANENT]


def test_large_batches_are_split(shop: Shop) -> None:
    """More refs than one statement may name are acted upon in parts, one outcome each."""
    shop.run("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    shop.run(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION SELECT i + 1 FROM n LIMIT 1203)"
        " INSERT INTO t SELECT i FROM n"
    )
    assert len(shop.erase(at("t"))) == 1203
    assert shop.run("SELECT count(*) FROM t") == [(0,)]


def test_a_busy_file_is_temporary(shop: Shop) -> None:
    """Another writer is a reason to come back, and nothing is half done."""
    shop.run("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    shop.run("INSERT INTO t VALUES (1)")
    connector = shop.open(statement_timeout=0.1)
    refs = [r.ref for page in connector.find(at("t")) for r in page.records]
    shop.run("BEGIN IMMEDIATE")
    with pytest.raises(TemporaryFailure):
        list(connector.erase(at("t"), refs))
    shop.run("ROLLBACK")
    assert [o.result for o in connector.erase(at("t"), refs)] == [Result.DISPOSED]
    connector.close()


def test_a_resolved_secret_may_hold_the_whole_url(shop: Shop) -> None:
    """`url: {env: …}` arrives as a secret string."""
    shop.run("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    system = SqlSystem.model_validate({"url": SecretStr(f"sqlite:///{shop.file}")})
    connector = sql.connect(Opened("s", system, "."))
    assert connector.containers(at("t")) == ("t",)
    assert str(shop.file) not in repr(connector) + repr(system)
    connector.close()


def test_a_read_only_file_refuses_the_act(shop: Shop) -> None:
    """Lacking the right to write is a refusal of credentials, not a failure to retry."""
    shop.run("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    shop.run("INSERT INTO t VALUES (1)")
    refs = [r.ref for r in shop.find(at("t"))]
    connector = shop.open()
    shop_session: Any = connector
    with shop_session._session.acting() as raw:
        raw.exec_driver_sql("PRAGMA query_only = ON")
    with pytest.raises(CredentialsRefused):
        list(connector.erase(at("t"), refs))
    connector.close()
