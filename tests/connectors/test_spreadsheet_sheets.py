"""Several sheets under one location, headers as people change them, copies that nobody named."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from openpyxl import Workbook, load_workbook
from pydantic import ValidationError

from retention.connectors.base import Level, Probe, Ref, Result, Target
from retention.connectors.spreadsheet.dates import from_text
from retention.connectors.spreadsheet.settings import MANIFEST, SpreadsheetLocation
from retention.connectors.spreadsheet.sheets import key_in, sheet_and_key
from retention.errors import ExitCode, PermanentFailure
from tests.connectors import ods_files
from tests.connectors.spreadsheet_sessions import (
    erase,
    found,
    levels,
    location,
    mask,
    residue,
    session,
    values,
)
from tests.integration.shop import Shop

DONE = (Result.DISPOSED, "")
HEADER = ("key", "received", "name", "email")
YEARS = location(sheet="20*")


def line(key: str, year: int, name: str) -> tuple[object, ...]:
    return (key, dt.date(year, 3, 1), name, f"{key.lower()}@example.org")


def yearly(path: Path, hidden: str = "") -> Path:
    """Sheets of three years and a summary; the same key stands in two of them."""
    if path.suffix == ".ods":
        sheets = [
            ods_files.table_of(
                [HEADER, *(line(f"K{n}", y, f"Given{y} {w}") for n, w in ((1, "One"), (2, "Two")))],
                str(y),
            )
            for y in (2022, 2023, 2024)
        ]
        return ods_files.write(
            path, ods_files.document(*sheets, ods_files.table_of([["total"]], "Sum"))
        )
    book = Workbook()
    book.active.title = "Sum"
    book.active.append(("total",))
    for year in (2022, 2023, 2024):
        sheet = book.create_sheet(str(year))
        sheet.append(HEADER)
        sheet.append(line("K1", year, f"Given{year} One"))
        sheet.append(line("K2", year, f"Given{year} Two"))
    if hidden:
        book[hidden].sheet_state = "veryHidden"
    book.save(path)
    return path


@pytest.mark.parametrize("name", ["a.xlsx", "a.ods"])
def test_a_pattern_covers_sheets_and_keys_say_which(tmp_path: Path, name: str) -> None:
    """A row's key names its sheet; acts, masks, rechecks and proofs reach the right one."""
    path = yearly(tmp_path / name, hidden="2023")
    assert session(path).containers(YEARS) == ("2022", "2023", "2024")
    assert session(path).count(YEARS) == 6
    records = found(path, YEARS)
    assert list(records) == [f"{y}/K{n}" for y in (2022, 2023, 2024) for n in (1, 2)]
    assert {r.ref.container for r in records.values()} == {"2022", "2023", "2024"}
    gone = ["2023/K1", "2022/K2"]
    assert erase(path, YEARS, gone) == dict.fromkeys(gone, DONE)
    assert mask(path, YEARS, ["2024/K1"], {"name": "x"}) == {"2024/K1": DONE}
    assert list(found(path, YEARS)) == ["2022/K1", "2023/K2", "2024/K1", "2024/K2"]
    assert not residue(path, "Given2023 One", "Given2022 Two", "Given2024 One")
    proofs = session(path).verify(YEARS, [records[k].ref for k in gone], records["2024/K2"].ref)
    assert {p.key: p.level for p in proofs} == {
        "2023/K1": Level.GONE,  # the same address stands in the other sheets
        "2022/K2": Level.GONE,
    }
    again = list(session(path).recheck(YEARS, [*gone, "2024/K2"]))
    assert [r.ref.key for r in again] == ["2024/K2"]
    (content,) = session(path).read(YEARS, [records["2024/K2"].ref])
    assert content.key == "2024/K2"


