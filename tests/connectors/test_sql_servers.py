"""SQL on real servers: refusals, time-outs, types and traps of PostgreSQL and MariaDB."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from retention.connectors import sql
from retention.connectors.base import (
    Bound,
    Connector,
    Divisible,
    Level,
    Opened,
    Record,
    Ref,
    Result,
    Target,
)
from retention.connectors.sql.settings import SqlLocation, SqlSystem
from retention.errors import (
    ConnectorError,
    CredentialsRefused,
    ExitCode,
    PermanentFailure,
    TemporaryFailure,
)
from tests.connectors.sql_worlds import _plain, _pymysql
from tests.servers.mariadb import MariaDB
from tests.servers.postgres import Postgres
from tests.servers.process import free_port


class Site:
    """One database with its owner's connection, on either server."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.maria = url.startswith("mysql")
        self.db: Any = (
            _pymysql(url) if self.maria else psycopg.connect(_plain(url), autocommit=True)
        )

    def run(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with self.db.cursor() as cursor:
            cursor.execute(statement, values or None)
            return list(cursor.fetchall()) if cursor.description else []

    @contextmanager
    def session(self, url: str | None = None, **options: Any) -> Iterator[Connector]:
        said = {"url": SecretStr(url or self.url), **options}
        settings = SqlSystem.model_validate(said)
        with closing(sql.connect(Opened("site", settings, ".", {"timezone": "UTC"}))) as connector:
            yield connector


@pytest.fixture
def pg(postgres: Postgres) -> Iterator[Site]:
    site = Site(postgres.new_database())
    yield site
    site.db.close()


@pytest.fixture
def my(mariadb: MariaDB) -> Iterator[Site]:
    site = Site(mariadb.new_database())
    yield site
    site.db.close()


@pytest.fixture(params=["pg", "my"])
def site(request: pytest.FixtureRequest) -> Site:
    """Each test with it runs on both servers."""
    found: Site = request.getfixturevalue(request.param)
    return found


def at(
    table: str,
    key: str = "id",
    *,
    dates: tuple[str, ...] = (),
    fields: tuple[str, ...] = (),
    bounds: tuple[Bound, ...] = (),
    **more: Any,
) -> Target:
    settings = SqlLocation.model_validate({"table": table, "key": key, **more})
    return Target(f"c/{table}", settings, dates, fields, (), bounds)


def found(connector: Connector, target: Target) -> list[Record]:
    return [record for page in connector.find(target) for record in page.records]


def refs_of(connector: Connector, target: Target) -> list[Ref]:
    return [record.ref for record in found(connector, target)]


# --- WordPress --------------------------------------------------------------------------------


@pytest.fixture
def wordpress(my: Site) -> Site:
    """Enquiries as the plugin Flamingo keeps them: posts, with the personal data in postmeta."""
    my.run(
        "CREATE TABLE wp_posts (ID bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,"
        " post_date datetime NOT NULL DEFAULT '0000-00-00 00:00:00',"
        " post_date_gmt datetime NOT NULL DEFAULT '0000-00-00 00:00:00',"
        " post_type varchar(20) NOT NULL, post_title text NOT NULL) CHARACTER SET utf8mb4"
    )
    my.run(
        "CREATE TABLE wp_postmeta (meta_id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,"
        " post_id bigint unsigned NOT NULL DEFAULT 0, meta_key varchar(255), meta_value longtext,"
        " KEY post_id (post_id)) CHARACTER SET utf8mb4"
    )
    my.run(
        "CREATE TABLE wp_term_relationships (object_id bigint unsigned NOT NULL,"
        " term_taxonomy_id bigint unsigned NOT NULL, PRIMARY KEY (object_id, term_taxonomy_id))"
    )
    my.run(
        "CREATE TABLE wp_marks (of_id varchar(20) NOT NULL, of_type varchar(20) NOT NULL, m text)"
    )
    for number in range(1, 31):
        kind = "flamingo_inbound" if number % 3 else "page"
        my.run(
            "INSERT INTO wp_posts (ID, post_date, post_type, post_title) VALUES (%s, %s, %s, 't')",
            number,
            datetime(2024, 1, 1, tzinfo=UTC).replace(tzinfo=None) + timedelta(days=number),
            kind,
        )
        for meta in ("_from_email", "_field_your-name"):
            my.run(
                "INSERT INTO wp_postmeta (post_id, meta_key, meta_value) VALUES (%s, %s, 'v')",
                number,
                meta,
            )
        my.run("INSERT INTO wp_term_relationships VALUES (%s, 7)", number)
        my.run("INSERT INTO wp_marks VALUES (%s, 'post', 'x'), (%s, 'user', 'y')", number, number)
    # Text that MariaDB would compare as the number 1.
    my.run("INSERT INTO wp_marks VALUES ('1abc', 'post', 'z')")
    return my


def test_wordpress_enquiries_go_with_all_their_meta(wordpress: Site) -> None:
    """No orphan with personal data is left, and no row of anything else is touched."""
    target = at(
        "wp_posts",
        "id",
        dates=("post_date",),
        fields=("post_type",),
        timezone="Europe/Oslo",
        children=[
            {"table": "wp_postmeta", "parent": "post_id"},
            {"table": "wp_term_relationships", "parent": "object_id"},
            {"table": "wp_marks", "parent": "of_id", "match": {"of_type": "post"}},
        ],
    )
    with wordpress.session() as connector, wordpress.session() as other:
        records = [
            r for r in found(connector, target) if r.fields["post_type"] == "flamingo_inbound"
        ]
        assert len(records) == 20
        refs = [r.ref for r in records]
        assert {o.result for o in connector.erase(target, refs)} == {Result.DISPOSED}
        control = next(r.ref for r in found(connector, target))
        assert {p.level for p in other.verify(target, refs, control)} == {Level.GONE}
    assert wordpress.run("SELECT count(*) FROM wp_posts") == [(10,)]
    assert wordpress.run("SELECT count(*) FROM wp_postmeta") == [(20,)]
    assert wordpress.run(
        "SELECT count(*) FROM wp_postmeta m LEFT JOIN wp_posts p ON p.ID = m.post_id"
        " WHERE p.ID IS NULL"
    ) == [(0,)]
    assert wordpress.run("SELECT count(*) FROM wp_term_relationships") == [(10,)]
    assert wordpress.run("SELECT of_type, count(*) FROM wp_marks GROUP BY 1 ORDER BY 1") == [
        ("post", 11),
        ("user", 30),
    ]


def test_wordpress_orphans_are_seen(wordpress: Site) -> None:
    """Meta that an earlier plain DELETE left behind shows in verification and in the probe."""
    target = at("wp_posts", "ID", children=[{"table": "wp_postmeta", "parent": "post_id"}])
    with wordpress.session() as connector:
        wordpress.run("DELETE FROM wp_posts WHERE ID = 4")
        (proof,) = connector.verify(target, [Ref("wp_posts", "4")], Ref("wp_posts", "5"))
        assert proof.level is Level.PRESENT
        findings = {p.check for p in connector.probe([at("wp_posts", "ID")]) if not p.ok}
    assert "c/wp_posts: rows of `wp_postmeta`" in findings


# --- refusals and failures --------------------------------------------------------------------


def test_a_wrong_password_is_refused_credentials(site: Site) -> None:
    """Its own exit code, and neither password nor the server's words in the error."""
    head, _, tail = site.url.partition("@")
    wrong = f"{head.rpartition(':')[0]}:wrong-hunter2@{tail}"
    with site.session(wrong) as connector, pytest.raises(CredentialsRefused) as caught:
        connector.containers(at("t"))
    assert caught.value.exit_code is ExitCode.REFUSED
    assert "hunter2" not in repr(caught.value) + str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_an_unknown_database_is_no_reason_to_retry(site: Site) -> None:
    """A mistyped name stays mistyped."""
    wrong = site.url.replace("/db", "/nodb")
    with site.session(wrong) as connector, pytest.raises(ConnectorError) as caught:
        connector.containers(at("t"))
    assert caught.value.permanent


@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
def test_an_unreachable_server_is_temporary(scheme: str) -> None:
    """Nobody listens: try again later."""
    url = SecretStr(f"{scheme}://u:p@127.0.0.1:{free_port()}/x")
    system = SqlSystem.model_validate({"url": url})
    with (
        closing(sql.connect(Opened("s", system, "."))) as connector,
        pytest.raises(TemporaryFailure),
    ):
        connector.containers(at("t"))


def test_a_slow_statement_is_given_up(site: Site) -> None:
    """The server stops it, it is temporary, and the session goes on."""
    site.run("CREATE TABLE t (id bigint PRIMARY KEY, s text)")
    site.run("INSERT INTO t VALUES (1, 'x')")
    with site.session(statement_timeout=0.3) as connector:
        assert connector.count(at("t")) == 1
        session: Any = connector
        sleep = "SELECT SLEEP(5) FROM t" if site.maria else "SELECT pg_sleep(5)"
        with pytest.raises(TemporaryFailure):
            session._session.told(
                "c/t", lambda: session._session.reading().exec_driver_sql(sleep).all()
            )
        assert connector.count(at("t")) == 1


def test_a_deadlock_is_temporary_and_undone(site: Site) -> None:
    """Of two that wait for each other one is told to come back; its act left nothing half done."""
    site.run("CREATE TABLE t (id bigint PRIMARY KEY, s text)")
    site.run("CREATE TABLE u (id bigint, t_id bigint)")
    site.run("INSERT INTO t VALUES (1, 'x')")
    site.run("INSERT INTO u VALUES (1, 1)")
    target = at("t", children=[{"table": "u", "parent": "t_id"}])
    site.run("BEGIN")
    site.run("UPDATE t SET s = 'y' WHERE id = 1")
    with site.session(statement_timeout=4) as connector:
        ref = refs_of(connector, target)[0]
        ends: list[object] = []

        def act() -> None:
            try:
                ends.extend(o.result for o in connector.erase(target, [ref]))
            except ConnectorError as error:
                ends.append(error)

        thread = threading.Thread(target=act)
        thread.start()
        thread.join(0.8)
        try:
            # The act holds the child and waits for the parent; now we want the child.
            site.run("UPDATE u SET id = 2 WHERE t_id = 1")
        except Exception:  # noqa: BLE001 -- the server may choose us as the victim
            site.run("ROLLBACK")
        else:
            site.run("ROLLBACK")
        thread.join(10)
        (end,) = ends
        if isinstance(end, ConnectorError):
            assert not end.permanent
            assert site.run("SELECT count(*) FROM t JOIN u ON u.t_id = t.id") == [(1,)]
            (end,) = (o.result for o in connector.erase(target, [ref]))
        assert end is Result.DISPOSED
    assert site.run("SELECT count(*) FROM u") == [(0,)]


def test_a_right_that_is_missing_is_refused_and_probed(
    site: Site, postgres: Postgres, mariadb: MariaDB
) -> None:
    """Who may only read cannot act, and `doctor` says so beforehand."""
    site.run("CREATE TABLE t (id bigint PRIMARY KEY)")
    site.run("INSERT INTO t VALUES (1)")
    if site.maria:
        guest = mariadb.new_login(site.url, "SELECT")
    else:
        guest = postgres.new_login(site.url)
        site.run("GRANT SELECT ON t TO PUBLIC")
    with site.session(guest) as connector:
        refs = refs_of(connector, at("t"))
        with pytest.raises(CredentialsRefused) as caught:
            list(connector.erase(at("t"), refs))
        assert caught.value.place == "c/t"
        rights = [p for p in connector.probe([at("t")]) if p.check == "c/t: rights"]
        assert [(p.ok, "DELETE" in p.detail) for p in rights] == [(False, True)]
    assert site.run("SELECT id FROM t") == [(1,)]


def test_too_many_rights_are_probed(site: Site, postgres: Postgres) -> None:
    """An account that may do everything is a finding."""
    url = site.url if site.maria else postgres.admin_url(site.url)
    with site.session(url) as connector:
        (finding,) = [p for p in connector.probe([]) if p.check == "excess rights"]
    assert not finding.ok
    assert "everything" in finding.detail


def test_a_cut_connection_is_temporary_and_mended(
    site: Site, postgres: Postgres, mariadb: MariaDB
) -> None:
    """After the network failed, the same session goes on by itself."""
    site.run("CREATE TABLE t (id bigint PRIMARY KEY)")
    site.run("INSERT INTO t VALUES (1), (2)")
    with site.session() as connector:
        refs = refs_of(connector, at("t"))
        assert [o.result for o in connector.erase(at("t"), refs[:1])] == [Result.DISPOSED]
        assert (mariadb if site.maria else postgres).drop_connections(site.url) >= 2
        with pytest.raises(TemporaryFailure):
            list(connector.erase(at("t"), refs[1:]))
        assert [r.ref.key for r in connector.recheck(at("t"), ["2"])] == ["2"]
        assert [o.result for o in connector.erase(at("t"), refs[1:])] == [Result.DISPOSED]


def test_rows_that_a_trigger_keeps_are_not_gone(pg: Site) -> None:
    """A trigger that turns DELETE into hiding: the act may be fooled, the look is not."""
    pg.run("CREATE TABLE t (id bigint PRIMARY KEY)")
    pg.run("INSERT INTO t VALUES (1)")
    pg.run("CREATE FUNCTION keep() RETURNS trigger AS 'BEGIN RETURN NULL; END' LANGUAGE plpgsql")
    pg.run("CREATE TRIGGER k BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION keep()")
    with pg.session() as connector:
        refs = refs_of(connector, at("t"))
        assert Result.DISPOSED not in {o.result for o in connector.erase(at("t"), refs)}
        assert [p.level for p in connector.verify(at("t"), refs, refs[0])] == [Level.PRESENT]
        assert "c/t: triggers" in {p.check for p in connector.probe([at("t")]) if not p.ok}


def test_foreign_keys_are_probed_and_hold(site: Site) -> None:
    """A table that points here is named with what would happen; a row it holds fails alone."""
    site.run("CREATE TABLE people (id bigint PRIMARY KEY)")
    site.run(
        "CREATE TABLE invoices (id bigint PRIMARY KEY, person bigint,"
        " FOREIGN KEY (person) REFERENCES people (id))"
    )
    site.run("INSERT INTO people VALUES (1), (2), (3)")
    site.run("INSERT INTO invoices VALUES (1, 2)")
    with site.session() as connector:
        (finding,) = [p for p in connector.probe([at("people")]) if "invoices" in p.check]
        assert not finding.ok
        outcomes = connector.erase(at("people"), refs_of(connector, at("people")))
        results = {o.key: o.result for o in outcomes}
    assert results == {
        "1": Result.DISPOSED,
        "2": Result.FAILED_PERMANENT,
        "3": Result.DISPOSED,
    }
    assert site.run("SELECT id FROM people") == [(2,)]


# --- types ------------------------------------------------------------------------------------

NOON = datetime(2024, 7, 1, 12, 0, tzinfo=UTC)
LATER = Bound("d", datetime(2025, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("type_", "stored", "read"),
    [
        ("timestamptz", "2024-07-01 14:00:00+02", NOON),
        ("timestamptz", "infinity", None),
        ("timestamptz", "-infinity", None),
        ("timestamptz", "0044-03-15 BC", None),
        ("timestamp", "2024-07-01 14:00:00", NOON),
        ("timestamp", "infinity", None),
        ("date", "2024-07-01", date(2024, 7, 1)),
        ("date", "infinity", None),
        ("bigint", "1719835200", NOON),
        ("bigint", "1719835200000", NOON),
        ("integer", "0", None),
        ("text", "2024-07-01T12:00:00Z", NOON),
        ("text", "soon", None),
    ],
)
def test_dates_of_postgresql(pg: Site, type_: str, stored: str, read: Any) -> None:
    """Each type is read for what it means; infinity and years before ours are no dates."""
    pg.run(f"CREATE TABLE t (id bigint PRIMARY KEY, d {type_})")
    pg.run(f"INSERT INTO t VALUES (1, '{stored}'), (2, NULL)")
    target = at("t", dates=("d",), timezone="Europe/Oslo", bounds=(LATER,))
    with pg.session() as connector:
        records = found(connector, target)
        old = [r.ref.key for r in records]
        assert [r.dates["d"] for r in records if r.ref.key == "1"] in ([read], [])
        # Infinity is a known date that is not before the bound: it may be left out.
        assert old == (["2"] if stored == "infinity" else ["1", "2"])
        assert {o.result for o in connector.erase(target, [r.ref for r in records])} == {
            Result.DISPOSED
        }


@pytest.mark.parametrize(
    ("type_", "stored", "read"),
    [
        ("datetime", "2024-07-01 14:00:00", NOON),
        ("datetime(6)", "2024-07-01 14:00:00.000000", NOON),
        ("timestamp NULL", "2024-07-01 12:00:00", NOON),
        ("datetime", "0000-00-00 00:00:00", None),
        ("date", "2024-07-01", date(2024, 7, 1)),
        ("date", "0000-00-00", None),
        ("int unsigned", "1719835200", NOON),
        ("varchar(40)", "2024-07-01T12:00:00Z", NOON),
    ],
)
def test_dates_of_mariadb(my: Site, type_: str, stored: str, read: Any) -> None:
    """DATETIME is local clock time, TIMESTAMP is UTC, and a date of zeros is none."""
    my.run("SET SESSION time_zone = '+00:00', sql_mode = ''")
    my.run(f"CREATE TABLE t (id bigint PRIMARY KEY, d {type_})")
    my.run(f"INSERT INTO t VALUES (1, '{stored}'), (2, NULL)")
    target = at("t", dates=("d",), timezone="Europe/Oslo", bounds=(LATER,))
    with my.session() as connector:
        records = found(connector, target)
        assert {r.ref.key: r.dates["d"] for r in records} == {"1": read, "2": None}
        assert {o.result for o in connector.erase(target, [r.ref for r in records])} == {
            Result.DISPOSED
        }


@pytest.mark.parametrize("type_", ["timestamptz", "timestamp", "date", "bigint"])
def test_bounds_of_postgresql_equal_a_full_scan(pg: Site, type_: str) -> None:
    """Pushed down, nothing that is before the bound is lost."""
    _bounds_hide_nothing(pg, type_)


@pytest.mark.parametrize("type_", ["datetime", "timestamp NULL", "date", "bigint"])
def test_bounds_of_mariadb_equal_a_full_scan(my: Site, type_: str) -> None:
    """Pushed down, nothing that is before the bound is lost."""
    my.run("SET SESSION time_zone = '+00:00'")
    _bounds_hide_nothing(my, type_)


def _bounds_hide_nothing(site: Site, type_: str) -> None:
    site.run(f"CREATE TABLE t (id bigint PRIMARY KEY, d {type_})")
    start = datetime(2024, 10, 20, tzinfo=UTC)
    for hour in range(0, 400, 5):
        moment = start + timedelta(hours=hour)
        stored = int(moment.timestamp()) if type_ == "bigint" else f"{moment:%Y-%m-%d %H:%M:%S}"
        site.run(f"INSERT INTO t VALUES ({hour}, '{stored}')")
    target = at("t", dates=("d",), timezone="America/St_Johns")
    with site.session() as connector:
        whole = found(connector, target)
        for hours in (100, 163, 170, 250):
            instant = start + timedelta(hours=hours, seconds=1)
            bounded = Target(target.name, target.settings, ("d",), bounds=(Bound("d", instant),))
            pushed = {r.ref.key for r in found(connector, bounded)}
            assert {r.ref.key for r in whole if _is_before(r.dates["d"], instant)} <= pushed
            assert len(pushed) < len(whole)


def _is_before(when: Any, instant: datetime) -> bool:
    if isinstance(when, datetime):
        return when < instant
    return bool(when <= instant.date())


@pytest.mark.parametrize(
    ("type_", "values"),
    [
        ("uuid", [str(uuid.UUID(int=n)) for n in (1, 2, 3)]),
        ("varchar(5)", ["abcde", "abcd", "x"]),
        ("char(5)", ["abc", "ab", "a"]),
        ("numeric(20,2)", ["1.50", "2.00", "3.25"]),
        ("smallint", ["-1", "2", "3"]),
        ("bytea", ["\\x00", "\\xff27", "\\x41"]),
    ],
)
def test_keys_of_postgresql(pg: Site, type_: str, values: list[str]) -> None:
    """Whatever a key is made of, it names exactly its row."""
    pg.run(f"CREATE TABLE t (id {type_} PRIMARY KEY, s text)")
    _keys_name_their_rows(pg, values)
    with pg.session() as connector:
        outcomes = list(connector.erase(at("t", fields=("s",)), [Ref("t", "abcdefgh", "")]))
        assert Result.DISPOSED not in {o.result for o in outcomes}


@pytest.mark.parametrize(
    ("type_", "values"),
    [
        ("bigint unsigned", ["1", "18446744073709551615", "3"]),
        ("varchar(20)", ["Abc", "xyz", "1"]),
        ("binary(2)", ["'\\", "ab", "cd"]),
        ("decimal(20,2)", ["1.50", "2.00", "3.25"]),
    ],
)
def test_keys_of_mariadb(my: Site, type_: str, values: list[str]) -> None:
    """Whatever a key is made of, it names exactly its row."""
    my.run(f"CREATE TABLE t (id {type_} PRIMARY KEY, s text)")
    _keys_name_their_rows(my, values)


def _keys_name_their_rows(site: Site, values: list[str]) -> None:
    for value in values:
        site.run("INSERT INTO t VALUES (%s, 's')", value)
    target = at("t", fields=("s",))
    with site.session() as connector:
        refs = refs_of(connector, target)
        assert len(refs) == 3
        assert len(list(connector.recheck(target, [r.key for r in refs]))) == 3
        (masked,) = connector.mask(target, refs[1:2], {"s": "gone"})
        assert masked.result is Result.DISPOSED
        (erased,) = connector.erase(target, refs[:1])
        assert (erased.key, erased.result) == (refs[0].key, Result.DISPOSED)
        levels = [p.level for p in connector.verify(target, refs[:2], refs[2])]
        assert levels == [Level.GONE, Level.PRESENT]
        assert [r.ref.key for r in found(connector, target)] == [r.key for r in refs[1:]]


def test_a_look_alike_key_is_another_record(my: Site) -> None:
    """A collation that ignores case does not make `ANNA` the record that was called `anna`."""
    my.run("CREATE TABLE t (id varchar(20) PRIMARY KEY) COLLATE utf8mb4_general_ci")
    my.run("INSERT INTO t VALUES ('anna'), ('bo')")
    with my.session() as connector:
        refs = refs_of(connector, at("t"))
        my.run("UPDATE t SET id = 'ANNA' WHERE id = 'anna'")
        results = {o.key: o.result for o in connector.erase(at("t"), refs)}
        assert results == {"anna": Result.ALREADY_ABSENT, "bo": Result.DISPOSED}
        assert list(connector.recheck(at("t"), ["anna"])) == []
    assert my.run("SELECT id FROM t") == [("ANNA",)]


def test_every_kind_of_column_is_in_the_fingerprint(site: Site) -> None:
    """A change of any column that was read is noticed, NULL and text `NULL` included."""
    if site.maria:
        types = [
            "int",
            "decimal(8,2)",
            "double",
            "varchar(9) COLLATE utf8mb4_bin",
            "json",
            "bit(3)",
        ]
        values = ["5", "1.25", "0.5", "'NULL'", "'{}'", "b'101'"]
    else:
        types = ["int", "numeric", "float8", "text", "jsonb", "text[]", "bytea", "inet", "bool"]
        values = ["5", "1.25", "0.5", "'NULL'", "'{}'", "'{a,b}'", "'x'", "'::1'", "true"]
    columns = ", ".join(f"c{n} {type_}" for n, type_ in enumerate(types))
    site.run(f"CREATE TABLE t (id bigint PRIMARY KEY, {columns})")
    site.run(f"INSERT INTO t VALUES (1, {', '.join(values)})")
    target = at("t", fields=tuple(f"c{n}" for n in range(len(types))))
    with site.session() as connector:
        versions = set()
        for n in range(len(types)):
            (ref,) = refs_of(connector, target)
            versions.add(ref.version)
            site.run(f"UPDATE t SET c{n} = NULL")
            (outcome,) = connector.erase(target, [ref])
            assert outcome.result is Result.CHANGED
        assert len(versions) == len(types)
        (ref,) = refs_of(connector, target)
        (outcome,) = connector.erase(target, [ref])
        assert outcome.result is Result.DISPOSED


def test_names_are_only_names_on_servers(site: Site) -> None:
    """Schemas, tables and columns with quotes, spaces, percent signs and SQL are just names."""
    mark = "`" if site.maria else '"'
    table, key, field = 'x"; DROP TABLE victim; --', "Key %s 'of' it", 'se"lect :a %(b)s'
    q = [
        mark + name.replace(mark, mark * 2).replace("%", "%%") + mark
        for name in (table, key, field)
    ]
    site.run("CREATE TABLE victim (id bigint PRIMARY KEY)")
    with site.db.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {q[0]} ({q[1]} bigint PRIMARY KEY, {q[2]} text)", [])
        cursor.execute(f"INSERT INTO {q[0]} VALUES (1, 'a'), (2, 'b')", [])
    target = at(table, key, fields=(field,))
    with site.session() as connector:
        refs = refs_of(connector, target)
        (masked,) = connector.mask(target, refs[1:], {field: "'; DROP TABLE victim; --"})
        assert masked.result is Result.DISPOSED
        assert [o.result for o in connector.erase(target, refs[:1])] == [Result.DISPOSED]
        assert list(connector.probe([target]))
        assert [r.ref.key for r in found(connector, target)] == ["2"]
    assert site.run("SELECT count(*) FROM victim") == [(0,)]


def test_tables_of_another_schema(pg: Site) -> None:
    """`schema.table` is found; the same name in the usual schema is left alone."""
    pg.run("CREATE SCHEMA sales")
    pg.run("CREATE TABLE sales.t (id bigint PRIMARY KEY)")
    pg.run("CREATE TABLE t (id bigint PRIMARY KEY)")
    pg.run("INSERT INTO t VALUES (1)")
    pg.run("INSERT INTO sales.t VALUES (1)")
    target = at("sales.t")
    with pg.session() as connector:
        assert connector.containers(target) == ("sales.t",)
        assert list(connector.probe([target]))
        outcomes = list(connector.erase(target, refs_of(connector, target)))
    assert [o.result for o in outcomes] == [Result.DISPOSED]
    assert pg.run("SELECT count(*) FROM t") == [(1,)]
    assert pg.run("SELECT count(*) FROM sales.t") == [(0,)]


def test_a_view_is_no_table(site: Site) -> None:
    """Deleting through a view could reach more than it shows."""
    site.run("CREATE TABLE t (id bigint PRIMARY KEY)")
    site.run("CREATE VIEW v AS SELECT id FROM t")
    with site.session() as connector, pytest.raises(PermanentFailure):
        connector.containers(at("v"))


def test_finding_holds_no_lock(site: Site) -> None:
    """Between pages others may change and delete what they like."""
    site.run("CREATE TABLE t (id bigint PRIMARY KEY)")
    for n in range(9):
        site.run(f"INSERT INTO t VALUES ({n})")
    with site.session(page=2) as connector:
        pages = iter(connector.find(at("t")))
        next(pages)
        if site.maria:
            site.run("SET SESSION lock_wait_timeout = 1, innodb_lock_wait_timeout = 1")
        else:
            site.run("SET lock_timeout = 1000")
        site.run("DELETE FROM t WHERE id < 6")
        site.run("ALTER TABLE t ADD COLUMN extra int")
        assert [r.ref.key for page in pages for r in page.records] == ["6", "7", "8"]


def test_masked_numbers_and_texts_are_seen_again(site: Site) -> None:
    """A mask is compared in the column's own type."""
    site.run("CREATE TABLE t (id bigint PRIMARY KEY, n int, s varchar(20), b varchar(20))")
    site.run("INSERT INTO t VALUES (1, 4711, 'x', 'y'), (2, 4712, 'x', 'y')")
    target = at("t", fields=("n", "s", "b"))
    values = {"n": 0, "s": 7, "b": None}
    with site.session() as connector:
        refs = refs_of(connector, target)
        before = [p.level for p in connector.verify(target, refs[:1], refs[1], values)]
        outcomes = [o.result for o in connector.mask(target, refs[:1], values)]
        after = [p.level for p in connector.verify(target, refs[:1], refs[1], values)]
    assert (before, outcomes, after) == ([Level.PRESENT], [Result.DISPOSED], [Level.GONE])
    assert site.run("SELECT * FROM t ORDER BY id") == [(1, 0, "7", None), (2, 4712, "x", "y")]


# --- spans ------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [1, -40, 2**40])
def test_a_table_with_a_whole_numbered_key_is_cut_into_ranges(site: Site, first: int) -> None:
    """No row in two spans and none in no span, also those added below and above meanwhile."""
    site.run("CREATE TABLE big (id bigint PRIMARY KEY, d date)")
    keys = [first + 3 * n for n in range(100)]
    for key in keys:
        site.run("INSERT INTO big VALUES (%s, '2024-01-01')", key)
    target = at("big", dates=("d",))
    with site.session() as connector:
        assert isinstance(connector, Divisible)
        assert connector.spans(target, 8, 200) == (None,)
        spans = connector.spans(target, 4, 20)
        assert len(spans) == 4
        for key in (first - 7, first + 1000):
            site.run("INSERT INTO big VALUES (%s, '2024-01-01')", key)
            keys.append(key)
        parts = [
            [int(r.ref.key) for r in found(connector, replace(target, span=span))] for span in spans
        ]
    assert all(len(part) > 20 for part in parts)
    assert sorted(key for part in parts for key in part) == sorted(keys)


def test_a_table_with_another_key_or_without_rows_is_not_cut(site: Site) -> None:
    """How such keys are spread cannot be told cheaply: one worker reads all of it."""
    site.run("CREATE TABLE named (id varchar(40) PRIMARY KEY, d date)")
    site.run("CREATE TABLE nothing (id bigint PRIMARY KEY, d date)")
    site.run("INSERT INTO named VALUES ('a', NULL), ('b', NULL), ('c', NULL)")
    with site.session() as connector:
        assert isinstance(connector, Divisible)
        assert connector.spans(at("named"), 4, 1) == (None,)
        assert connector.spans(at("nothing"), 4, 1) == (None,)
