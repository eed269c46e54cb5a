"""Rows leave real workbooks: nothing else a user would miss goes, and nothing of the rows stays."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import python_calamine
import xlsxwriter
from openpyxl import Workbook, load_workbook
from openpyxl.comments import Comment

from retention.connectors.base import Level, Result
from retention.errors import PermanentFailure
from tests.connectors.spreadsheet_sessions import (
    erase,
    found,
    levels,
    location,
    mask,
    parts,
    recomputed,
    residue,
    session,
    values,
)

HEADER = ("key", "received", "name", "email", "amount")
DONE = (Result.DISPOSED, "")


PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"
    "0000000d49444154789c6360f8cfc000000301010018dd8db00000000049454e44ae426082"
)


def person(n: int) -> tuple[str, date, str, str, int]:
    return (f"K{n:03}", date(2024, 1, 1 + n), f"Given{n} Family{n}", f"p{n}@example.org", n * 10)


def written(path: Path, extra: Callable[[Any, Any], None] = lambda book, sheet: None) -> Path:
    """Rows 2 to 11 hold persons 0 to 9."""
    book = xlsxwriter.Workbook(str(path))
    sheet = book.add_worksheet("Offers")
    day = book.add_format({"num_format": "yyyy-mm-dd"})
    sheet.write_row(0, 0, HEADER)
    for n in range(10):
        key, received, name, email, amount = person(n)
        sheet.write_row(n + 1, 0, (key, None, name, email, amount))
        sheet.write_datetime(n + 1, 1, received, day)
    extra(book, sheet)
    book.close()
    return path


def test_everything_around_the_rows_moves_along(tmp_path: Path) -> None:
    """Table, filter, merges, rules, links, names, breaks and formulas stand where they belong."""

    def extra(book: Any, sheet: Any) -> None:
        bold = book.add_format({"bold": True})
        sheet.freeze_panes(1, 0)
        sheet.write(0, 5, "twice")
        for n in range(10):
            sheet.write_formula(n + 1, 5, f"=E{n + 2}*2", None, n * 20)
        sheet.autofilter("A1:F11")
        sheet.merge_range("A14:C14", "a note below", bold)
        sheet.write_formula("E13", "=SUM(E2:E11)", None, 450)
        sheet.write_formula("F13", "=E10+$E$13", None, 0)
        sheet.conditional_format("E2:E11", {"type": "cell", "criteria": ">", "value": 50,
                                            "format": bold})  # fmt: skip
        sheet.conditional_format("A2:A11", {"type": "formula", "criteria": "=$E2>50",
                                            "format": bold})  # fmt: skip
        sheet.data_validation("D2:D11", {"validate": "length", "criteria": "<", "value": 99})
        sheet.write_url("C9", "https://example.com/kept", string=person(7)[2])
        sheet.write_url("C5", "https://example.com/person3", string=person(3)[2])
        sheet.set_h_pagebreaks([6])
        sheet.set_row(8, 33)
        book.define_name("Everybody", "=Offers!$A$2:$F$11")
        sheet.print_area("A1:F14")

    path = written(tmp_path / "a.xlsx", extra)
    before = values(path)
    target = location()
    gone = [found(path, target)[k] for k in ("K000", "K003")]
    assert erase(path, target, ["K000", "K003"]) == {"K000": DONE, "K003": DONE}

    book = load_workbook(path)
    sheet = book["Offers"]
    rows = list(sheet.iter_rows(min_row=1, values_only=True))
    assert [row[0] for row in rows[:9]] == ["key", *[f"K{n:03}" for n in (1, 2, 4, 5, 6, 7, 8, 9)]]
    assert [row[:5] for row in rows[1:9]] == [
        r[:5] for r in before[1:] if r[0] in {x[0] for x in rows[1:9]}
    ]
    assert sheet["F4"].value == "=E4*2"
    assert sheet["E11"].value == "=SUM(E2:E9)"
    assert sheet["F11"].value == "=E8+$E$11"
    assert sheet.auto_filter.ref == "A1:F9"
    assert [str(m) for m in sheet.merged_cells.ranges] == ["A12:C12"]
    assert {str(c.sqref) for c in sheet.conditional_formatting} == {"E2:E9", "A2:A9"}
    rule = next(c for c in sheet.conditional_formatting if str(c.sqref) == "A2:A9").rules[0]
    assert rule.formula == ["$E2>50"]
    assert [str(v.sqref) for v in sheet.data_validations.dataValidation] == ["D2:D9"]
    assert {c.hyperlink.target for r in sheet.iter_rows() for c in r if c.hyperlink} == {
        "https://example.com/kept"
    }
    assert sheet["C7"].hyperlink is not None
    assert [b.id for b in sheet.row_breaks.brk] == [4]
    assert sheet.row_dimensions[7].height == 33
    assert book.defined_names["Everybody"].attr_text == "Offers!$A$2:$F$9"
    assert sheet.print_area == "'Offers'!$A$1:$F$12"
    assert sheet["B2"].number_format == "yyyy-mm-dd"
    assert sheet.freeze_panes == "A2"
    book.close()
    assert residue(path, "p0@example.org", "Given3 Family3", "K000", "person3") == []
    assert levels(path, target, gone) == {Level.CLEAN}
    computed = recomputed(path, tmp_path)
    assert computed[10][4] == str(sum(person(n)[4] for n in (1, 2, 4, 5, 6, 7, 8, 9)))


def test_a_table_shrinks(tmp_path: Path) -> None:
    """A list object keeps its name, its style and its remaining rows."""
    path = written(
        tmp_path / "a.xlsx",
        lambda book, sheet: sheet.add_table(
            "A1:E11", {"name": "People", "columns": [{"header": h} for h in HEADER]}
        ),
    )
    assert erase(path, location(), ["K004", "K005"]) == {"K004": DONE, "K005": DONE}
    book = load_workbook(path)
    table = book["Offers"].tables["People"]
    assert (table.ref, table.autoFilter.ref) == ("A1:E9", "A1:E9")
    book.close()
    assert len(values(path)) == 9


def test_charts_pictures_notes_and_shapes_move_along(tmp_path: Path) -> None:
    """Charts draw what is left and lose their copies, notes of the row go, all others move."""

    def extra(book: Any, sheet: Any) -> None:
        chart = book.add_chart({"type": "column"})
        chart.add_series({"categories": "=Offers!$C$2:$C$11", "values": "=Offers!$E$2:$E$11"})
        sheet.insert_chart("H2", chart)
        sheet.insert_image("H30", "logo.png", {"image_data": io.BytesIO(PIXEL)})
        sheet.insert_textbox("H20", "our offers")
        sheet.write_comment("C4", f"call {person(2)[2]} again")
        sheet.write_comment("C6", "good customer")

    path = written(tmp_path / "a.xlsx", extra)
    before, target = parts(path), location()
    chart = "xl/charts/chart1.xml"
    assert b"Given2 Family2" in before[chart]
    assert erase(path, target, ["K002"]) == {"K002": DONE}
    after = parts(path)
    assert residue(path, "Given2", "p2@example.org", "K002") == []
    assert b"Offers!$C$2:$C$10" in after[chart]
    assert b"Cache" not in after[chart]
    book = load_workbook(path)
    sheet = book["Offers"]
    assert sheet["A4"].value == "K003"
    assert sheet["B4"].number_format == "yyyy-mm-dd"
    assert sheet["C4"].comment is None
    assert sheet["C5"].comment.text == "good customer"
    book.close()
    assert [n for n in before if n not in after] == []
    same = {n for n in before if before[n] == after[n]}
    assert before.keys() - same <= {
        "xl/worksheets/sheet1.xml", "xl/sharedStrings.xml", chart, "xl/comments1.xml",
        "xl/drawings/vmlDrawing1.vml", "xl/drawings/drawing1.xml",
    }  # fmt: skip
    assert recomputed(path, tmp_path)[3][0] == "K003"


@pytest.mark.filterwarnings("ignore:.*extension is not supported:UserWarning")
def test_a_workbook_with_all_features_loses_nothing(tmp_path: Path) -> None:
    """LibreOffice and openpyxl still find every feature after rows went."""

    def extra(book: Any, sheet: Any) -> None:
        other = book.add_worksheet("Sums")
        other.write_formula("A1", "=SUM(Offers!E2:E11)", None, 450)
        other.write_formula("A2", "=A1*2", None, 900)
        other.write_formula("A3", "=COUNTA(Offers!A:A)", None, 11)
        sheet.add_sparkline("G2", {"range": "Offers!E2:E11"})
        sheet.conditional_format("E2:E11", {"type": "data_bar", "data_bar_2010": True})
        sheet.merge_range("A14:C14", "a note below")
        sheet.insert_button("H2", {"caption": "press"})
        sheet.write_rich_string("A16", "plain ", book.add_format({"bold": True}), "bold")

    path = written(tmp_path / "a.xlsx", extra)
    before = parts(path)
    assert erase(path, location(sheet="Offers"), ["K001"]) == {"K001": DONE}
    after = parts(path)
    assert after.keys() == before.keys()
    assert b"x14:sparkline" in after["xl/worksheets/sheet1.xml"]
    assert b"SUM(Offers!E2:E10)" in after["xl/worksheets/sheet2.xml"]
    assert b"<v>450</v>" not in after["xl/worksheets/sheet2.xml"]
    assert b"fullCalcOnLoad" in after["xl/workbook.xml"]
    assert values(path, "Offers")[1][0] == "K000"
    copied = load_workbook(path, rich_text=True)
    assert str(copied["Offers"]["A15"].value) == "plain bold"
    copied.close()
    assert residue(path, "p1@example.org") == []
    assert len(recomputed(path, tmp_path)) >= 15


def test_formulas_that_read_a_row_that_goes_force_emptying(tmp_path: Path) -> None:
    """A running balance keeps its chain: no #REF!, nothing moved."""

    def extra(book: Any, sheet: Any) -> None:
        sheet.write(0, 5, "balance")
        sheet.write_formula("F2", "=E2", None, 0)
        for n in range(3, 12):
            sheet.write_formula(f"F{n}", f"=F{n - 1}+E{n}", None, 0)

    path = written(tmp_path / "a.xlsx", extra)
    assert erase(path, location(), ["K004"]) == {"K004": DONE}
    book = load_workbook(path)
    assert book["Offers"]["F7"].value == "=F6+E7"
    assert book["Offers"]["A7"].value == "K005"
    assert book["Offers"]["A6"].value is None
    book.close()


