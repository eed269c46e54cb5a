"""Rows of a database: SQLite, PostgreSQL, MariaDB.

Reading order: `settings` (what a policy file says), `layout` (what the database says of the
table), `find`, `act`, `look`; `session` and `failures` below them; `connector` puts them together.
"""

from __future__ import annotations

from typing import cast

from retention.connectors.base import Cap, Connector, Manifest, Opened
from retention.connectors.sql.connector import SqlConnector
from retention.connectors.sql.settings import SqlLocation, SqlSystem

manifest = Manifest(
    kind="sql",
    title="Rows of a database (SQLite, PostgreSQL, MariaDB)",
    capabilities=(
        Cap.DELETE
        | Cap.MASK
        | Cap.READ
        | Cap.CONDITIONAL
        | Cap.PUSH_DOWN
        | Cap.CHILDREN
        | Cap.RECEIVE
        | Cap.SHARDS
    ),
    system_settings=SqlSystem,
    location_settings=SqlLocation,
    max_batch=2000,
    notes=(
        "Backups, lagging replicas, write-ahead and binary logs are outside what SQL can see.",
        "So is table space that the server has freed but not yet used again.",
        "Rows of other tables go with a row only where `children` or a foreign key says so.",
        "WordPress: mail that a form also sent, backups, object caches are no entries, and stay.",
    ),
    patterned=lambda _: False,
)


def connect(opened: Opened) -> Connector:
    """A new session with a database. Raises UsageError for a URL that makes no sense."""
    return SqlConnector(manifest, opened, cast(SqlSystem, opened.settings))
