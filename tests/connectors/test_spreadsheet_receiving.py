"""Copies of records come into a sheet: one row each, below the last, and nothing else changes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl import Workbook, load_workbook
from openpyxl.styles import Font, NamedStyle
from openpyxl.worksheet.table import Table, TableStyleInfo
from pydantic import SecretStr

from retention.connectors.base import Arrival, Opened, Result, Target, Value
from retention.connectors.spreadsheet import exchange, replace
from retention.connectors.spreadsheet.connector import Spreadsheet
from retention.connectors.spreadsheet.dates import from_text, to_serial, to_text
from retention.connectors.spreadsheet.settings import SpreadsheetSystem
from retention.errors import ConnectorError, PermanentFailure, TemporaryFailure
from tests.connectors import ods_files
from tests.connectors.spreadsheet_rich import TOTAL, rich
from tests.connectors.spreadsheet_sessions import FIELDS, erase, found, location, parts
from tests.connectors.test_spreadsheet_files import PASSWORD, sealed
from tests.servers.libreoffice import LibreOffice

RECEIVED = (Result.RECEIVED, "")
HEADER = ("key", "received", "name", "email")
WHEN = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
"""Past midnight in Oslo: the second of March there."""
DAY = date(2026, 3, 2)
FORMS = ["a.xlsx", "a.ods", "a.csv"]


def session(path: Path, password: str | None = None) -> Spreadsheet:
    secret = SecretStr(password) if password is not None else None
    system = SpreadsheetSystem(path=path.name, password=secret)
    return Spreadsheet(Opened("test", system, str(path.parent), {"timezone": "Europe/Oslo"}))


def receive(
    path: Path,
    values: Mapping[str, Mapping[str, Value]],
    password: str | None = None,
    **settings_: Any,
) -> dict[str, tuple[Result, str]]:
    """Result and code by key of copies with these values."""
    arrivals = [Arrival(key, given_) for key, given_ in values.items()]
    said = session(path, password).receive(location(**settings_), arrivals)
    return {o.key: (o.result, o.code) for o in said}


def person(n: int = 1, when: Value = WHEN) -> dict[str, Value]:
    return {"received": when, "name": f"Name {n}", "email": f"n{n}@example.org"}


def made(folder: Path, name: str, rows: Sequence[Sequence[object]]) -> Path:
    """A file of this form with a header and rows."""
    path = folder / name
    if path.suffix == ".csv":
        lines = [";".join("" if v is None else str(v) for v in row) for row in [HEADER, *rows]]
        path.write_text("\r\n".join(lines) + "\r\n", encoding="utf-8")
    elif path.suffix == ".ods":
        ods_files.write(path, ods_files.document(ods_files.table_of([HEADER, *rows], "Rows")))
    else:
        book = Workbook()
        for row in [HEADER, *rows]:
            book.active.append(list(row))
        book.save(path)
    return path


def rows_of(path: Path) -> list[tuple[object, ...]]:
    """All rows of the first sheet, by openpyxl."""
    book = load_workbook(path)
    rows = list(book.worksheets[0].iter_rows(values_only=True))
    book.close()
    return rows


OLD = [("K1", date(2024, 1, 1), "Given1", "x@example.org"), ("K2", date(2024, 1, 2), "G2", None)]


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("old", [[], OLD], ids=["empty", "filled"])
def test_copies_stand_below_the_last_record(tmp_path: Path, name: str, old: list[Any]) -> None:
    """Each key once, also when it is sent again or twice at once; the old rows are the same."""
    path = made(tmp_path, name, old)
    before = found(path, location())
    copies = {f"C{n}": person(n) for n in range(3)}
    assert receive(path, copies) == dict.fromkeys(copies, RECEIVED)
    bytes_ = path.read_bytes()
    assert receive(path, copies) == dict.fromkeys(copies, RECEIVED)
    assert path.read_bytes() == bytes_
    twice = [Arrival("C9", person(9)), Arrival("C1", person(1)), Arrival("C9", person(9))]
    said = list(session(path).receive(location(), twice))
    assert [(o.key, o.result) for o in said] == [(a.key, Result.RECEIVED) for a in twice]
    records = found(path, location())
    assert list(records) == [*before, "C0", "C1", "C2", "C9"]
    assert {k: records[k] for k in before} == before
    assert dict(records["C1"].fields) == {"name": "Name 1", "email": "n1@example.org"}
    assert records["C1"].dates["received"] == DAY
    # What came can go again.
    assert erase(path, location(), ["C1"]) == {"C1": (Result.DISPOSED, "")}


def test_the_rest_of_a_workbook_is_the_same_byte_for_byte(tmp_path: Path) -> None:
    """Only rows are added, in the sheet's own part; the range in use reaches over them."""
    path = made(tmp_path, "a.xlsx", OLD)
    before = parts(path)
    receive(path, {"C1": person(), "C2": person(2)})
    after = parts(path)
    assert list(before) == list(after)
    assert [name for name in before if before[name] != after[name]] == ["xl/worksheets/sheet1.xml"]
    sheet = after["xl/worksheets/sheet1.xml"]
    added = re.sub(rb'<row r="[45]".*?</row>', b"", sheet).replace(b"A1:D5", b"A1:D3")
    assert added == before["xl/worksheets/sheet1.xml"]
    assert b'ref="A1:D5"' in sheet


