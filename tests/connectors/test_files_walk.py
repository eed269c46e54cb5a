"""Which files a location means, and reading them in pages, in parts, from a cursor."""

from __future__ import annotations

import itertools
import re
import tracemalloc
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retention.connectors.base import Bound, Ref, Result
from retention.connectors.files import globs, overlap, walk
from retention.connectors.files.globs import Selection, checked_glob
from retention.errors import PermanentFailure
from tests.connectors.files_world import OLD, found, location, open_files, refs, tree, write

_LETTERS = "ab."


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty root."""
    (tmp_path / "policies").mkdir()
    (tmp_path / "share").mkdir()
    return tmp_path / "share"


# --- globs ------------------------------------------------------------------------------------


def _naive(glob: str, path: str, *, hidden: bool) -> bool:
    """A glob as one expression over the whole path: another route to the same answer."""
    dot = "" if hidden else r"(?!\.)"
    parts = []
    for step in checked_glob(glob).split("/"):
        if step == "**":
            parts.append(f"(?:{dot}[^/]+/)*")
            continue
        text = "".join({"*": "[^/]*", "?": "[^/]"}.get(c) or re.escape(c) for c in step)
        parts.append(("" if step.startswith(".") else dot) + text + "/")
    return re.fullmatch("".join(parts), path + "/") is not None


def _means(selection: Selection, path: str) -> bool:
    return any(_naive(g, path, hidden=False) for g in selection.globs) and not any(
        _naive(g, path, hidden=True) for g in selection.exclude
    )


STEPS = st.text("ab*?.", min_size=1, max_size=3).filter(
    lambda s: "**" not in s and s not in (".", "..")
)
GLOBS = st.lists(STEPS | st.just("**"), min_size=1, max_size=4).map("/".join)
SELECTIONS = st.builds(
    lambda wanted, unwanted: Selection(
        tuple(map(checked_glob, wanted)), tuple(map(checked_glob, unwanted))
    ),
    st.lists(GLOBS, min_size=1, max_size=2),
    st.lists(GLOBS, max_size=1),
)
NAMES = st.text(_LETTERS, min_size=1, max_size=3).filter(lambda s: s not in (".", ".."))
PATHS = st.lists(NAMES, min_size=1, max_size=4)


@settings(deadline=None, max_examples=300)
@given(SELECTIONS, PATHS)
def test_globs_mean_what_they_say(selection: Selection, steps: list[str]) -> None:
    """Folder by folder or as one expression: the same files."""
    assert selection.means_path(steps) == _means(selection, "/".join(steps))


@settings(deadline=None, max_examples=150)
@given(SELECTIONS, SELECTIONS, PATHS)
def test_overlap_is_never_overlooked(one: Selection, other: Selection, steps: list[str]) -> None:
    """Where a path is meant by both, they may share."""
    if one.means_path(steps) and other.means_path(steps):
        assert overlap.may_share(one, other)


def _small_paths() -> Iterator[tuple[str, ...]]:
    names = [n for k in (1, 2) for n in map("".join, itertools.product("ab", repeat=k))]
    for depth in (1, 2):
        yield from itertools.product(names, repeat=depth)


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        ("*.pdf", "*.txt", False),
        ("*.pdf", "*", True),
        ("a/**", "b/**", False),
        ("a/**", "**/*.pdf", True),
        ("a/*", "a/b/*", False),
        ("access.log.*", "access.log.1", True),
        ("a*", "*b", True),
        ("?", "??", False),
        (".a/*", "**/*", False),
        ("x/**/y", "x/y", True),
    ],
)
def test_overlap_of_usual_globs(one: str, other: str, shared: bool) -> None:
    """Told exactly, so that nobody is refused without need."""
    sides = [Selection((checked_glob(g),)) for g in (one, other)]
    assert overlap.may_share(*sides) is shared
    assert overlap.may_share(*reversed(sides)) is shared
    if not shared:
        for path in _small_paths():
            assert not all(side.means_path(path) for side in sides)


def test_excluding_parts_two_locations() -> None:
    """`exclude` in one what the other means, and they share nothing."""
    rest = Selection(("**/*",), ("contracts/**/*",))
    contracts = Selection(("contracts/**/*.pdf",))
    assert not overlap.may_share(rest, contracts)
    assert overlap.may_share(Selection(("**/*",)), contracts)


def test_overlapping_locations_are_refused(root: Path) -> None:
    """A minimum of one would not protect what is read through the other: neither is touched."""
    write(root / "a.pdf")
    every, some = location("**/*", name="papers/all"), location("*.pdf", name="papers/pdf")
    given = refs(root, some)
    session = open_files(root)
    session.containers(every)
    with pytest.raises(PermanentFailure) as caught:
        session.containers(some)
    assert caught.value.code == "overlap"
    for target in (every, some):
        with pytest.raises(PermanentFailure, match="same file"):
            list(session.find(target))
        with pytest.raises(PermanentFailure, match="same file"):
            list(session.erase(target, given))
    assert tree(root)
    told = [p.detail for p in session.probe([every, some]) if not p.ok]
    assert any("same file" in detail for detail in told)


def test_locations_with_the_same_globs_share_all(root: Path) -> None:
    """They have one container, so that each protects what is read through the other."""
    write(root / "a.pdf")
    session = open_files(root)
    first = session.containers(location("*.pdf", "*.txt", name="a/one"))
    second = session.containers(location("*.pdf", "*.txt", name="b/two", prune=True))
    assert first == second == ("*.pdf *.txt",)
    (record,) = found(root, location("*.pdf", "*.txt"))
    assert record.ref.container in first


def test_folders_by_wildcard_may_come_in(root: Path) -> None:
    """Whether a renamed folder may turn up in a location is told to the engine."""
    patterned = open_files(root).describe().patterned
    assert patterned(location("**/*.pdf").settings)
    assert patterned(location("a/*/b.pdf").settings)
    assert not patterned(location("a/b/*.pdf").settings)


# --- reading ----------------------------------------------------------------------------------


def _keys(root: Path, page: int = 500, cursor: str | None = None) -> list[str]:
    pages = open_files(root, page=page).find(location("**/*"), cursor)
    return [r.ref.key for p in pages for r in p.records]


@pytest.mark.parametrize("bucket", [2, 7, 50_000])
def test_every_file_once_from_any_cursor(
    root: Path, monkeypatch: pytest.MonkeyPatch, bucket: int
) -> None:
    """Deep and flat, in parts of large folders: each file once, and again from each page on."""
    monkeypatch.setattr(walk, "_BUCKET", bucket)
    for n in range(60):
        write(root / ("flat" if n % 2 else f"deep/{n % 3}/{n % 5}") / f"{n}.txt")
        write(root / f"{n % 4}.d" / "x" / f"{n}")
    whole = _keys(root)
    assert len(set(whole)) == len(whole) == 120
    pages = list(open_files(root, page=7).find(location("**/*")))
    seen: list[str] = []
    for page in pages:
        seen += [r.ref.key for r in page.records]
        assert len(page.records) <= 7
        assert _keys(root, 11, page.cursor) == whole[len(seen) :]
    assert seen == whole


def test_going_on_where_the_folder_is_gone(root: Path) -> None:
    """What vanished in between is left out; everything behind it is found."""
    for name in ("a", "b", "c"):
        for n in range(3):
            write(root / name / f"{n}.txt")
    pages = list(open_files(root, page=4).find(location("**/*")))
    for file in (root / "b").iterdir():
        file.unlink()
    (root / "b").rmdir()
    assert _keys(root, 4, pages[0].cursor) == ["c/0.txt", "c/1.txt", "c/2.txt"]


def test_several_bases_and_literal_files(root: Path) -> None:
    """A file that two globs mean is one record; a base within another is read once."""
    for path in ("a/1.txt", "a/b/2.txt", "c/3.txt", "d/4.txt"):
        write(root / path)
    target = location("a/**/*", "a/b/*.txt", "c/3.txt", "c/none.txt")
    assert [r.key for r in refs(root, target)] == ["a/1.txt", "a/b/2.txt", "c/3.txt"]
    assert open_files(root).count(target) == 3


def test_bounds_leave_young_files_out(root: Path) -> None:
    """By the file's time without opening it; by the date in the name without even a look."""
    write(root / "2024-01-10 a.txt")
    write(root / "2024-03-10 b.txt", when=OLD + timedelta(days=60))
    write(root / "undated.txt", when=OLD + timedelta(days=60))
    bound = OLD + timedelta(days=30)
    by_time = location("*", bounds=(Bound("modified", bound),))
    assert [r.key for r in refs(root, by_time)] == ["2024-01-10 a.txt"]
    by_name = location(
        "*", pattern="{YYYY}-{MM}-{DD}*", dates=["name_date"], bounds=(Bound("name_date", bound),)
    )
    assert [r.key for r in refs(root, by_name)] == ["2024-01-10 a.txt", "undated.txt"]
    again = open_files(root).recheck(by_name, ["2024-03-10 b.txt"])
    assert [r.ref.key for r in again] == ["2024-03-10 b.txt"]


