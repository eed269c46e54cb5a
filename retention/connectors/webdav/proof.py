"""Looking again: at the file's place, in the bin, at old versions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from retention.connectors.base import Level, Proof, Ref
from retention.connectors.webdav.bin import Bin
from retention.connectors.webdav.properties import DAV, look
from retention.connectors.webdav.reading import split_trace
from retention.connectors.webdav.session import Session
from retention.connectors.webdav.tree import Tree
from retention.errors import ConnectorError, PermanentFailure

_NAMES = (f"{DAV}resourcetype",)


def prove(
    session: Session,
    tree: Tree,
    bin_: Bin,
    refs: Sequence[Ref],
    control: Ref | None,
    check_roots: Callable[[], None],
) -> Iterator[Proof]:
    """One proof per ref. Raises ConnectorErrors, which prove nothing."""
    if control is not None and look(session, tree, control.key, _NAMES, "control read") is None:
        yield from (Proof(ref.key, Level.UNKNOWN, "control read failed") for ref in refs)
        return
    try:
        check_roots()
    except PermanentFailure:
        yield from (Proof(ref.key, Level.UNKNOWN, "folder not readable") for ref in refs)
        return
    gone: list[Ref] = []
    for ref in refs:
        if look(session, tree, ref.key, _NAMES, "verifying") is not None:
            yield Proof(ref.key, Level.PRESENT, "propfind")
        else:
            gone.append(ref)
    if gone:
        yield from _elsewhere(bin_, gone)


def _elsewhere(bin_: Bin, gone: Sequence[Ref]) -> Iterator[Proof]:
    try:
        there = bin_.there
        items = bin_.find({ref.key: split_trace(ref.trace)[1] for ref in gone})
    except ConnectorError as error:
        if not error.permanent:
            raise
        yield from (Proof(ref.key, Level.UNKNOWN, "bin not readable") for ref in gone)
        return
    looked = "propfind + bin" if there else "propfind, no bin on this server"
    for ref in gone:
        shared, number = split_trace(ref.trace)
        if items.get(ref.key):
            yield Proof(ref.key, Level.BIN, "still in the bin")
        elif bin_.old_versions(number):
            yield Proof(ref.key, Level.VENDOR, "old versions are kept")
        elif shared:
            yield Proof(ref.key, Level.VENDOR, "the owner's bin is out of sight")
        else:
            yield Proof(ref.key, Level.GONE, looked)