def test_next_years_sheet_is_covered_by_itself(tmp_path: Path) -> None:
    """A sheet that fits the pattern is there at the next run; a list names exactly its own."""
    path = yearly(tmp_path / "a.xlsx")
    book = load_workbook(path)
    new = book.create_sheet("2025")
    new.append(HEADER)
    new.append(line("K9", 2025, "New One"))
    book.save(path)
    assert "2025/K9" in found(path, YEARS)
    assert list(found(path, location(sheet=["2024", "2022"]))) == [
        "2022/K1", "2022/K2", "2024/K1", "2024/K2",
    ]  # fmt: skip
    assert list(found(path, location(sheet=["2024"]))) == ["2024/K1", "2024/K2"]
    assert list(found(path, location(sheet="2024"))) == ["K1", "K2"]
    assert MANIFEST.patterned(SpreadsheetLocation(key="key", sheet="20*"))
    assert not MANIFEST.patterned(SpreadsheetLocation(key="key", sheet="2024"))


def test_pages_go_on_in_the_next_sheet(tmp_path: Path) -> None:
    """A cursor names the sheet; in a file that has changed it is void."""
    path = yearly(tmp_path / "a.xlsx")
    pages = list(session(path).find(YEARS))
    rest = [r.ref.key for p in session(path).find(YEARS, pages[0].cursor) for r in p.records]
    assert rest == ["2023/K1", "2023/K2", "2024/K1", "2024/K2"]
    mask(path, YEARS, ["2024/K1"], {"name": "x"})
    rest = [r.ref.key for p in session(path).find(YEARS, pages[0].cursor) for r in p.records]
    assert len(rest) == 6


def test_a_renamed_sheet_is_not_a_deleted_one(tmp_path: Path) -> None:
    """Rows of a sheet that is not there any more are neither absent nor gone: nobody knows."""
    path = yearly(tmp_path / "a.xlsx")
    record = found(path, YEARS)["2022/K1"]
    book = load_workbook(path)
    book["2022"].title = "2022 old"
    book.save(path)
    (outcome,) = session(path).erase(location(sheet=["2023", "2024"]), [record.ref])
    assert (outcome.result, outcome.code) == (Result.FAILED_PERMANENT, "no_sheet")
    (outcome,) = session(path).erase(YEARS, [record.ref])
    assert (outcome.result, outcome.code) == (Result.FAILED_PERMANENT, "no_sheet")
    assert levels(path, YEARS, [record]) == {Level.UNKNOWN}
    assert "2022 old/K1" in found(path, YEARS)


def test_a_control_in_another_sheet_is_enough(tmp_path: Path) -> None:
    """One record known to exist proves that the file can be read; a wrong one proves nothing."""
    path = yearly(tmp_path / "a.xlsx")
    records = found(path, YEARS)
    refs = [records["2022/K1"].ref]
    for control, level in (("2024/K1", Level.PRESENT), ("2024/none", Level.UNKNOWN)):
        known = records["2024/K1"].ref._replace(key=control)
        assert [p.level for p in session(path).verify(YEARS, refs, known)] == [level]


def test_a_sheet_without_the_columns_stops_the_location(tmp_path: Path) -> None:
    """A pattern that covers too much says which sheet does not fit; nothing is read or lost."""
    path = yearly(tmp_path / "a.xlsx")
    with pytest.raises(PermanentFailure) as caught:
        found(path, location(sheet="*"))
    assert "'Sum'" in caught.value.place
    with pytest.raises(PermanentFailure, match="fits"):
        found(path, location(sheet="19*"))
    with pytest.raises(PermanentFailure, match="no sheet called"):
        found(path, location(sheet=["2022", "2027"]))


@pytest.mark.parametrize("name", ["2024", "a/b", "100%", "%2F", "ä/"])
def test_keys_of_sheets_are_told_apart(name: str) -> None:
    """Whatever a sheet or a row is called, the key leads back to both."""
    for key in ("K1", "a/b", "", "%2F"):
        assert sheet_and_key(key_in(name, key)) == (name, key)


# --- what the check says -------------------------------------------------------------------------


def findings(path: Path, *targets: Target) -> dict[str, Probe]:
    return {probe.check: probe for probe in session(path).probe(targets)}


