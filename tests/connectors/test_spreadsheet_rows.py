"""Headers, keys, dates and references: what a sheet says is read one way, or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
import xlsxwriter
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl import Workbook, load_workbook

from retention.connectors.base import Result
from retention.connectors.spreadsheet.dates import from_serial, from_text
from retention.connectors.spreadsheet.rowxml import Formulas, renumber
from retention.connectors.spreadsheet.sheetxml import grammar
from retention.connectors.spreadsheet.shift import (
    RowMap,
    Unshiftable,
    only_row,
    shift_formula,
    tokens,
    translate,
)
from retention.errors import PermanentFailure
from tests.connectors.spreadsheet_sessions import erase, found, location, mask, session, values

DONE = (Result.DISPOSED, "")
HEADER = ("key", "received", "name", "email")
ROW = ("A", date(2024, 1, 1), "x", "y")


def book(path: Path, rows: Sequence[tuple[object, ...]]) -> Path:
    made = Workbook()
    for row in rows:
        made.active.append(row)
    made.save(path)
    return path


@pytest.mark.parametrize(
    ("serial", "since_1904", "day"),
    [
        (1, False, None),
        (0.5, True, None),
        (59, False, None),
        (60, False, None),
        (61, False, date(1900, 3, 1)),
        (45_352.75, False, date(2024, 3, 1)),
        (43_890, True, date(2024, 3, 1)),
        (0, True, None),
        (1, True, date(1904, 1, 2)),
        (0, False, None),
        (-1, False, None),
        (20_240_301, False, None),
        (float("nan"), False, None),
    ],
)
def test_serial_numbers_of_both_calendars(
    serial: float, since_1904: bool, day: date | None
) -> None:
    """The day that never was has no date; what lies outside the calendar has none either."""
    assert from_serial(serial, since_1904=since_1904) == day


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("2024-03-01", date(2024, 3, 1)),
        (" 2024-03-01 12:30:00 ", date(2024, 3, 1)),
        ("2024-03-01T23:30:00-02:00", datetime(2024, 3, 2, 1, 30, tzinfo=UTC)),
        ("2024-03-01T12:00Z", datetime(2024, 3, 1, 12, tzinfo=UTC)),
        ("1.3.2024", date(2024, 3, 1)),
        ("31.12.2024 08:15", date(2024, 12, 31)),
        ("03/01/2024", None),
        ("30.02.2024", None),
        ("20240301", None),
        ("45352", None),
        ("next spring", None),
        ("2024-13-01", None),
        ("", None),
    ],
)
def test_dates_as_text_are_read_in_one_way_or_not(text: str, when: object) -> None:
    """What could be two dates is none."""
    assert from_text(text) == when


def test_a_stated_format_is_the_only_one(tmp_path: Path) -> None:
    """With `date_format`, slashes have a meaning."""
    path = book(
        tmp_path / "a.xlsx", [HEADER, ("A", "03/01/2024", "x", "y"), ("B", "2024-01-03", "x", "y")]
    )
    read = found(path, location(date_format="%d/%m/%Y"))
    assert [r.dates["received"] for r in read.values()] == [date(2024, 1, 3), None]


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        ([("key", "received", "name", "name"), ROW], "header_twice"),
        ([HEADER, ("Number", "Date", "Full name", "Address"), ROW], "two_headers"),
        ([HEADER, HEADER, ROW], "two_headers"),
        ([("id", "received", "name", "email")], "no_column"),
        ([("a title",), HEADER, ROW], "no_column"),
        ([HEADER, ('="A"&1', *ROW[1:])], "key_computed"),
    ],
)  # fmt: skip
def test_a_header_that_is_not_as_described_stops_everything(
    tmp_path: Path, rows: list[tuple[object, ...]], code: str
) -> None:
    """One error, with the place and what to do; never a guess."""
    path = book(tmp_path / "a.xlsx", rows)
    with pytest.raises(PermanentFailure) as caught:
        found(path, location())
    assert caught.value.code == code
    assert caught.value.place == "c/rows"
    assert caught.value.hint


def test_the_header_may_stand_lower_and_the_error_says_where(tmp_path: Path) -> None:
    """A title above is normal: `header: 2` reads it, and the hint says so."""
    path = book(tmp_path / "a.xlsx", [("a title",), HEADER, ("A", date(2024, 1, 1), "x", "y")])
    with pytest.raises(PermanentFailure, match="header: 2"):
        found(path, location())
    assert list(found(path, location(header=2))) == ["A"]
    assert erase(path, location(header=2), ["A"]) == {"A": DONE}
    assert len(values(path)) == 2


def test_rows_without_a_key_of_their_own_are_reported_and_left_alone(tmp_path: Path) -> None:
    """No key, blank key, the key of another row: found, refused; the other rows go."""
    rows = [
        HEADER,
        ("A", date(2024, 1, 1), "n1", "e1"),
        (None, date(2024, 1, 2), "n2", "e2"),
        ("  ", date(2024, 1, 3), "n3", "e3"),
        ("B", date(2024, 1, 4), "n4", "e4"),
        ("B", date(2024, 1, 5), "n5", "e5"),
        (None, date(2024, 1, 2), "n2", "e2"),
        (7, date(2024, 1, 6), "n6", "e6"),
    ]
    path = book(tmp_path / "a.xlsx", rows)
    read = found(path, location())
    assert len(read) == 7
    assert "A" in read
    assert "7" in read
    outcomes = erase(path, location(), list(read))
    assert outcomes["A"] == outcomes["7"] == DONE
    assert sorted(code for _, code in outcomes.values()) == [
        "", "", "key_not_unique", "key_not_unique", "no_key", "no_key", "no_key",
    ]  # fmt: skip
    assert [row[2] for row in values(path)] == ["name", "n2", "n3", "n4", "n5", "n2"]
    probes = {p.check: p for p in session(path).probe([location()])}
    assert not probes["c/rows: keys"].ok


def test_a_key_that_became_ambiguous_is_refused(tmp_path: Path) -> None:
    """Somebody copied the row after it was found: which one was meant is not guessed."""
    rows: list[tuple[object, ...]] = [HEADER, ("A", date(2024, 1, 1), "n", "e")]
    path = book(tmp_path / "a.xlsx", rows)
    ref = found(path, location())["A"].ref
    book(path, [*rows, rows[1]])
    (outcome,) = session(path).erase(location(), [ref])
    assert (outcome.result, outcome.code) == (Result.FAILED_PERMANENT, "key_not_unique")
    assert len(values(path)) == 3


def test_a_formula_that_tells_the_day_is_no_change(tmp_path: Path) -> None:
    """The stored result of a formula that no policy reads is not part of the version."""
    versions = []
    for days in (1, 2):
        path = tmp_path / f"{days}.xlsx"
        made = xlsxwriter.Workbook(str(path))
        sheet = made.add_worksheet()
        sheet.write_row(0, 0, (*HEADER, "age"))
        sheet.write_row(1, 0, ("A", "2024-01-01", "n", "e"))
        sheet.write_formula("E2", "=TODAY()-45000", None, days)
        made.close()
        versions.append(found(path, location())["A"].ref.version)
        assert found(path, location(fields=("age",)))["A"].fields["age"] == days
    assert versions[0] == versions[1]


REMOVED = st.sets(st.integers(2, 60), max_size=40)


@settings(deadline=None, max_examples=150)
@given(REMOVED, st.integers(1, 70), st.integers(0, 20))
def test_a_range_reads_the_same_rows_after_the_shift(
    removed: set[int], first: int, length: int
) -> None:
    """Moved ranges read exactly what is left of what they read; #REF! is never written."""
    rows = RowMap(removed)
    left = [row for row in range(first, first + length + 1) if row not in removed]
    text = f"SUM($B{first}:C${first + length})"
    if not left:
        with pytest.raises(Unshiftable):
            shift_formula(text, rows, "S", here=True)
        return
    moved = shift_formula(text, rows, "S", here=True)
    new = [number for row in left if (number := rows.row(row)) is not None]
    assert moved == f"SUM($B{new[0]}:C${new[-1]})"
    assert new == list(range(new[0], new[-1] + 1))


