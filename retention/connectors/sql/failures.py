"""What a driver's error means: worth another try, permanent, or refused credentials.

Only codes decide; a driver's text is looked at in one place, where PostgreSQL gives no code while
connecting, and never passed on.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from sqlalchemy.exc import (
    DBAPIError,
    NoSuchTableError,
    SQLAlchemyError,
    UnreflectableTableError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from retention.errors import (
    ConnectorError,
    CredentialsRefused,
    PermanentFailure,
    TemporaryFailure,
)

DRIVER_ERRORS = (SQLAlchemyError, sqlite3.Error, OSError)


class Constraint(PermanentFailure):
    """The database's own rules forbid it: rows elsewhere point here, a value must not be empty."""

    code = "constraint"


_PG_TEMPORARY = {"57014", "55P03", "40001", "40P01", "25P03", "25P02", "57P01", "57P02", "57P03"}
_PG_TEMPORARY_CLASSES = {"08", "53", "58", "XX"}
_PG_REFUSED = {"42501", "3D000"}
_PG_MISSING = {"42P01", "42703", "3F000"}
_PG_REFUSED_TEXTS = ("authentication failed", "no password supplied", "pg_hba.conf", 'role "')

_MY_TEMPORARY = {
    1040, 1053, 1158, 1159, 1160, 1161, 1203, 1205, 1213, 1226, 1317, 1637, 1927, 1969,
    2002, 2003, 2006, 2013, 2055, 3024, 4031, 1020,
}  # fmt: skip
_MY_REFUSED = {1044, 1045, 1142, 1143, 1227, 1370, 1396, 1410, 1698, 1290, 1820, 2059}
_MY_MISSING = {1049, 1054, 1146}
_MY_CONSTRAINT = {1048, 1062, 1216, 1217, 1264, 1364, 1366, 1406, 1451, 1452, 1761, 1762, 4025}

_LITE_TEMPORARY = {
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PROTOCOL,
}  # fmt: skip
_LITE_REFUSED = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}


def meaning(error: Exception, place: str) -> ConnectorError:
    """The error in our words. `place`: the location or system it happened at."""
    if isinstance(error, PoolTimeout | TimeoutError | ConnectionError):
        return _temporary(place, "timeout")
    if isinstance(error, NoSuchTableError | UnreflectableTableError):
        return _missing(place)
    original: Any = error.orig if isinstance(error, DBAPIError) else error
    driver = type(original).__module__.partition(".")[0]
    if driver == "psycopg":
        state = original.sqlstate
        return _postgresql(state, place) if state else _postgresql_connecting(original, place)
    if driver == "pymysql":
        return _mysql(original, place)
    if isinstance(original, sqlite3.Error):
        return _sqlite(original, place)
    return PermanentFailure(
        f"the database driver failed ({type(original).__name__})", place=place, code="driver"
    )


def _postgresql(state: str, place: str) -> ConnectorError:
    if state[:2] == "28" or state in _PG_REFUSED:
        return _refused(place, state)
    if state in _PG_TEMPORARY or state[:2] in _PG_TEMPORARY_CLASSES:
        return _temporary(place, state)
    if state in _PG_MISSING:
        return _missing(place)
    if state[:2] == "23":
        return _constraint(place, state)
    return _permanent(place, state)


def _postgresql_connecting(original: Any, place: str) -> ConnectorError:
    text = str(original)
    if any(words in text for words in _PG_REFUSED_TEXTS):
        return _refused(place, "connect")
    if "does not exist" in text:
        return _refused(place, "3D000")
    if type(original).__name__ in {"OperationalError", "InterfaceError", "ConnectionTimeout"}:
        return _temporary(place, "connection")
    return _permanent(place, type(original).__name__)


def _mysql(original: Any, place: str) -> ConnectorError:
    number = original.args[0] if original.args and isinstance(original.args[0], int) else 0
    if number in _MY_REFUSED:
        return _refused(place, str(number))
    # pymysql says 0 where the connection is already gone.
    if number in _MY_TEMPORARY or (
        number == 0 and type(original).__name__ in {"InterfaceError", "OperationalError"}
    ):
        return _temporary(place, str(number))
    if number in _MY_MISSING:
        return _missing(place)
    if number in _MY_CONSTRAINT:
        return _constraint(place, str(number))
    return _permanent(place, str(number))


def _sqlite(original: sqlite3.Error, place: str) -> ConnectorError:
    extended = getattr(original, "sqlite_errorcode", 0) or 0
    code = extended & 0xFF
    if code in _LITE_TEMPORARY:
        return _temporary(place, f"sqlite-{code}")
    if code in _LITE_REFUSED:
        return _refused(place, f"sqlite-{code}")
    if code == sqlite3.SQLITE_CONSTRAINT:
        return _constraint(place, f"sqlite-{extended}")
    if code == sqlite3.SQLITE_CANTOPEN:
        return PermanentFailure(
            "the database file cannot be opened",
            hint="check the path (relative ones start in the policy folder) and its rights",
            place=place,
            code="missing",
        )
    if code in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}:
        return PermanentFailure(
            "the file is no intact SQLite database",
            hint="check the path, and `PRAGMA integrity_check`",
            place=place,
            code="corrupt",
        )
    # SQLite says plain ERROR for a table that vanished since it was looked at, and for much else.
    return _missing(place) if code == sqlite3.SQLITE_ERROR else _permanent(place, f"sqlite-{code}")


def _temporary(place: str, code: str) -> TemporaryFailure:
    return TemporaryFailure(
        f"the database could not do it now (code {code})",
        hint="a lost connection, a lock or a time-out; it is tried again later",
        place=place,
    )


def _refused(place: str, code: str) -> CredentialsRefused:
    return CredentialsRefused(
        f"the database refuses these credentials, or they lack a right (code {code})",
        hint="check user, password and database name; needed are SELECT and DELETE "
        "(UPDATE to anonymise, INSERT to take in copies) on the tables that the location names",
        place=place,
    )


def _missing(place: str) -> PermanentFailure:
    return PermanentFailure(
        "a table or column of this location does not exist, or not any more",
        hint="run `retention doctor`, compare the location with the database",
        place=place,
        code="missing",
    )


def _constraint(place: str, code: str) -> Constraint:
    return Constraint(
        f"the database's own rules forbid it (code {code})",
        hint="rows of another table point here: list it under `children`; or the column does "
        "not take this value",
        place=place,
    )


def _permanent(place: str, code: str) -> PermanentFailure:
    return PermanentFailure(
        f"the database refuses the statement (code {code})",
        hint="run `retention doctor`",
        place=place,
    )