def test_doctor_finds_copies_that_no_location_covers(tmp_path: Path) -> None:
    """Hidden sheets and files beside it with the same columns, backups, one sheet in two ways."""
    path = yearly(tmp_path / "a.xlsx", hidden="2023")
    yearly(tmp_path / "a (conflicted copy 2024-05-01).xlsx")
    (tmp_path / "export.csv").write_text("key;received;name;email\nA;2024-01-01;x;y\n")
    (tmp_path / "other.csv").write_text("something;else\n1;2\n")
    (tmp_path / "a.xlsx.bak").write_bytes(b"old")
    Workbook().save(tmp_path / "empty.xlsx")
    said = findings(path, location(sheet="2024"))
    wrong = {check for check, probe in said.items() if not probe.ok}
    assert wrong == {
        "sheet 2022",
        "sheet 2023",
        "copy a (conflicted copy 2024-05-01).xlsx",
        "copy export.csv",
        "copy a.xlsx.bak",
    }
    assert "hidden" in said["sheet 2023"].detail
    assert "sheet 2023" not in findings(path, YEARS)
    both = findings(path, YEARS, location(sheet="2024"))
    assert "two keys" in both["sheet 2024"].detail


# --- headers -------------------------------------------------------------------------------------


def book(path: Path, *rows: tuple[object, ...], merge: str = "") -> Path:
    made = Workbook()
    for row in rows:
        made.active.append(row)
    if merge:
        made.active.merge_cells(merge)
    made.save(path)
    return path


ROW = line("K1", 2024, "Given One")


@pytest.mark.parametrize(
    ("header", "hint"),
    [
        (("key", "received", "name", "E-Mail"), "spelling"),
        (("key", "received", "Name", "EMail "), "'Name'"),
        (("key", "received", "na\u00a0me", "email"), "spelling"),
        (("key", "received", "email", "phone"), "spelling"),
    ],
)
def test_a_renamed_column_stops_with_a_hint(
    tmp_path: Path, header: tuple[str, ...], hint: str
) -> None:
    """Another spelling is no match, also where only case or spaces differ; the hint says so."""
    path = book(tmp_path / "a.xlsx", header, ROW)
    before = path.read_bytes()
    with pytest.raises(PermanentFailure, match="no column") as caught:
        found(path, location())
    assert hint in caught.value.hint
    assert caught.value.place == "c/rows"
    assert path.read_bytes() == before


def test_columns_may_move_and_have_spaces_around_them(tmp_path: Path) -> None:
    """Columns are known by name, wherever they stand; blanks at the ends do not count."""
    header = ("email\u00a0", " received ", "key", "name")
    path = book(tmp_path / "a.xlsx", header, ("k1@example.org", ROW[1], "K1", "Given One"))
    record = found(path, location())["K1"]
    assert record.fields == {"name": "Given One", "email": "k1@example.org"}
    assert erase(path, location(), ["K1"]) == {"K1": DONE}


def test_a_header_that_says_a_name_twice_stops(tmp_path: Path) -> None:
    """Nobody knows which of the two is meant."""
    path = book(tmp_path / "a.xlsx", (*HEADER, "email"), (*ROW, "x"))
    with pytest.raises(PermanentFailure) as caught:
        found(path, location())
    assert caught.value.code == "header_twice"


def test_merged_cells_in_the_header(tmp_path: Path) -> None:
    """A name over two columns names the first; what stands in the second protects its row."""
    path = book(
        tmp_path / "a.xlsx", (*HEADER, None), (*ROW, "x"), line("K2", 2024, "b"), merge="D1:E1"
    )
    assert erase(path, location(), ["K1", "K2"]) == {
        "K1": (Result.FAILED_PERMANENT, "cells_beside"),
        "K2": DONE,
    }


def test_a_header_further_down_is_named_in_the_hint(tmp_path: Path) -> None:
    """Titles above the names are usual; where the names stand is said."""
    path = book(tmp_path / "a.xlsx", ("Customers",), ("2024",), HEADER, ROW)
    with pytest.raises(PermanentFailure, match="no column") as caught:
        found(path, location())
    assert "header: 3" in caught.value.hint
    assert list(found(path, location(header=3))) == ["K1"]