@pytest.mark.parametrize(
    ("formula", "moved"),
    [
        ('IF(A9="A9",LOG10(B9),"it""s B9")', 'IF(A8="A9",LOG10(B8),"it""s B9")'),
        ("Other!A9+'Other B9'!$C$9+A9", "Other!A9+'Other B9'!$C$9+A8"),
        ("'It''s'!A9+S!A9*s!$B$9:$C9", "'It''s'!A9+S!A8*s!$B$8:$C8"),
        ("[1]S!A9+Table1[[#This Row],[A9]]", "[1]S!A9+Table1[[#This Row],[A9]]"),
        ("SUM(A:A)+SUM(4:9)+SUM($4:$9)", "SUM(A:A)+SUM(4:8)+SUM($4:$8)"),
        ("TAX2024A+ZZZ9+A9B+_x.A9", "TAX2024A+ZZZ9+A9B+_x.A9"),
        ("1.5E+9+A9%-#REF!", "1.5E+9+A8%-#REF!"),
        ("SUM(A9#)", "SUM(A8#)"),
        ("SUM(a9:$b$9)+sum(s!a9)", "SUM(a8:$b$8)+sum(s!a8)"),
        ("ROW()+ROWS(A$2:A9)+ADDRESS(9,1)", "ROW()+ROWS(A$2:A8)+ADDRESS(9,1)"),
        ("A9:INDEX(B:B,3)", "A8:INDEX(B:B,3)"),
        ("OFFSET(S!$A$9,0,0,COUNTA(S!$A:$A))", "OFFSET(S!$A$8,0,0,COUNTA(S!$A:$A))"),
        ('INDIRECT("People[name]")+INDIRECT("T!A9")', 'INDIRECT("People[name]")+INDIRECT("T!A9")'),
        ("SUM(A9:B4)+[Book.xlsx]S!A9", "SUM(A8:B4)+[Book.xlsx]S!A9"),
        ("#REF!A9+{1,2;3,9}", "#REF!A9+{1,2;3,9}"),
    ],
)
def test_only_references_are_moved(formula: str, moved: str) -> None:
    """Texts, names, functions, other sheets and other books are left as they are."""
    assert shift_formula(formula, RowMap([5]), "S", here=True) == moved
    assert "".join(text for _, text in tokens(formula)) == formula