def test_shared_formulas_outlive_their_first_row(tmp_path: Path) -> None:
    """A formula that others borrow is written out in each of them before its row goes."""
    path = written(tmp_path / "a.xlsx")
    data = parts(path)
    sheet = data["xl/worksheets/sheet1.xml"]
    sheet = sheet.replace(b'<c r="E1" s="0"', b'<c r="E1"')
    sheet = sheet.replace(
        b"</c></row>", b'</c><c r="F1" t="inlineStr"><is><t>twice</t></is></c></row>', 1
    )
    for row in range(2, 12):
        first = b' ref="F2:F11"' if row == 2 else b""
        text = b"E2*2+$E$2" if row == 2 else b""
        cell = b'<c r="F%d"><f t="shared"%b si="0">%b</f><v>0</v></c>' % (row, first, text)
        at = sheet.index(b"</row>", sheet.index(b'<row r="%d"' % row))
        sheet = sheet[:at] + cell + sheet[at:]
    repack(path, data | {"xl/worksheets/sheet1.xml": sheet})
    assert load_workbook(path)["Offers"]["F5"].value == "=E5*2+$E$2"
    assert erase(path, location(), ["K005"]) == {"K005": DONE}
    assert [r[5] for r in values(path)[1:]] == [f"=E{n}*2+$E$2" for n in range(2, 11)]
    assert erase(path, location(), ["K000"]) == {"K000": DONE}
    book = load_workbook(path)
    assert book["Offers"]["F3"].value == "=E3*2+$E$2"
    book.close()