def test_memory_does_not_grow_with_the_folder(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten times as many files in one folder: the same memory, but for what one part holds."""
    monkeypatch.setattr(walk, "_BUCKET", 200)
    monkeypatch.setattr(globs, "is_never_a_record", lambda _: False)
    for n in range(300):
        write(root / "in" / f"{n:050}.txt")

    def peak() -> int:
        tracemalloc.start()
        for page in open_files(root, page=50).find(location("in/*")):
            assert len(page.records) <= 50
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak()
    small = peak()
    for n in range(300, 3_000):
        write(root / "in" / f"{n:050}.txt")
    assert peak() < small + 600_000


# --- nothing else ever goes -------------------------------------------------------------------

KINDS = st.sampled_from(
    ["file", "old", "link", "folder link", "hard link", "fifo", "hidden", "odd"]
)
TREES = st.lists(
    st.tuples(st.sampled_from(["", "a", "a/b", "c", "a/b/d"]), KINDS), min_size=1, max_size=14
)


def _grown(root: Path, outside: Path, plan: list[tuple[str, str]]) -> None:
    (outside / "in").mkdir(parents=True)
    write(outside / "in" / "0.txt")
    for n, (folder, kind) in enumerate(plan):
        at = root / folder
        at.mkdir(parents=True, exist_ok=True)
        name = {"hidden": f".{n}", "odd": f"{n}\udcff\n"}.get(kind, f"{n}.txt")
        if kind == "link":
            (at / name).symlink_to(outside / "in" / "0.txt")
        elif kind == "folder link":
            (at / f"{n}").symlink_to(outside / "in")
        elif kind == "hard link":
            (at / name).hardlink_to(write(outside / f"{n}.txt"))
        elif kind == "fifo":
            import os

            os.mkfifo(at / name)
        else:
            write(at / name, b"%d" % n)


@settings(deadline=None, max_examples=40)
@given(
    TREES,
    st.sampled_from(["**/*", "a/**/*", "*.txt", "**/.*", "a/b/*", "**/?.txt"]),
    st.sampled_from(["refuse", "unlink"]),
    st.booleans(),
    st.data(),
)
def test_only_the_given_refs_disappear(
    tmp_path_factory: pytest.TempPathFactory,
    plan: list[tuple[str, str]],
    glob: str,
    links: str,
    prune: bool,
    data: st.DataObject,
) -> None:
    """Whatever the tree, the globs, the settings and forged keys: no other name ever goes."""
    top = tmp_path_factory.mktemp("any")
    root, outside = top / "share", top / "outside"
    (top / "policies").mkdir()
    (root / "a" / "b").mkdir(parents=True)
    _grown(root, outside, plan)
    target = location(glob, hard_links=links, prune=prune)
    known = refs(root, target)
    some = data.draw(st.lists(st.sampled_from(known), unique=True) if known else st.just([]))
    forged = [Ref("", f"{n}.txt", some[0].version) for n in range(3)] if some else []
    forged = [f for f in forged if f.key not in {r.key for r in known}]
    before = tree(top)
    outcomes = list(open_files(root).erase(target, [*some, *forged]))
    assert sorted(o.key for o in outcomes) == sorted(r.key for r in (*some, *forged))
    gone = {o.key for o in outcomes if o.result is Result.DISPOSED}
    assert gone <= {r.key for r in some}
    paths = {str(root / k.replace("%FF", "\udcff").replace("%0A", "\n")) for k in gone}
    assert tree(top) == {k: v for k, v in before.items() if k not in paths}
    assert (root / "a" / "b").is_dir() or prune