@pytest.mark.parametrize(
    "formula",
    [
        "A5",
        "SUM(A5:B5)",
        'INDIRECT("A9")',
        "A9:S!B9",
        "SUM(S:T!A1)",
        "OFFSET(A9,1,0)",
        "SUM(5:5)",
        'INDIRECT("S!A9")',
        "INDIRECT(B1)",
        "2024!A9",
        "A1:S!B2",
    ],
)
def test_what_cannot_be_moved_is_refused(formula: str) -> None:
    """A row that goes, a computed range, several sheets at once: never guessed."""
    with pytest.raises(Unshiftable):
        shift_formula(formula, RowMap([5]), "S", here=True)


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=40))
def test_any_text_survives_the_lexer(text: str) -> None:
    """Whatever a formula holds, its pieces are the formula."""
    assert "".join(piece for _, piece in tokens(text)) == text


def test_shared_formulas_are_written_out_as_their_cell_reads_them() -> None:
    """Relative corners follow the cell, fixed ones stay."""
    assert translate("E2*$F$1+$A2+B$1", 3, 1) == "F5*$F$1+$A5+C$1"
    assert translate("Z1+AZ1", 0, 1) == "AA1+BA1"
    with pytest.raises(Unshiftable):
        translate("A1", -1, 0)
    assert only_row("E5*2", 5)
    assert not only_row("E5*Rate", 5)
    assert not only_row("SUM(E:E)", 5)