def test_a_row_looks_like_the_one_above(tmp_path: Path) -> None:
    """Styles come from the last record, so that a date is a date and is shown as one."""
    book = Workbook()
    sheet = book.active
    sheet.append([*HEADER, "seen", "note", "typed"])
    sheet.append(["K1", date(2024, 1, 1), "G", "x", "", "n", "2024-01-01"])
    sheet["C2"].font = Font(bold=True)
    sheet["B2"].number_format = r"[$-409]d\-mmm\-yyyy;@"
    sheet["E2"].number_format = "yyyy-mm-dd hh:mm"
    sheet["F2"].style = NamedStyle("loud", font=Font(italic=True))
    path = tmp_path / "a.xlsx"
    book.save(path)
    dates = ("received", "seen", "typed")
    values = {**person(), "seen": WHEN, "typed": WHEN}
    assert receive(path, {"C1": values}, dates=dates) == {"C1": RECEIVED}
    sheet = load_workbook(path).active
    assert sheet["B3"].value == datetime(2026, 3, 2)  # noqa: DTZ001 - as openpyxl gives it
    assert sheet["B3"].number_format == sheet["B2"].number_format
    assert sheet["E3"].value == datetime(2026, 3, 2, 0, 30)  # noqa: DTZ001
    assert sheet["G3"].value == "2026-03-02"
    assert sheet["C3"].font.b
    assert sheet["F3"].font.i
    assert sheet["F3"].value is None
    assert dict(found(path, location(dates=dates))["C1"].dates) == dict.fromkeys(dates, DAY)


def test_the_other_calendar_is_kept(tmp_path: Path) -> None:
    """In a workbook that counts from 1904 the serial is another, and the day the same."""
    path = tmp_path / "a.xlsx"
    book = Workbook()
    book.epoch = datetime(1904, 1, 1)  # noqa: DTZ001 - a calendar of days
    book.active.append(HEADER)
    book.active.append(["K1", date(2024, 1, 1), "G", "x"])
    book.save(path)
    values = {"C1": person(when=date(2025, 2, 28)), "C2": person(when=date(1899, 1, 1))}
    assert receive(path, values) == {"C1": RECEIVED, "C2": RECEIVED}
    records = found(path, location())
    assert [r.dates["received"] for r in records.values()][1:] == [
        date(2025, 2, 28),
        date(1899, 1, 1),
    ]
    assert rows_of(path)[3][1] == "1899-01-01"


@given(st.dates(date(1850, 1, 1)), st.booleans())
@settings(deadline=None, max_examples=200)
def test_a_serial_is_read_as_the_same_day_or_not_written(day: date, since_1904: bool) -> None:
    """The reader's own inverse; no serial where programs disagree."""
    from retention.connectors.spreadsheet.dates import from_serial

    serial = to_serial(day, since_1904=since_1904)
    if serial is not None:
        assert from_serial(serial, since_1904=since_1904) == day
    else:
        assert day < date(1904, 1, 2)


