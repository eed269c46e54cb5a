"""Rows of other tables that belong to an entry: deleted before it, looked for after it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.engine import Connection
from sqlalchemy.sql import TableClause

from retention.connectors.sql.layout import fitting_keys
from retention.connectors.sql.session import fetch
from retention.connectors.sql.wordpress.entries import Entries, in_batches


class _Rows(NamedTuple):
    table: TableClause
    parent: ColumnElement[Any]
    belongs: ColumnElement[bool]


class Parts:
    """The other tables of one store."""

    def __init__(self, entries: Entries) -> None:
        self._entries = entries
        self._site = entries.site
        self._store = entries.store
        # All of them must be there: a table that is hidden for want of rights looks like none.
        self.names = [part.table for part in self._store.parts]
        if self._store.post_type is not None:
            self.names += ["commentmeta", "comments", "postmeta", "term_relationships"]
        for name in (*self.names, *(("term_taxonomy",) if self._store.post_type else ())):
            # Ask for every table now, so that a missing one is told before any act.
            self._site.table(name)

    def erase(self, connection: Connection, keys: Sequence[Any], offspring: Sequence[Any]) -> None:
        """Delete what belongs to these entries; then their attachments and revisions."""
        for some in in_batches([*keys, *offspring]):
            for rows in self._rows(some):
                connection.execute(delete(rows.table).where(rows.belongs))
        posts = self._entries.layout.table
        for some in in_batches(offspring):
            connection.execute(delete(posts).where(posts.c["ID"].in_(some)))

    def left(self, connection: Connection, keys: Sequence[Any]) -> set[Any]:
        """Which of these entries or posts still have rows elsewhere."""
        found: set[Any] = set()
        for some in in_batches(keys):
            for rows in self._rows(some):
                if rows.table.name.endswith("commentmeta"):
                    continue
                said = fetch(connection, select(rows.parent).where(rows.belongs).distinct())
                found |= {row[0] for row in said}
        return found & set(keys)

    def contents(
        self, connection: Connection, keys: Sequence[Any]
    ) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        """Table → its rows."""
        for rows in self._rows(keys):
            names = [c.name for c in rows.table.c]
            columns = [c.label(f"c{n}") for n, c in enumerate(rows.table.c)]
            found = fetch(connection, select(*columns).where(rows.belongs))
            yield str(rows.table.name), [dict(zip(names, row, strict=True)) for row in found]

    def _rows(self, keys: Sequence[Any]) -> Iterator[_Rows]:
        for part in self._store.parts:
            known = self._site.table(part.table)
            parent = known.table.c[part.parent]
            fitting = fitting_keys(keys, known.types[part.parent])
            yield _Rows(known.table, parent, parent.in_(fitting))
        if self._store.post_type is not None:
            yield from self._of_posts(keys)

    def _of_posts(self, keys: Sequence[Any]) -> Iterator[_Rows]:
        comments = self._site.table("comments").table
        on_posts = comments.c["comment_post_ID"].in_(list(keys))
        meta = self._site.table("commentmeta").table
        written = select(comments.c["comment_ID"]).where(on_posts)
        yield _Rows(meta, meta.c["comment_id"], meta.c["comment_id"].in_(written))
        yield _Rows(comments, comments.c["comment_post_ID"], on_posts)
        notes = self._site.table("postmeta").table
        yield _Rows(notes, notes.c["post_id"], notes.c["post_id"].in_(list(keys)))
        links = self._site.table("term_relationships").table
        terms = self._site.table("term_taxonomy").table
        # Objects of other kinds (links of the old blogroll) use the same numbers.
        ours = select(terms.c["term_taxonomy_id"]).where(
            terms.c["taxonomy"].in_(self._store.taxonomies)
        )
        here = links.c["object_id"]
        yield _Rows(links, here, here.in_(list(keys)) & links.c["term_taxonomy_id"].in_(ours))
