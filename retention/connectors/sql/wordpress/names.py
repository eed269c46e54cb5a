"""Refusals: a field that no form has, a file that lies elsewhere.

A mistyped field would read as empty everywhere: a person's hold or objection would then find
none of their entries.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any

from sqlalchemy import ColumnElement, Select, literal, or_, select
from sqlalchemy.exc import DBAPIError

from retention.connectors.base import Target
from retention.connectors.sql import php
from retention.connectors.sql.session import fetch
from retention.connectors.sql.wordpress.entries import Entries, Entry, packed
from retention.connectors.sql.wordpress.files import Elsewhere, Files, is_safe
from retention.connectors.sql.wordpress.stores import Packing
from retention.errors import PermanentFailure

_SAMPLE = 50
_FIELD = "field:"


def refuse_unknown(entries: Entries, target: Target) -> None:
    """Raise PermanentFailure for a name that is no column, no field of an entry or of a form."""
    conditions = [condition.source for condition in target.where]
    for source in dict.fromkeys((*target.dates, *target.fields, *conditions)):
        store = entries.store
        known = source in store.dates or source in store.names
        if known or source in entries.layout.types:
            continue
        name = source.removeprefix(_FIELD)
        if not (_in_entries(entries, name) or _in_forms(entries, name) or _none_at_all(entries)):
            raise PermanentFailure(
                f"no entry and no form has a field `{name}`",
                hint=_hint(entries, name),
                place=target.name,
                code="missing",
            )


def refuse_unsafe(files: Files, entry: Entry, place: str) -> tuple[str, ...]:
    """The entry's files. Raises PermanentFailure where one of them cannot be told or is unsafe."""
    try:
        named = files.named(entry)
    except (php.Unreadable, Elsewhere):
        named = ("..",)
    if files.root is not None and all(is_safe(files.root, path) for path in named):
        return named
    raise PermanentFailure(
        "an entry names a file outside the folder of uploaded files, or one that cannot be told",
        hint="look at the entry; it is neither exported nor deleted like this",
        place=place,
        code="upload-unsafe",
    )


def _there(entries: Entries, statement: Select[Any]) -> bool:
    return bool(fetch(entries.site.session.reading(), statement.limit(1)))


def _none_at_all(entries: Entries) -> bool:
    one = select(literal(1)).select_from(entries.layout.table).where(*entries.ours())
    return not _there(entries, one)


def _in_entries(entries: Entries, name: str) -> bool:
    store, one = entries.store, select(literal(1))
    if store.packed is not None and store.packed[1] is Packing.PHP:
        column = entries.layout.column(store.packed[0])
        held = column.contains(php.dumps(name), autoescape=True)
        return _there(entries, one.select_from(entries.layout.table).where(held))
    if store.joined is None:
        return False
    known = entries.site.table(store.joined.table).table
    called = [name, entries.joined_name(name)]
    return _there(entries, one.select_from(known).where(known.c[store.joined.name].in_(called)))


def _in_forms(entries: Entries, name: str) -> bool:
    """Whether a form that people can fill in has such a field; False where that cannot be read."""
    said = entries.store.definitions
    if said is None or not entries.site.has(said[0]):
        return False
    known = entries.site.table(said[0]).table
    column = known.c[said[1]]
    if said[0] == "postmeta":
        tags = [column.contains(f" {name}{end}", autoescape=True) for end in (" ", "]")]
        held: ColumnElement[bool] = (known.c["meta_key"] == "_form") & or_(*tags)
    else:
        number = name.partition(".")[0]
        forms = [f'"id":{number},', f'"id":"{number}"', f'"id":{number}' + "}"]
        held = or_(*(column.contains(form, autoescape=True) for form in forms))
    if said[0] == "posts":
        held &= known.c["post_type"] == "wpforms"
    try:
        return _there(entries, select(literal(1)).select_from(known).where(held))
    except DBAPIError:
        # No right to look there: then nothing is known of the forms.
        return False


def _hint(entries: Entries, name: str) -> str:
    known = sorted(set(_names(entries)))
    near = difflib.get_close_matches(name, known, n=5, cutoff=0.5) or known[:10]
    return f"there are {', '.join(f'`{n}`' for n in near)}" if near else "there are none"


def _names(entries: Entries) -> Iterator[str]:
    """Names of fields in some entries."""
    statement = select(*entries.columns).where(*entries.ours())
    statement = statement.order_by(entries.layout.key_column.desc()).limit(_SAMPLE)
    connection = entries.site.session.reading()
    store = entries.store
    head = store.joined.form.partition("{}")[0] if store.joined is not None else ""
    for entry in entries.whole(connection, fetch(connection, statement)).values():
        yield from (n.removeprefix(head) for n, _ in entry.joined if n.startswith(head))
        if store.packed is not None and store.packed[1] is Packing.PHP:
            try:
                yield from map(str, packed(store, entry))
            except php.Unreadable:
                continue
