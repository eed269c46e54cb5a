"""Looking again: is the row gone, are its children and its file gone?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from retention.connectors.base import Level, Proof, Ref, Scalar
from retention.connectors.sql.act import masked_already
from retention.connectors.sql.children import Branch
from retention.connectors.sql.rows import Reading
from retention.connectors.sql.session import Session
from retention.connectors.sql.uploads import Root, UnsafePath


class Look:
    """Looks for the rows of one target, each time at what is committed now."""

    def __init__(
        self,
        session: Session,
        reading: Reading,
        branches: Sequence[Branch],
        root: Root | None,
    ) -> None:
        self._session = session
        self._reading = reading
        self._layout = reading.layout
        self._branches = branches
        self._root = root
        parts = ["select by key"]
        parts += ["children"] if branches else []
        parts += ["files"] if root else []
        self.how = " + ".join(parts)

    def proofs(
        self, refs: Sequence[Ref], control: Ref | None, masked: Mapping[str, Scalar] | None
    ) -> Iterator[Proof]:
        """One proof per ref; all unknown where the control cannot be read."""
        pairs = [(self._key(ref), ref) for ref in refs]
        keyed = {key: ref for key, ref in pairs if key is not None}
        known = None if control is None else self._key(control)
        ask = list(keyed) + ([known] if known is not None and known not in keyed else [])
        present = self._session.told(self._layout.place, lambda: self._present(ask))
        trusted = control is None or known in present
        if masked is not None:
            present -= self._session.told(
                self._layout.place, lambda: self._masked(list(keyed), masked)
            )
        elif trusted:
            absent = [key for key in keyed if key not in present]
            present |= self._session.told(self._layout.place, lambda: self._residue(absent, keyed))
        for key, ref in pairs:
            if not trusted or key is None:
                yield Proof(ref.key, Level.UNKNOWN, self.how)
            else:
                level = Level.PRESENT if key in present else Level.GONE
                yield Proof(ref.key, level, self.how)

    def _key(self, ref: Ref) -> Any:
        try:
            return self._layout.to_key(ref.key)
        except ValueError:
            return None

    def _present(self, keys: list[Any]) -> set[Any]:
        return {row[0] for row in self._reading.present.fetch(self._session.reading(), keys)}

    def _masked(self, keys: list[Any], values: Mapping[str, Scalar]) -> set[Any]:
        return masked_already(self._session.reading(), self._reading, keys, values)

    def _residue(self, absent: list[Any], keyed: Mapping[Any, Ref]) -> set[Any]:
        """Records whose row is gone, but not their children or their file."""
        found: set[Any] = set()
        if absent:
            for branch in self._branches:
                found |= branch.left(self._session.reading(), absent)
        if self._root is not None:
            self._root.check()
            found |= {key for key in absent if self._file_left(keyed[key].trace)}
        return found

    def _file_left(self, path: str) -> bool:
        if not path or self._root is None:
            return False
        try:
            return self._root.exists(path)
        except UnsafePath:
            return True
