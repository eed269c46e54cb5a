"""The places where this world's records lie, reached on connections of our own."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Protocol

import psycopg

from tests.chaos.truth import Place
from tests.servers.mailbox import Mailbox, message

Row = tuple[str, str, datetime]
"""(subject, sort, date) of a record to be put into a store."""

FORM, SURVEY, ORDERS, MAIL = (
    "enquiries/form",
    "surveys/answers",
    "customers/orders",
    "correspondence/mail",
)


class Store(Protocol):
    """`counts`: the store itself counts deletions."""

    location: str
    system: str
    counts: bool

    def put(self, rows: Iterable[Row]) -> list[str]:
        """New records; their native keys, in order."""
        ...

    def left(self) -> set[str]: ...

    def deletions(self) -> Counter[str]: ...

    def deleted(self) -> int: ...


_POSTGRES = """
CREATE TABLE contact_form (id bigint PRIMARY KEY, at timestamptz, email text, sort text);
CREATE TABLE answers (id bigint PRIMARY KEY, at timestamptz, email text, sort text);
CREATE TABLE deletions (place text, key bigint);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN INSERT INTO deletions VALUES (TG_TABLE_NAME, OLD.id); RETURN OLD; END $$;
CREATE TRIGGER note AFTER DELETE ON contact_form FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER note AFTER DELETE ON answers FOR EACH ROW EXECUTE FUNCTION note();
"""


class PostgresTable:
    """A table with a trigger that writes down each deletion."""

    counts = True
    system = "website"

    def __init__(self, url: str, location: str, table: str) -> None:
        self._url = url.replace("+psycopg", "")
        self.location = location
        self._table = table
        self._next = 0

    @staticmethod
    def create(url: str) -> None:
        with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute(_POSTGRES)

    def put(self, rows: Iterable[Row]) -> list[str]:
        keyed = [(self._next + n, at, who, sort) for n, (who, sort, at) in enumerate(rows)]
        self._next += len(keyed)
        with self._connect() as connection, connection.cursor() as cursor:
            cursor.executemany(f"INSERT INTO {self._table} VALUES (%s, %s, %s, %s)", keyed)
        return [str(key) for key, *_ in keyed]

    def restore(self, key: str) -> None:
        """Put a row back as a careless vendor would."""
        with self._connect() as connection:
            connection.execute(f"INSERT INTO {self._table} (id) VALUES (%s)", [key])

    def left(self) -> set[str]:
        with self._connect() as connection:
            return {str(k) for (k,) in connection.execute(f"SELECT id FROM {self._table}")}

    def deletions(self) -> Counter[str]:
        asked = "SELECT key FROM deletions WHERE place = %s"
        with self._connect() as connection:
            return Counter(str(k) for (k,) in connection.execute(asked, [self._table]))

    def deleted(self) -> int:
        asked = "SELECT count(*) FROM deletions WHERE place = %s"
        with self._connect() as connection:
            row = connection.execute(asked, [self._table]).fetchone()
        return int(row[0]) if row else 0

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(self._url)


_SQLITE = """
CREATE TABLE orders (id INTEGER PRIMARY KEY, at TEXT, email TEXT, sort TEXT);
CREATE TABLE deletions (key INTEGER);
CREATE TRIGGER note AFTER DELETE ON orders BEGIN INSERT INTO deletions VALUES (OLD.id); END;
"""


class SqliteTable:
    """The same in a file."""

    counts = True
    location = ORDERS
    system = "accounts"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._next = 0
        with closing(self._connect()) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.executescript(_SQLITE)

    def put(self, rows: Iterable[Row]) -> list[str]:
        keyed = [(self._next + n, at.date(), who, sort) for n, (who, sort, at) in enumerate(rows)]
        self._next += len(keyed)
        with closing(self._connect()) as connection, connection:
            connection.executemany(
                "INSERT INTO orders VALUES (?, ?, ?, ?)",
                [(key, day.isoformat(), who, sort) for key, day, who, sort in keyed],
            )
        return [str(key) for key, *_ in keyed]

    def left(self) -> set[str]:
        return {str(k) for (k,) in self._ask("SELECT id FROM orders")}

    def deletions(self) -> Counter[str]:
        return Counter(str(k) for (k,) in self._ask("SELECT key FROM deletions"))

    def deleted(self) -> int:
        return len(self._ask("SELECT key FROM deletions"))

    def _ask(self, question: str) -> list[tuple[int]]:
        with closing(self._connect()) as connection:
            return connection.execute(question).fetchall()

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=30)


class Mail:
    """Two folders of a mailbox. Keys are those of the connector: folder, UIDVALIDITY and UID."""

    counts = False
    location = MAIL
    system = "mail"

    def __init__(self, box: Mailbox) -> None:
        self.box = box
        self._folders = ("INBOX", "Sent")
        self._known: set[str] = set()
        with box.client() as client:
            client.create_folder("Sent")

    def put(self, rows: Iterable[Row]) -> list[str]:
        out = []
        with self.box.client() as client:
            state = {f: client.folder_status(f, ["UIDNEXT", "UIDVALIDITY"]) for f in self._folders}
            upcoming = {f: s[b"UIDNEXT"] for f, s in state.items()}
            for n, (who, sort, at) in enumerate(rows):
                folder = self._folders[n % 3 == 2]
                client.append(folder, message(sender=who, subject=sort), (), at)
                # Only we append here, so the numbers follow each other.
                out.append(f"{folder}/{state[folder][b'UIDVALIDITY']}/{upcoming[folder]}")
                upcoming[folder] += 1
        self._known.update(out)
        return out

    def left(self) -> set[str]:
        out: set[str] = set()
        with self.box.client() as client:
            for folder in self._folders:
                state = client.select_folder(folder, readonly=True)
                where = f"{folder}/{state[b'UIDVALIDITY']}"
                out.update(f"{where}/{uid}" for uid in client.search(["ALL"]))
        return out

    def deletions(self) -> Counter[str]:
        return Counter()

    def deleted(self) -> int:
        return len(self._known - self.left())


def places(store: Store, keys: Iterable[str]) -> set[Place]:
    """Keys of one store as places in the world."""
    return {(store.location, key) for key in keys}