@pytest.mark.parametrize(
    ("extra", "code"),
    [
        (lambda b, s: s.merge_range("F4:F6", "shared by three rows"), "merged_cells"),
        (lambda b, s: s.write_array_formula("F3:F5", "{=E3:E5*2}"), "array_formula"),
        (lambda b, s: s.insert_image("F4", "p.png", {"image_data": io.BytesIO(PIXEL)}), "picture"),
        (lambda b, s: s.write("H4", "another table begins here"), "cells_beside"),
    ],
)
def test_rows_that_carry_what_belongs_to_others_are_left_alone(
    tmp_path: Path, extra: Callable[[Any, Any], None], code: str
) -> None:
    """Only the row in question is refused, with a word for why; others go."""

    def with_header(book: Any, sheet: Any) -> None:
        sheet.write(0, 5, "more")
        extra(book, sheet)

    path = written(tmp_path / "a.xlsx", with_header)
    outcomes = erase(path, location(), ["K002", "K008"])
    assert outcomes == {"K002": (Result.FAILED_PERMANENT, code), "K008": DONE}
    assert "K002" in found(path, location())


@pytest.mark.parametrize(
    ("part", "data", "word"),
    [
        ("xl/worksheets/other.xml", b"<p>Given4 Family4</p>", "residue"),
        ("customXml/item1.xml", b"<p>ask p4@example.org soon</p>", "residue"),
        ("xl/revisions/revisionLog1.xml", b"<log/>", "opaque"),
        ("xl/model/item.data", b"\0", "opaque"),
        ("_xmlsignatures/sig1.xml", b"<s/>", "opaque"),
        ("xl/embeddings/oleObject1.bin", "p4@example.org".encode("utf-16-le"), "residue"),
    ],
)
def test_what_keeps_a_copy_is_named_and_nothing_happens(
    tmp_path: Path, part: str, data: bytes, word: str
) -> None:
    """A part that would still hold the person stops the act before the file is replaced."""
    path = written(tmp_path / "a.xlsx")
    repack(path, parts(path) | {part: data})
    before = path.read_bytes()
    with pytest.raises(PermanentFailure) as caught:
        erase(path, location(), ["K004"])
    assert caught.value.code == word
    assert part in caught.value.message
    assert caught.value.hint
    assert "Given4" not in str(caught.value)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.xlsx"]