def inline_texts(path: Path, rows: list[tuple[object, ...]]) -> None:
    made = Workbook()
    made.active.append(HEADER)
    for row in rows:
        made.active.append(row)
        for cell in made.active[made.active.max_row]:
            if isinstance(cell.value, str):
                cell.data_type = "s"
    made.save(path)


def shared_texts(path: Path, rows: list[tuple[object, ...]]) -> None:
    plain = {"strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    made = xlsxwriter.Workbook(str(path), {**plain, "default_date_format": "yyyy-mm-dd"})
    sheet = made.add_worksheet()
    for n, row in enumerate([HEADER, *rows]):
        sheet.write_row(n, 0, row)
    made.close()


LETTERS = st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_categories=["Cs"])
CELL = st.one_of(
    st.none(),
    st.integers(-(10**9), 10**9),
    st.booleans(),
    st.text(LETTERS, max_size=12),
    st.dates(date(1950, 1, 1), date(2090, 1, 1)),
)  # fmt: skip


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(CELL, CELL), min_size=1, max_size=12), st.data())
def test_kept_rows_are_the_same_whatever_goes(
    tmp_path_factory: pytest.TempPathFactory,
    cells: list[tuple[object, object]],
    data: st.DataObject,
) -> None:
    """Random workbooks, random rows: openpyxl reads every kept row unchanged, and no other."""
    path = tmp_path_factory.mktemp("random") / "a.xlsx"
    rows: list[tuple[object, ...]] = [
        (f"K{n}", date(2024, 1, 1), a, b) for n, (a, b) in enumerate(cells)
    ]
    if data.draw(st.booleans(), label="texts shared"):
        shared_texts(path, rows)
    else:
        inline_texts(path, rows)
    before = values(path)
    gone = data.draw(st.sets(st.sampled_from(range(len(rows)))))
    target = location(fields=())
    if data.draw(st.booleans()):
        assert set(erase(path, target, [f"K{n}" for n in gone]).values()) <= {DONE}
        assert values(path) == [r for n, r in enumerate(before) if n - 1 not in gone]
    else:
        assert set(mask(path, target, [f"K{n}" for n in gone], {"name": "x"}).values()) <= {DONE}
        kept = [(*r[:2], "x", *r[3:]) if n - 1 in gone else r for n, r in enumerate(before)]
        assert values(path) == kept
    load_workbook(path).close()


PIECES = ("E7", "$E7", "E$7", "E8", "e7", "7", "7.5", "SUM(", "LOG10(", "IF(", "ROW(", ")", "+",
          "*", ",", ":", ";", "&amp;", "&lt;", '"E7"', "Offers!", "'E7'!", "A:A", "7:7", "Total",
          "TRUE", "#REF!", "{1}", "T[x]", "_x7", "É7", " ")  # fmt: skip


@settings(deadline=None, max_examples=150)
@given(
    st.lists(
        st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map("".join),
        min_size=1,
        max_size=3,
    )
)
def test_rows_that_read_themselves_are_moved_as_all_others(formulas: list[str]) -> None:
    """The short way for formulas of their own row says what the long way says, or is not taken."""
    cells = "".join(
        f'<c r="{"FGH"[n]}7" t="str"><f>{text}</f><v>E7 7</v></c>'
        for n, text in enumerate(formulas)
    )
    raw = f'<row r="7"><c r="A7" s="7"><v>7</v></c>{cells}</row>'.encode()
    rows = RowMap([3, 5], breaking=True)
    names = grammar(b"")
    try:
        wanted = renumber(Formulas("Offers", rows, names).put_right(7, raw), 5, names)
    except Unshiftable:
        with pytest.raises(Unshiftable):
            Formulas("Offers", rows, names).moved(7, raw, 5)
        return
    assert Formulas("Offers", rows, names).moved(7, raw, 5) == wanted
