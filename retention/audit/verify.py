"""Verifying a log: an exported folder with nothing but its files, or the one in the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retention.audit.checkpoint import Note, NoteError, VerifierKey, encode
from retention.audit.entries import MAX_LINE
from retention.audit.integrity import examine, own_note
from retention.audit.trail import LineCheck, Problems, Target, Trail
from retention.audit.tree import EMPTY_ROOT, Frontier

if TYPE_CHECKING:
    from retention.audit.log import AuditLog

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Report:
    """What verification found. `size` and `root` are those computed from the entries."""

    ok: bool
    size: int
    root: str
    problems: list[str]

    def as_json(self) -> dict[str, Any]:
        """The shape of `audit verify --json`."""
        return {"ok": self.ok, "size": self.size, "root": self.root, "problems": self.problems}


@dataclass
class _View:
    """One log as its files or rows show it."""

    name: str = ""
    size: int = 0
    root: bytes = EMPTY_ROOT
    vkeys: tuple[VerifierKey, ...] = ()
    signed: dict[int, frozenset[VerifierKey]] = field(default_factory=dict)
    sealed: int | None = None
    first: dict[str, Any] | None = None
    closing: dict[str, Any] | None = None
    dropped: list[tuple[Any, ...]] = field(default_factory=list)
    gone: bool = False


def verify_folder(folder: Path, against: Path | None = None, vkey: Path | None = None) -> Report:
    """Verify an export. Needs no ledger and no secret.

    `against`: a checkpoint kept elsewhere, older or newer; the log must be consistent with it.
    `vkey`: verifier keys got elsewhere; without it the folder's own `log.vkey` is believed, which
    shows damage but not a log that somebody else made and signed.
    """
    problems = Problems()
    kept = _kept_note(against, problems)
    years = sorted(path for path in (folder / "logs").glob("*") if path.is_dir())
    views = [
        *(_verify_one(path, f"logs/{path.name}/", kept, problems) for path in years),
        _verify_one(folder, "", kept, problems),
    ]
    trusted = _trusted_keys(vkey, problems)
    if kept is not None:
        trusted |= _signers_of(kept, views, trusted, problems)
    _check_years(views, problems)
    if vkey is not None or against is not None:
        _check_trust(views, trusted, problems)
    return _report(views[-1], problems)


def verify_ledger(log: AuditLog, against: Path | None = None) -> Report:
    """Verify every entry of every log in the ledger, as `verify_folder` does for an export."""
    problems = Problems()
    kept = _kept_note(against, problems)
    views = []
    for log_head in log.logs():
        name = log_head.log
        more = () if log_head.dropped else _targets(kept, name)
        seen = examine(log.ledger, name, problems, full=True, more=more)
        head, check = seen.head, seen.check
        view = _View(head.log, head.size, head.frontier.root(), head.vkeys, gone=head.dropped)
        view.first, view.closing, view.dropped = check.first, check.closing, check.dropped
        views.append(view)
    if kept is not None:
        _signers_of(kept, views, set(), problems)
    _check_years(views, problems)
    return _report(views[-1] if views else _View(), problems)


def _report(view: _View, problems: Problems) -> Report:
    return Report(not problems, view.size, encode(view.root), problems.sentences())


# --- one folder -------------------------------------------------------------------------------


def _verify_one(folder: Path, at: str, kept: Note | None, problems: Problems) -> _View:
    view = _View()
    view.vkeys = tuple(_read_vkeys(folder / "log.vkey", f"{at}log.vkey", problems))
    newest = _read(folder / "checkpoint", f"{at}checkpoint", problems)
    if not view.vkeys or newest is None:
        return view
    view.name = view.vkeys[0].name
    if any(key.name != view.name for key in view.vkeys):
        problems.add(f"{at}log.vkey", "keys of more than one log")
    targets = list(_read_notes(folder, at, view, newest, problems))
    entries = folder / "entries.jsonl"
    if not entries.exists() and at and view.sealed is not None:
        # A log whose own period is over: its last checkpoint is all that is kept of it.
        view.gone = True
        view.size = view.sealed
        view.root = next((t.root for t in targets if t.size == view.size), EMPTY_ROOT)
        return view
    trail = Trail([*targets, *_targets(kept, view.name)], Frontier(), problems)
    check = LineCheck(view.name, lambda count: f"{at}entries.jsonl:{count + 1}", problems)
    try:
        for lines in _lines(entries, f"{at}entries.jsonl", problems):
            check.feed(lines)
            trail.feed(lines)
    except OSError as error:
        problems.add(f"{at}entries.jsonl", f"cannot be read ({type(error).__name__})")
    trail.finish()
    view.size, view.root = trail.frontier.size, trail.frontier.root()
    view.first, view.closing, view.dropped = check.first, check.closing, check.dropped
    if view.sealed is not None and view.size > view.sealed:
        problems.add(
            f"{at}entries.jsonl:{view.sealed + 1}", "this entry and what follows is not signed"
        )
    return view


def _read_notes(
    folder: Path, at: str, view: _View, newest: bytes, problems: Problems
) -> Iterator[Target]:
    """The root that each note signs; a problem for each note that is not what it should be."""
    named = [(folder / "checkpoint", f"{at}checkpoint", newest)]
    for path in sorted((folder / "checkpoints").glob("*")):
        data = _read(path, f"{at}checkpoints/{path.name}", problems)
        if data is not None:
            named.append((path, f"{at}checkpoints/{path.name}", data))
    if not any(data == newest for _, _, data in named[1:]):
        problems.add(f"{at}checkpoint", "is not one of checkpoints/")
    for path, place, data in named:
        try:
            note, signers = own_note(data, view.name, view.vkeys)
        except NoteError as error:
            problems.add(place, error.message)
            continue
        size = note.checkpoint.size
        if path.name not in ("checkpoint", str(size)):
            problems.add(place, f"holds the checkpoint of {size}")
        if data is newest:
            view.sealed = size
        elif view.sealed is not None and size > view.sealed:
            problems.add(f"{at}checkpoint", f"is older than {place}")
        view.signed[size] = view.signed.get(size, frozenset()) | signers
        yield Target(size, note.checkpoint.root, place)


def _read_vkeys(path: Path, place: str, problems: Problems) -> Iterator[VerifierKey]:
    data = _read(path, place, problems)
    if data is None:
        return
    lines = data.split(b"\n")
    if lines.pop() != b"" or not lines or len(set(lines)) != len(lines):
        problems.add(place, "one verifier key a line, each once, and a newline at the end")
    for number, line in enumerate(lines, 1):
        try:
            yield VerifierKey.parse(line.decode("utf-8"))
        except (NoteError, UnicodeDecodeError) as error:
            what = error.message if isinstance(error, NoteError) else "not UTF-8"
            problems.add(f"{place}:{number}", what)


def _read(path: Path, place: str, problems: Problems) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(_CHUNK)
    except OSError as error:
        problems.add(place, f"cannot be read ({type(error).__name__})")
        return None


def _lines(path: Path, place: str, problems: Problems) -> Iterator[list[bytes]]:
    """Lines without their newlines, about a megabyte at a time."""
    rest, count = b"", 0
    with path.open("rb") as file:
        while data := file.read(_CHUNK):
            lines = (rest + data).split(b"\n")
            rest = lines.pop()
            count += len(lines)
            yield lines
            if len(rest) > MAX_LINE + _CHUNK:
                break
    if rest:
        problems.add(f"{place}:{count + 1}", "the last line has no newline, or is far too long")


# --- what was kept elsewhere --------------------------------------------------------------------


def _kept_note(path: Path | None, problems: Problems) -> Note | None:
    if path is None:
        return None
    data = _read(path, "the checkpoint given", problems)
    try:
        return Note.parse(data) if data is not None else None
    except NoteError as error:
        problems.add("the checkpoint given", error.message)
        return None


def _targets(kept: Note | None, log: str) -> Sequence[Target]:
    if kept is None or kept.checkpoint.origin != log:
        return ()
    return (Target(kept.checkpoint.size, kept.checkpoint.root, "the checkpoint given"),)


def _trusted_keys(path: Path | None, problems: Problems) -> set[VerifierKey]:
    return set(_read_vkeys(path, "the key given", problems)) if path is not None else set()


def _signers_of(
    kept: Note, views: Iterable[_View], trusted: set[VerifierKey], problems: Problems
) -> set[VerifierKey]:
    """The keys that signed a kept note; a problem where it is of no log here, or not signed."""
    view = next((v for v in views if v.name == kept.checkpoint.origin), None)
    if view is None:
        problems.add("the checkpoint given", "is of a log that is not here")
        return set()
    known = [key for key in trusted if key.name == view.name] or view.vkeys
    try:
        return set(kept.signers(known))
    except NoteError as error:
        problems.add("the checkpoint given", f"{error.message}: this log is not the one it is of")
        return set()


def _check_trust(views: Sequence[_View], trusted: set[VerifierKey], problems: Problems) -> None:
    """From the keys given, each newer key must be vouched for: by a note that both signed, or by
    the closing entry of the log before it."""
    reached = False
    for view in views:
        good = {key for key in view.vkeys if key in trusted}
        if not good and not reached:
            continue
        reached = True
        while new := {
            key for signers in view.signed.values() if signers & good for key in signers - good
        }:
            good |= new
        if view.sealed is not None and not view.signed.get(view.sealed, frozenset()) & good:
            problems.add(f"{view.name} checkpoint", "is not signed by a key that you trust")
        if view.closing is not None:
            trusted |= {
                key
                for other in views
                for key in other.vkeys
                if str(key) == view.closing["next_vkey"]
            }
    if not reached:
        problems.add("log.vkey", "holds no key that you trust")


def _check_years(views: Sequence[_View], problems: Problems) -> None:
    """Each log begins with the size and root that the log before it ended with, and one whose
    entries are gone was dropped by an entry of a later one."""
    for number, view in enumerate(views):
        later = [entry for other in views[number + 1 :] for entry in other.dropped]
        if view.gone and (view.name, view.size, encode(view.root)) not in later:
            problems.add(view.name, "its entries are gone, and no later log says so")
    for older, newer in pairwise(views):
        if newer.first is None:
            continue
        said = tuple(newer.first.get(k) for k in ("previous", "previous_size", "previous_root"))
        if said != (older.name, older.size, encode(older.root)):
            problems.add(f"{newer.name} entry 0", f"does not follow {older.name} as it is here")