def test_a_value_that_another_record_shares_is_no_residue(tmp_path: Path) -> None:
    """The same town or status in a kept row, or in a list elsewhere, does not stop anything."""

    def extra(book: Any, sheet: Any) -> None:
        sheet.write_column(0, 5, ("town", *["Same Town"] * 10))

    path = written(tmp_path / "a.xlsx", extra)
    repack(path, parts(path) | {"customXml/item1.xml": b"<p>Same Town</p>"})
    assert erase(path, location(), ["K004"]) == {"K004": DONE}


def test_another_sheet_with_the_person_is_gone_not_clean(tmp_path: Path) -> None:
    """The row went, but the address stands on a hidden sheet too: the proof says so."""

    def extra(book: Any, sheet: Any) -> None:
        other = book.add_worksheet("Old")
        other.write("A1", "also p4@example.org here")
        other.very_hidden()

    path = written(tmp_path / "a.xlsx", extra)
    record = found(path, location())["K004"]
    other = found(path, location())["K005"]
    assert set(erase(path, location(), ["K004", "K005"]).values()) == {DONE}
    assert levels(path, location(), [record]) == {Level.GONE}
    assert levels(path, location(), [other]) == {Level.CLEAN}


def test_other_parts_stay_byte_for_byte(tmp_path: Path) -> None:
    """A macro book's code, styles, themes and properties are copied, not written anew."""
    path = written(tmp_path / "a.xlsm", lambda b, s: b.add_worksheet("Other").write("A1", "text"))
    repack(path, parts(path) | {"xl/vbaProject.bin": bytes(range(256)) * 9})
    before = parts(path)
    assert erase(path, location(sheet="Offers"), ["K001"]) == {"K001": DONE}
    after = parts(path)
    assert {n for n in before if before[n] != after.get(n)} == {
        "xl/worksheets/sheet1.xml",
        "xl/sharedStrings.xml",
    }


def test_masked_cells_hold_the_new_values_and_nothing_of_the_old(tmp_path: Path) -> None:
    """Text, number, nothing: other cells, styles and rows stay; the old text is in no part."""
    path = written(tmp_path / "a.xlsx", lambda b, s: s.write_url("D3", "mailto:p1@example.org"))
    before, target = values(path), location()
    assert mask(path, target, ["K001"], {"name": "A & <B>", "email": None, "amount": 5}) == {
        "K001": DONE
    }
    after = values(path)
    assert after[2] == ("K001", before[2][1], "A & <B>", None, 5)
    assert after[:2] + after[3:] == before[:2] + before[3:]
    assert residue(path, "Given1 Family1", "p1@example.org") == []
    record = found(path, target)["K001"]
    checked = {"name": "A & <B>", "email": None, "amount": 5}
    (proof,) = session(path).verify(target, [record.ref], None, checked)
    assert proof.level is Level.GONE
    with pytest.raises(PermanentFailure, match="key"):
        mask(path, target, ["K002"], {"key": "x"})


def test_calamine_reads_what_is_left(tmp_path: Path) -> None:
    """A reader in another language agrees about the kept rows."""
    path = written(tmp_path / "a.xlsx")
    erase(path, location(), [f"K{n:03}" for n in range(0, 10, 2)])
    rows = python_calamine.CalamineWorkbook.from_path(path).get_sheet_by_name("Offers").to_python()
    assert rows == [list(HEADER), *[list(person(n)) for n in range(1, 10, 2)]]


def test_a_workbook_of_openpyxl_with_notes_and_1904_dates(tmp_path: Path) -> None:
    """Another writer's files are read alike; its calendar counts from 1904."""
    book = Workbook()
    book.epoch = __import__("openpyxl.utils.datetime", fromlist=["x"]).CALENDAR_MAC_1904
    sheet = book.active
    sheet.append(HEADER)
    for n in range(4):
        sheet.append(person(n))
    sheet["C3"].comment = Comment("a note", "somebody")
    path = tmp_path / "a.xlsx"
    book.save(path)
    assert [r.dates["received"] for r in found(path, location()).values()] == [
        person(n)[1] for n in range(4)
    ]
    assert erase(path, location(), ["K001"]) == {"K001": DONE}
    assert [row[0] for row in values(path)] == ["key", "K000", "K002", "K003"]
    assert residue(path, "Given1") == []


def repack(path: Path, data: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as package:
        for name, content in data.items():
            package.writestr(name, content)