@pytest.mark.parametrize(
    ("above", "date_format", "expected"),
    [
        ("", None, "2026-03-02 00:30"),
        ("2024-01-01", None, "2026-03-02"),
        ("2024-01-01 10:00", None, "2026-03-02 00:30"),
        ("2024-01-01T10:00:00", None, "2026-03-02T00:30"),
        ("2024-01-01T10:00:00Z", None, "2026-03-01T23:30:00Z"),
        ("1.3.2024", None, "2.3.2026"),
        ("01.03.2024", None, "02.03.2026"),
        ("01.03.2024 08:15", None, "02.03.2026 00:30"),
        ("somewhen", None, "2026-03-02 00:30"),
        ("1.3.2024", "%d/%m/%Y", "02/03/2026"),
    ],
)
def test_text_dates_are_written_as_the_column_shows_them(
    above: str, date_format: str | None, expected: str
) -> None:
    """And are read back as the same day, or the same instant where they name one."""
    from zoneinfo import ZoneInfo

    text = to_text(WHEN.astimezone(ZoneInfo("Europe/Oslo")), above, date_format)
    assert text == expected
    assert from_text(text, date_format) in (DAY, WHEN)


@pytest.mark.parametrize("name", FORMS)
def test_a_date_format_holds_for_what_is_written(tmp_path: Path, name: str) -> None:
    """Where the policy says how dates are written as text, text is written so."""
    path = made(tmp_path, name, [])
    assert receive(path, {"C1": person()}, date_format="%d/%m/%Y") == {"C1": RECEIVED}
    assert found(path, location(date_format="%d/%m/%Y"))["C1"].dates["received"] == DAY
    if name == "a.xlsx":
        assert rows_of(path)[1][1] == "02/03/2026"


TRAPS = [
    *("=1+1", "+4791234567", "@x", "'quoted", "007", "1.5", "a\nb\n\nc", " pad ", "a_x", "]]>"),
    *("<b>&amp;</b>", "tab\tin", "=cmd|' /C calc'!A0", "0x1F", "TRUE", "2024-01-01", "🗝 æ"),
    *("x\u2028y", "#REF!", "{=1}", "x" * 32_767),
]


@pytest.mark.parametrize("name", ["a.xlsx", "a.ods"])
def test_text_is_written_as_text(tmp_path: Path, name: str) -> None:
    """Never as a formula, a number or a date, whatever it looks like."""
    path = made(tmp_path, name, OLD)
    copies = {f"C{n}": {**person(), "name": text} for n, text in enumerate(TRAPS)}
    assert receive(path, copies) == dict.fromkeys(copies, RECEIVED)
    records = found(path, location())
    assert [records[key].fields["name"] for key in copies] == TRAPS
    if name == "a.xlsx":
        sheet = load_workbook(path).active
        cells = [row[2] for row in sheet.iter_rows(min_row=4)]
        # What an error looks like, openpyxl takes for one.
        assert {c.data_type for c in cells if c.value != "#REF!"} == {"s"}
        assert [cell.value for cell in cells] == TRAPS


def test_what_looks_like_a_code_is_text_in_a_workbook(tmp_path: Path) -> None:
    """There `_x0041_` could be read as a letter, and is written so that it is not."""
    path = made(tmp_path, "a.xlsx", OLD)
    said = {**person(), "name": "_x0041_ _x_x0042_", "email": "_x005F_"}
    assert receive(path, {"C1": said}) == {"C1": RECEIVED}
    record = found(path, location())["C1"]
    assert record.fields == {"name": said["name"], "email": said["email"]}
    assert b"_x005F_x0041_ _x_x005F_x0042_" in parts(path)["xl/worksheets/sheet1.xml"]


def test_csv_takes_no_formulas(tmp_path: Path) -> None:
    """Of what a spreadsheet program would compute only that record is refused."""
    path = made(tmp_path, "a.csv", OLD)
    copies = {f"C{n}": {**person(), "name": text} for n, text in enumerate(TRAPS)}
    said = receive(path, copies)
    refused = [TRAPS[n] for n in range(len(TRAPS)) if said[f"C{n}"] != RECEIVED]
    assert refused == ["=1+1", "@x", "=cmd|' /C calc'!A0"]
    assert {said[f"C{n}"] for n in (0, 2)} == {(Result.FAILED_PERMANENT, "formula")}
    records = found(path, location())
    assert [records[k].fields["name"] for k in copies if k in records] == [
        text for text in TRAPS if text not in refused
    ]
    phone = {"C99": {**person(), "name": "+47 912 34 567"}}
    assert receive(path, phone) == {"C99": RECEIVED}


