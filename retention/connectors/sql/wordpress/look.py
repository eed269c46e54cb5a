"""Looking again: is the entry gone, with its parts, attachments and files?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from retention.connectors.base import Level, Proof, Ref, Scalar
from retention.connectors.sql.session import Session
from retention.connectors.sql.uploads import UnsafePath
from retention.connectors.sql.wordpress.act import shows
from retention.connectors.sql.wordpress.entries import Entries
from retention.connectors.sql.wordpress.files import Files, Trace
from retention.connectors.sql.wordpress.parts import Parts


class EntryLook:
    """Looks for the entries of one store, each time at what is committed now."""

    def __init__(self, session: Session, entries: Entries, files: Files, parts: Parts) -> None:
        self._session = session
        self._entries = entries
        self._layout = entries.layout
        self._files = files
        self._parts = parts
        told = ["select by key"]
        told += ["rows elsewhere"] if parts.names else []
        told += ["files"] if files.root is not None else []
        self.how = " + ".join(told)

    def proofs(
        self, refs: Sequence[Ref], control: Ref | None, masked: Mapping[str, Scalar] | None
    ) -> Iterator[Proof]:
        """One proof per ref; all unknown where the control cannot be read."""
        keyed = {key: ref for ref in refs if (key := self._key(ref)) is not None}
        known = None if control is None else self._key(control)
        ask = [*keyed, *([known] if known is not None and known not in keyed else [])]
        entries = self._told(partial(self._read, ask))
        trusted = control is None or known in entries
        left: set[Any] = set(entries)
        if masked is not None:
            left -= {k for k, entry in entries.items() if shows(self._entries, entry, masked)}
        elif trusted:
            absent = {key: Trace.of(ref.trace) for key, ref in keyed.items() if key not in entries}
            left |= self._told(partial(self._residue, absent))
        for ref in refs:
            key = self._key(ref)
            level = Level.PRESENT if key in left else Level.GONE
            yield Proof(ref.key, level if trusted and key is not None else Level.UNKNOWN, self.how)

    def _told(self, ask: Any) -> Any:
        return self._session.told(self._layout.place, ask)

    def _key(self, ref: Ref) -> Any:
        try:
            return self._layout.to_key(ref.key)
        except ValueError:
            return None

    def _read(self, keys: Sequence[Any]) -> Mapping[Any, Any]:
        return self._entries.read(self._session.reading(), keys)

    def _residue(self, absent: Mapping[Any, Trace]) -> set[Any]:
        """Entries that are gone, but not all that belonged to them."""
        if not absent:
            return set()
        connection = self._session.reading()
        owner = {post: key for key, trace in absent.items() for post in trace.posts}
        found: set[Any] = self._parts.left(connection, [*absent, *owner])
        if self._entries.store.post_type is not None:
            found |= set(self._entries.read(connection, list(owner)))
            found |= {row[1] for row in self._entries.children_of(connection, list(absent))}
        found = {owner.get(key, key) for key in found}
        return found | self._with_files(absent)

    def _with_files(self, absent: Mapping[Any, Trace]) -> set[Any]:
        """Those of which a file is left that nobody else names."""
        root, connection = self._files.root, self._session.reading()
        if root is None:
            return set()
        root.check()
        found: set[Any] = set()
        for key, trace in absent.items():
            try:
                there = set(self._files.there(trace.files))
            except UnsafePath:
                found.add(key)
                continue
            if there and there - self._files.claimed(connection, there, (key, *trace.posts)):
                found.add(key)
        return found
