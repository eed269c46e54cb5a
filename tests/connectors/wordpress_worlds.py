"""WordPress's stores as the contract suite sees them: written and read by SQL alone."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, ClassVar, cast

import pymysql
from pydantic import SecretStr

from retention.connectors import sql
from retention.connectors.base import Bound, Condition, Connector, Opened, Target
from retention.connectors.sql import php
from retention.connectors.sql.connector import SqlConnector
from retention.connectors.sql.settings import SqlLocation, SqlSystem
from retention.testing.world import Plan, World
from tests.servers.process import HOST
from tests.servers.wordpress import WordPress

ZERO = "0000-00-00 00:00:00"
POST = {
    "post_content": "", "post_excerpt": "", "to_ping": "", "pinged": "",
    "post_content_filtered": "",
}  # fmt: skip


class StoreWorld(World):
    """One store of a real WordPress database, reached by an account with few rights."""

    status = "your-status"
    email = "your-email"
    store: ClassVar[str]
    table: ClassVar[str]
    key: ClassVar[str]
    tables: ClassVar[tuple[str, ...]]

    def __init__(self, site: WordPress) -> None:
        self.site = site
        self.timeout = 20.0
        self._lost = False
        self._open: list[Connector] = []
        self.url = site.guest("SELECT, DELETE, UPDATE", *self.tables)
        self.guest, _, rest = self.url.partition("://")[2].partition(":")
        self.secrets = (rest.partition("@")[0],)  # type: ignore[misc]  # one per world

    def open(self) -> Connector:
        settings = SqlSystem(
            url=SecretStr(self.url), statement_timeout=self.timeout, page=self.page
        )
        connector = sql.connect(Opened("site", settings, "."))
        if self._lost:
            dialect: Any = cast(SqlConnector, connector)._session.engine.dialect
            commit = dialect.do_commit

            def committed_but(raw: Any) -> None:
                commit(raw)
                raise pymysql.err.OperationalError(2013, "Lost at canary.person@example.org")

            dialect.do_commit = committed_but
        self._open.append(connector)
        return connector

    def target(
        self, *, where: tuple[Condition, ...] = (), bounds: tuple[Bound, ...] = ()
    ) -> Target:
        said = {
            "store": self.store,
            "timezone": "UTC",
            "uploads": str(self.site.uploads),
        }
        settings = SqlLocation.model_validate(said)
        return Target("c/form", settings, ("received",), (self.status, self.email), where, bounds)

    def missing(self) -> Target:
        said = {"store": self.store, "prefix": "wq_"}
        return Target("c/none", SqlLocation.model_validate(said))

    @abstractmethod
    def put_one(self, plan: Plan) -> int:
        """Write one entry; its key."""

    def put(self, plans: Sequence[Plan]) -> list[str]:
        return [str(self.put_one(plan)) for plan in plans]

    def insert(self, table: str, **values: Any) -> int:
        """One row; its number."""
        names = ", ".join(f"`{name}`" for name in values)
        marks = ", ".join(["%s"] * len(values))
        with self.site.connection.cursor() as cursor:
            cursor.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", [*values.values()])
            return int(cursor.lastrowid)

    def change(self, key: str) -> None:
        self.set_status(key, "changed")

    @abstractmethod
    def set_status(self, key: str, status: str) -> None:
        """Alter a field of the form."""

    # --- trouble ---

    def _rights(self, verb: str, preposition: str) -> None:
        for table in self.tables:
            self.site.server._execute(
                f"{verb} SELECT, DELETE, UPDATE ON {self.site.database}.{table}"
                f" {preposition} {self.guest}@'{HOST}'"
            )

    @contextmanager
    def denied(self) -> Iterator[None]:
        self._rights("REVOKE", "FROM")
        yield
        self._rights("GRANT", "TO")

    @contextmanager
    def temporary(self) -> Iterator[None]:
        self.timeout = 0.3
        self.site.sql("BEGIN")
        self.site.sql(f"SELECT * FROM {self.table} FOR UPDATE")
        yield
        self.site.sql("ROLLBACK")
        self.timeout = 20.0

    @contextmanager
    def permanent(self) -> Iterator[None]:
        self.site.sql(f"RENAME TABLE {self.table} TO away")
        yield
        self.site.sql(f"RENAME TABLE away TO {self.table}")

    @contextmanager
    def answer_lost(self) -> Iterator[None]:
        self._lost = True
        yield
        self._lost = False

    def close(self) -> None:
        for connector in self._open:
            connector.close()


class FlamingoWorld(StoreWorld):
    """Messages as posts with postmeta."""

    store = "flamingo"
    table = "wp_posts"
    key = "ID"
    tables = ("wp_posts", "wp_postmeta", "wp_term_relationships", "wp_term_taxonomy",
              "wp_comments", "wp_commentmeta")  # fmt: skip

    def put_one(self, plan: Plan) -> int:
        when = plan.received.strftime("%Y-%m-%d %H:%M:%S") if plan.received else ZERO
        post = self.insert(
            "wp_posts",
            post_type="flamingo_inbound",
            post_status="publish",
            post_title=plan.name,
            post_date=when,
            post_date_gmt=when,
            **POST,
        )
        meta = {
            "_subject": plan.name,
            "_from_email": plan.email,
            "_field_your-status": plan.status,
            "_field_your-email": plan.email,
            "_fields": php.dumps({"your-status": None, "your-email": None}),
            "_meta": php.dumps({"remote_ip": "192.0.2.1"}),
        }
        for name, value in meta.items():
            self.insert("wp_postmeta", post_id=post, meta_key=name, meta_value=value)
        return post

    def raw(self) -> Mapping[str, bytes]:
        rows = self.site.sql("SELECT * FROM wp_posts WHERE post_type = 'flamingo_inbound'")
        meta = self.site.sql("SELECT * FROM wp_postmeta ORDER BY meta_id")
        return {
            str(row[0]): repr((row, [m for m in meta if m[1] == row[0]])).encode() for row in rows
        }

    def set_status(self, key: str, status: str) -> None:
        self.site.sql(
            "UPDATE wp_postmeta SET meta_value = %s"
            " WHERE post_id = %s AND meta_key = '_field_your-status'",
            status,
            key,
        )

    def remove(self, key: str) -> None:
        self.site.sql("DELETE FROM wp_postmeta WHERE post_id = %s", key)
        self.site.sql("DELETE FROM wp_posts WHERE ID = %s", key)


class Cfdb7World(StoreWorld):
    """Rows of which one column holds the whole form."""

    store = "cfdb7"
    table = "wp_db7_forms"
    key = "form_id"
    tables = ("wp_db7_forms",)

    def put_one(self, plan: Plan) -> int:
        return self.insert(
            "wp_db7_forms",
            form_post_id=7,
            form_date=plan.received.strftime("%Y-%m-%d %H:%M:%S") if plan.received else ZERO,
            form_value=self.value(plan.name, plan.status, plan.email),
        )

    def value(self, name: str, status: str, email: str) -> str:
        """A form as the plugin writes it."""
        fields = {
            "cfdb7_status": "unread", "your-name": name, "your-status": status,
            "your-email": email,
        }  # fmt: skip
        return php.dumps({k: escaped(v) for k, v in fields.items()})

    def raw(self) -> Mapping[str, bytes]:
        rows = self.site.sql("SELECT * FROM wp_db7_forms")
        return {str(row[0]): repr(row).encode() for row in rows}

    def set_status(self, key: str, status: str) -> None:
        self.site.sql(
            "UPDATE wp_db7_forms SET form_value = %s WHERE form_id = %s",
            self.value("x", status, "someone@example.org"),
            key,
        )

    def remove(self, key: str) -> None:
        self.site.sql("DELETE FROM wp_db7_forms WHERE form_id = %s", key)


def escaped(text: str) -> str:
    """Quotes and slashes as the plugin stores them."""
    for sign, entity in (("'", "&#039;"), ("/", "&#047;"), ("\\", "&#092;"), ('"', "&quot;")):
        text = text.replace(sign, entity)
    return text


def at(received: datetime) -> str:
    """An instant as MariaDB takes it."""
    return received.strftime("%Y-%m-%d %H:%M:%S")