@pytest.mark.parametrize("name", FORMS)
def test_what_no_cell_can_hold_refuses_that_record_only(tmp_path: Path, name: str) -> None:
    """Control characters, and text that programs would cut off."""
    path = made(tmp_path, name, OLD)
    copies: dict[str, dict[str, Value]] = {
        "C1": {**person(), "name": "bell\x07"},
        "C2": {**person(), "name": "x" * 32_768},
        "C3": {**person(), "name": "\ud800"},
        "C4": person(),
        "C5\x00": person(),
        " ": person(),
    }
    control = (Result.FAILED_PERMANENT, "control_characters")
    assert receive(path, copies) == {
        "C1": control,
        "C2": (Result.FAILED_PERMANENT, "too_long"),
        "C3": control,
        "C4": RECEIVED,
        "C5\x00": control,
        " ": (Result.FAILED_PERMANENT, "no_key"),
    }
    assert list(found(path, location())) == ["K1", "K2", "C4"]


@given(
    name=st.sampled_from(FORMS),
    texts=st.lists(st.text(st.characters(codec="utf-8"), max_size=30), min_size=1, max_size=8),
)
@settings(deadline=None, max_examples=60)
def test_whatever_is_received_reads_back(
    tmp_path_factory: pytest.TempPathFactory, name: str, texts: list[str]
) -> None:
    """Any text is either there as it was, but for its line ends, or refused with a code."""
    path = made(tmp_path_factory.mktemp("any"), name, OLD)
    copies = {f"C{n}": {**person(), "name": text} for n, text in enumerate(texts)}
    said = receive(path, copies)
    records = found(path, location())
    for (key, (result, code)), text in zip(said.items(), texts, strict=True):
        if result is Result.RECEIVED:
            lines = text.replace("\r\n", "\n").replace("\r", "\n")
            assert (records[key].fields["name"] or "") == (lines if text.strip() else "")
        else:
            assert code in {"control_characters", "formula"}
            assert key not in records


@pytest.mark.parametrize("name", FORMS)
def test_numbers_stay_numbers_and_names_of_digits_stay_text(tmp_path: Path, name: str) -> None:
    """A phone number or post code that comes as text keeps its zeros."""
    path = made(tmp_path, name, OLD)
    values: dict[str, Value] = {"name": "0047 22", "email": 12.0}
    assert receive(path, {"C1": values, "C2": {"name": "0150", "email": 10**17}}) == {
        "C1": RECEIVED,
        "C2": RECEIVED,
    }
    records = found(path, location())
    assert records["C1"].fields["name"] == "0047 22"
    assert str(records["C1"].fields["email"]) == "12"
    assert records["C2"].fields["name"] == "0150"
    assert records["C2"].fields["email"] == str(10**17)


def test_a_missing_column_refuses_everything(tmp_path: Path) -> None:
    """With the name of the column, and what to do."""
    path = made(tmp_path, "a.xlsx", OLD)
    before = path.read_bytes()
    with pytest.raises(PermanentFailure, match="no column 'phone'") as told:
        receive(path, {"C1": {"phone": "1"}})
    assert "copy_to" in told.value.hint
    with pytest.raises(PermanentFailure, match="is the key"):
        receive(path, {"C1": {"key": "mine"}})
    assert path.read_bytes() == before


def test_several_sheets_take_nothing(tmp_path: Path) -> None:
    """Where a pattern or a list covers sheets, nothing says into which one a copy goes."""
    path = made(tmp_path, "a.xlsx", OLD)
    before = path.read_bytes()
    for sheet in ("She*", ["Sheet"]):
        said = receive(path, {"C1": person()}, sheet=sheet)
        assert said == {"C1": (Result.FAILED_PERMANENT, "several_sheets")}
    assert path.read_bytes() == before


# --- what stands around the records --------------------------------------------------------------