# --- dates ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["1.2.24", "01/02/2024", "2024-02-30", "12:30", "2024", "1 Feb 2024", "tomorrow", "0"]
)
def test_a_text_that_can_be_read_in_two_ways_is_no_date(text: str) -> None:
    """What is not sure is never due."""
    assert from_text(text) is None


def test_dates_of_a_workbook(tmp_path: Path) -> None:
    """Serial numbers, times alone, ISO cells, text by its format; all else is reported undated."""
    made = Workbook(iso_dates=True)
    made.active.append(HEADER)
    cells = (
        45_352.5,
        0.5,
        -3,
        9_999_999,
        dt.date(2024, 3, 1),
        dt.time(10, 30),
        "x",
        True,
    )
    for n, value in enumerate(cells):
        made.active.append((f"K{n}", value, "a", "b"))
    made.save(tmp_path / "a.xlsx")
    dates = [r.dates["received"] for r in found(tmp_path / "a.xlsx", location()).values()]
    day = dt.date(2024, 3, 1)
    assert dates == [day, None, None, None, day, None, None, None]
    path = book(tmp_path / "b.xlsx", HEADER, ("K1", "03/01/2024", "a", "b"))
    target = location(date_format="%m/%d/%Y")
    assert found(path, target)["K1"].dates["received"] == day


def test_settings_refuse_what_makes_no_sense() -> None:
    """An empty list of sheets, an encoding that nobody knows."""
    bad: list[dict[str, object]] = [{"sheet": []}, {"encoding": "klingon"}, {"encoding": "utf-7"}]
    for wrong in bad:
        with pytest.raises(ValidationError):
            SpreadsheetLocation.model_validate({"key": "key", **wrong})
    assert SpreadsheetLocation(key="k", encoding="latin-1").encoding == "iso8859-1"


def test_a_ref_without_a_sheet_is_refused(tmp_path: Path) -> None:
    """A location that was made wider finds its rows anew; old keys act on nothing."""
    path = yearly(tmp_path / "a.xlsx")
    (outcome,) = session(path).erase(YEARS, [Ref("2024", "K1", "x")])
    assert (outcome.key, outcome.code) == ("K1", "no_sheet")
    assert values(path, "2024")[1][0] == "K1"


# --- the same file twice --------------------------------------------------------------------------

TWICE = """
organisation: {{name: Fjellvik Verksted, country: NO, timezone: Europe/Oslo}}
systems:
  office: {{connector: spreadsheet, path: ../office/leads.xlsx}}
  cloud: {{connector: spreadsheet, path: ../cloud/leads.xlsx}}
clusters:
  leads:
    purpose: answering enquiries
    basis: legitimate_interest
    locations:
      office: {{system: office, key: key, dates: {{received: received}}, subject: {{email: email}}}}
      cloud: {{system: cloud, key: key, dates: {{received: received}}, subject: {{email: email}}}}
"""
YEARLY = """
  leads-yearly:
    applies_to: leads
    starting_point: received
    delete_at_latest: 1 year
    then: delete
    schedule: "0 3 * * *"
"""


def test_a_copy_in_a_synchronised_folder_is_a_second_location(tmp_path: Path) -> None:
    """One decision reaches both; while one of them is open, its row stays and is tried again."""
    shop = Shop(tmp_path)
    for place in ("office", "cloud"):
        (tmp_path / place).mkdir()
        book(tmp_path / place / "leads.xlsx", HEADER, line("K1", 2024, "a"), line("K2", 2026, "b"))
    office, cloud = tmp_path / "office/leads.xlsx", tmp_path / "cloud/leads.xlsx"
    shop.write(YEARLY, head=TWICE)
    shop.approve("leads-yearly")
    lock = cloud.with_name("~$leads.xlsx")
    lock.write_text("somebody")
    assert shop.run("leads-yearly").exit_code is not ExitCode.OK
    assert [row[0] for row in values(office)] == ["key", "K2"]
    assert [row[0] for row in values(cloud)] == ["key", "K1", "K2"]
    lock.unlink()
    for _ in range(2):
        shop.clock.forward(days=1)
        shop.daemon_once()
    assert [row[0] for row in values(cloud)] == ["key", "K2"]