def listed(folder: Path, *, rows: int = 2, extra: int = 0, totals: bool = False) -> Path:
    """A workbook with an Excel table, and a computed column in it."""
    book = Workbook()
    sheet = book.active
    sheet.append([*HEADER, "length"])
    for n in range(rows):
        at = n + 2
        sheet.append([f"K{n}", date(2024, 1, 1), f"G{n}", "x", f"=LEN(C{at})"])
    for _ in range(extra):
        sheet.append([None, None, None, None, None])
    if totals:
        sheet.append([None, None, None, None, f"=SUBTOTAL(109,E2:E{rows + 1})"])
    end = 1 + rows + extra + totals
    table = Table(displayName="Leads", ref=f"A1:E{end}")
    table.tableStyleInfo = TableStyleInfo(name="TableStyleMedium2", showRowStripes=True)
    table._initialise_columns()
    for column, cell in zip(table.tableColumns, sheet[1], strict=True):
        column.name = str(cell.value)
    if totals:
        table.totalsRowCount = 1
    sheet.add_table(table)
    path = folder / "t.xlsx"
    book.save(path)
    return path


def test_a_table_grows_over_the_new_rows(tmp_path: Path) -> None:
    """With its filter; a computed column is left empty in the new row."""
    path = listed(tmp_path)
    assert receive(path, {"C1": person(), "C2": person(2)}) == {"C1": RECEIVED, "C2": RECEIVED}
    sheet = load_workbook(path).active
    assert sheet.tables["Leads"].ref == "A1:E5"
    assert sheet.tables["Leads"].autoFilter.ref == "A1:E5"
    assert [sheet[f"A{n}"].value for n in range(1, 6)] == ["key", "K0", "K1", "C1", "C2"]
    assert sheet["E4"].value is None


def test_empty_rows_of_a_table_are_filled_first(tmp_path: Path) -> None:
    """The table is as large as it was while it has room."""
    path = listed(tmp_path, extra=3)
    receive(path, {"C1": person(), "C2": person(2)})
    sheet = load_workbook(path).active
    assert sheet.tables["Leads"].ref == "A1:E6"
    assert [sheet[f"A{n}"].value for n in range(3, 7)] == ["K1", "C1", "C2", None]


def test_a_row_of_totals_is_never_overwritten(tmp_path: Path) -> None:
    """In a table, in the key column, or as a remark below: refused, and said where it stands."""
    paths = [listed(tmp_path, totals=True)]
    for n, below in enumerate([(), ("Sum", "=SUM(B2:B4)"), (None, None, "Ask Kari first")]):
        if below:
            paths.append(tmp_path / f"f{n}.xlsx")
            book = Workbook()
            for row in [HEADER, *(("K1", n, "G", "x") for n in range(3)), below]:
                book.active.append(row)
            book.save(paths[-1])
    paths.append(made(tmp_path, "a.ods", [*OLD, (None, None, "Ask Kari first")]))
    paths.append(made(tmp_path, "a.csv", [*OLD, (None, None, "Ask Kari first")]))
    for path in paths:
        before = path.read_bytes()
        with pytest.raises(PermanentFailure) as told:
            receive(path, {"C1": person()})
        assert told.value.code in ("totals_row", "below_records")
        assert told.value.hint
        assert told.value.place
        assert path.read_bytes() == before


@pytest.mark.parametrize("name", FORMS)
def test_a_remark_in_the_key_column_is_no_record(tmp_path: Path, name: str) -> None:
    """It stands alone, below a gap. A row with more in it, or a date, is a record there too."""
    gap: list[tuple[object, ...]] = [(None, None, None, None)]
    path = made(tmp_path, name, [*OLD, *gap, ("All here are members", None, None, None)])
    before = path.read_bytes()
    with pytest.raises(PermanentFailure, match="row 5 stands below"):
        receive(path, {"C1": person()})
    assert path.read_bytes() == before
    path = made(tmp_path, name, [*OLD, *gap, ("K3", None, "G3", None)])
    assert receive(path, {"C1": person()}) == {"C1": RECEIVED}
    assert list(found(path, location())) == ["K1", "K2", "K3", "C1"]


def test_below_a_table_there_may_be_room(tmp_path: Path, libreoffice: LibreOffice) -> None:
    """Everything that a workbook can hold: one row fits above the total, two do not."""
    path = rich(tmp_path / "r.xlsm")
    before = parts(path)
    here: dict[str, Any] = {"sheet": "Offers", "fields": FIELDS}
    with pytest.raises(PermanentFailure, match=f"row {TOTAL} stands below"):
        receive(path, {"C1": person(), "C2": person(2)}, **here)
    assert receive(path, {"C1": person()}, **here) == {"C1": RECEIVED}
    after = parts(path)
    assert list(after) == list(before)
    changed = {name for name in before if before[name] != after[name]}
    tables = {name for name in before if name.startswith("xl/tables/")}
    sheets = {f"xl/worksheets/sheet{n}.xml" for n in (1, 2, 4)}
    assert changed - {"xl/workbook.xml"} == tables | sheets
    assert f'ref="A1:F{TOTAL - 1}"'.encode() in after[tables.pop()]
    new = re.search(rb'<row r="%d".*?</row>' % (TOTAL - 1), after["xl/worksheets/sheet1.xml"])
    assert new is not None
    assert b"C1" in new[0]
    assert b"<f" not in new[0]
    with libreoffice.open(path) as book:
        shown = book.get("Offers", f"A{TOTAL - 2}:D{TOTAL - 1}")
    assert [row[0] for row in shown] == ["K019", "C1"]
    assert shown[1][2:] == ["Name 1", "n1@example.org"]


def test_a_record_without_a_key_is_no_remark(tmp_path: Path) -> None:
    """Somebody typed a lead by hand and gave it no key: it has a date, and stays above."""
    for name in FORMS:
        path = made(tmp_path, name, [*OLD, (None, "2024-02-02", "By hand", None)])
        assert receive(path, {"C1": person()}) == {"C1": RECEIVED}
        assert [r.fields["name"] for r in found(path, location()).values()] == [
            "Given1",
            "G2",
            "By hand",
            "Name 1",
        ]


def test_formulas_prepared_below_are_kept(tmp_path: Path) -> None:
    """Somebody dragged a formula down: the new row takes its place beside it."""
    book = Workbook()
    sheet = book.active
    sheet.append([*HEADER, "long"])
    sheet.append(["K1", date(2024, 1, 1), "G", "x", "=LEN(C2)"])
    for n in range(3, 6):
        sheet[f"E{n}"] = f'=IF(C{n}="","",LEN(C{n}))'
    path = tmp_path / "a.xlsx"
    book.save(path)
    assert receive(path, {"C1": person()}) == {"C1": RECEIVED}
    rows = rows_of(path)
    assert rows[2][0] == "C1"
    assert rows[2][4] == '=IF(C3="","",LEN(C3))'
    assert [row[4] for row in rows[3:]] == [f'=IF(C{n}="","",LEN(C{n}))' for n in (4, 5)]
    with pytest.raises(PermanentFailure, match="computes a column"):
        receive(path, {"C2": {**person(), "long": 3}})


def test_stored_totals_are_computed_anew(tmp_path: Path, libreoffice: LibreOffice) -> None:
    """A sum over the whole column, on this sheet or another, shows the new rows too."""
    book = Workbook()
    sheet = book.active
    sheet.append([*HEADER, "amount"])
    sheet.append(["K1", date(2024, 1, 1), "G", "x", 5])
    sheet["H1"] = "=SUM(E:E)"
    book.create_sheet("Sums")["A1"] = "=SUM(Sheet!E:E)"
    book.save(tmp_path / "plain.xlsx")
    path = tmp_path / "a.xlsx"
    here = {"sheet": "Sheet"}
    with libreoffice.open(tmp_path / "plain.xlsx") as shown:
        shown.save(path, "Calc MS Excel 2007 XML")
    assert b"<v>5</v>" in parts(path)["xl/worksheets/sheet2.xml"]
    assert receive(path, {"C1": {**person(), "amount": 37}}, **here) == {"C1": RECEIVED}
    assert b"<v>5</v>" not in parts(path)["xl/worksheets/sheet2.xml"]
    with libreoffice.open(path) as shown:
        shown.save(tmp_path / "again.xlsx", "Calc MS Excel 2007 XML")
    again = load_workbook(tmp_path / "again.xlsx", data_only=True)
    assert again["Sums"]["A1"].value == 42
    assert again.worksheets[0]["H1"].value == 42


@pytest.mark.parametrize("name", ["a.xlsx", "a.ods"])
def test_libreoffice_shows_what_came(tmp_path: Path, libreoffice: LibreOffice, name: str) -> None:
    """The office program opens the result, and formats dates like those above."""
    path = made(tmp_path, name, OLD)
    receive(path, {"C1": {**person(), "name": "=1+1"}, "C2": person(2)})
    sheet = "Rows" if name == "a.ods" else "Sheet"
    with libreoffice.open(path) as book:
        shown = book.get(sheet, "A3:D6")
        book.save(tmp_path / "again.csv", "Text - txt - csv (StarCalc)")
    assert [row[0] for row in shown] == ["K2", "C1", "C2", ""]
    assert [row[3] for row in shown[1:3]] == ["n1@example.org", "n2@example.org"]
    lines = (tmp_path / "again.csv").read_text().splitlines()
    assert lines[2].count("2024") == 1
    assert [line.split(",")[2] for line in lines[3:5]] == ["=1+1", "Name 2"]
    assert all("2026" in line.split(",")[1] for line in lines[3:5])


def test_a_document_keeps_its_number_of_rows(tmp_path: Path) -> None:
    """New rows take the place of empty ones, so that nothing is pushed off the sheet."""
    path = made(tmp_path, "a.ods", OLD)
    receive(path, {f"C{n}": person(n) for n in range(5)})
    text = parts(path)["content.xml"]
    assert b'number-rows-repeated="1047995"' in text
    assert text.count(b"<table:table-row>") == 8


@pytest.mark.parametrize("end", ["", "\n"])
def test_csv_keeps_its_dialect(tmp_path: Path, end: str) -> None:
    """Mark, delimiter, quoting and line ends are those of the file; its bytes are its beginning."""
    path = tmp_path / "a.csv"
    old = '"key"\t"received"\tname\temail\n"K1"\t"1.2.2024"\tÆ\t"x"'
    path.write_text("\ufeff" + old + end, encoding="utf-16-le")
    copies = {"C1": {**person(), "name": 'tab\t"and" æ'}, "C2": person(2)}
    assert receive(path, copies) == {"C1": RECEIVED, "C2": RECEIVED}
    text = path.read_bytes().decode("utf-16-le")
    assert text == (
        f'\ufeff{old}\n"C1"\t"2.3.2026"\t"tab\t""and"" æ"\t"n1@example.org"\n'
        '"C2"\t"2.3.2026"\tName 2\t"n2@example.org"\n'
    )


def test_what_the_encoding_cannot_hold_is_refused(tmp_path: Path) -> None:
    """A file in Windows-1252 stays one."""
    path = tmp_path / "a.csv"
    path.write_bytes("key;received;name;email\nK1;2024-01-01;Ærø;x\n".encode("cp1252"))
    said = receive(path, {"C1": {**person(), "name": "日本"}, "C2": {**person(), "name": "Ålo"}})
    assert said == {"C1": (Result.FAILED_PERMANENT, "encoding"), "C2": RECEIVED}
    assert "Ålo".encode("cp1252") in path.read_bytes()


# --- saving --------------------------------------------------------------------------------------


def test_a_workbook_that_is_open_takes_nothing_now(tmp_path: Path) -> None:
    """Excel's lock file puts it off; the file stays as it was, and takes the row later."""
    path = made(tmp_path, "a.xlsx", OLD)
    before = path.read_bytes()
    lock = path.with_name(f"~${path.name}")
    lock.write_bytes(b"somebody")
    with pytest.raises(TemporaryFailure, match="open in another program"):
        receive(path, {"C1": person()})
    lock.unlink()
    assert path.read_bytes() == before
    assert receive(path, {"C1": person()}) == {"C1": RECEIVED}


@pytest.mark.parametrize("name", FORMS)
def test_a_save_meanwhile_is_not_lost(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Theirs stands; the copies come at the next try."""
    path = made(tmp_path, name, OLD)
    theirs = made(tmp_path, f"b{name}", [*OLD, ("K3", date(2024, 1, 3), "Theirs", None)])
    swap = exchange.exchange

    def saved_just_before(one: Path, other: Path) -> bool:
        if theirs.exists():
            theirs.replace(path)
        return swap(one, other)

    monkeypatch.setattr(replace, "exchange", saved_just_before)
    with pytest.raises(TemporaryFailure, match="changed or opened"):
        receive(path, {"C1": person()})
    assert list(found(path, location())) == ["K1", "K2", "K3"]
    assert receive(path, {"C1": person()}) == {"C1": RECEIVED}
    assert list(found(path, location())) == ["K1", "K2", "K3", "C1"]
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_password_and_mode_stay(tmp_path: Path) -> None:
    """The result is encrypted and as private as it was."""
    path = sealed(made(tmp_path, "a.xlsx", OLD))
    path.chmod(0o640)
    assert receive(path, {"C1": person()}, PASSWORD) == {"C1": RECEIVED}
    assert path.read_bytes()[:2] != b"PK"
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(found(path, location(), PASSWORD)) == ["K1", "K2", "C1"]


KILL = """
import os, sys
from pathlib import Path
from retention.connectors.spreadsheet import {module} as module
from tests.connectors.test_spreadsheet_receiving import PASSWORD, person, receive
real = module.{name}
def killed(*said, **more):
    out = real(*said, **more) if {after} else None
    os.kill(os.getpid(), 9)
module.{name} = killed
receive(Path({path!r}), {{"C1": person()}}, PASSWORD)
"""


@pytest.mark.parametrize(
    ("module", "name", "after", "there"),
    [
        ("rewriting", "encrypt", False, False),
        ("replace", "exchange", False, False),
        ("replace", "exchange", True, True),
        ("replace", "_sync_folder", False, True),
    ],
)
def test_killed_anywhere_the_row_is_there_once_or_not_at_all(
    tmp_path: Path, module: str, name: str, after: bool, there: bool
) -> None:
    """Nothing plain is left beside it, and the next try ends what was begun."""
    path = sealed(made(tmp_path, "a.xlsx", OLD))
    code = KILL.format(module=module, name=name, after=after, path=str(path))
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        check=False,
        capture_output=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert all(left.read_bytes()[:2] != b"PK" for left in tmp_path.iterdir())
    assert ("C1" in found(path, location(), PASSWORD)) is there
    assert receive(path, {"C1": person()}, PASSWORD) == {"C1": RECEIVED}
    assert list(found(path, location(), PASSWORD)) == ["K1", "K2", "C1"]
    assert [left.name for left in tmp_path.iterdir()] == ["a.xlsx"]


def test_a_result_that_reads_back_otherwise_is_thrown_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new file is proved before it replaces the old one."""
    from retention.connectors.spreadsheet.addcsv import CsvAddition
    from retention.connectors.spreadsheet.addods import OdsAddition
    from retention.connectors.spreadsheet.addsheet import SheetAddition

    kinds: list[Any] = [SheetAddition, OdsAddition, CsvAddition]
    for kind, name in zip(kinds, FORMS, strict=True):
        path = made(tmp_path, name, OLD)
        before = path.read_bytes()
        write = kind.write

        def spoiled(self: Any, out: Any, rows: Any, write: Any = write) -> Any:
            return write(
                self, out, {n: raw.replace(b"Name 1", b"Eman 1") for n, raw in rows.items()}
            )

        monkeypatch.setattr(kind, "write", spoiled)
        with pytest.raises(ConnectorError, match="did not read back"):
            receive(path, {"C1": person()})
        assert path.read_bytes() == before


def test_a_large_sheet_grows_too(tmp_path: Path) -> None:
    """Rows that are read in blocks, and many copies in one act."""
    path = tmp_path / "a.xlsx"
    book = Workbook(write_only=True)
    sheet = book.create_sheet("Rows")
    sheet.append(HEADER)
    for n in range(5000):
        sheet.append([f"K{n}", f"2024-01-{n % 28 + 1:02}", f"G{n}", "x"])
    book.save(path)
    copies = {f"C{n}": person(n) for n in range(1500)}
    assert receive(path, copies) == dict.fromkeys(copies, RECEIVED)
    target: Target = location()
    assert session(path).count(target) == 6500
    assert list(found(path, target))[4999:5002] == ["K4999", "C0", "C1"]
    assert dict(found(path, target)["C1499"].fields) == dict(
        zip(FIELDS, ("Name 1499", "n1499@example.org"), strict=True)
    )
