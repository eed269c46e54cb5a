"""Workbooks as other programs and odd hands leave them: nothing lost, nothing left, or refused."""

from __future__ import annotations

import re
import shutil
import unicodedata
import zipfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter

from retention.connectors.base import Level, Result
from retention.connectors.spreadsheet import edit, identity, reading, rowxml, strings
from retention.errors import PermanentFailure
from tests.connectors import ods_files
from tests.connectors.spreadsheet_office import agreed, view
from tests.connectors.spreadsheet_rich import pack, rich
from tests.connectors.spreadsheet_sessions import (
    erase,
    found,
    levels,
    location,
    parts,
    residue,
    session,
    values,
)
from tests.connectors.test_spreadsheet_workbooks import HEADER, person, written
from tests.servers.libreoffice import LibreOffice

DONE = (Result.DISPOSED, "")
NAME, EMAIL = person(1)[2:4]


def with_second(path: Path) -> Path:
    """A second sheet whose texts lie in the common table of strings, and a formula that looks."""

    def extra(book: Any, sheet: Any) -> None:
        sheet.add_table("A1:E11", {"columns": [{"header": name} for name in HEADER]})
        other = book.add_worksheet("Notes")
        other.write(0, 0, "precious text")
        other.write_formula(1, 0, "=Offers!C5")

    return written(path, extra)


def macro_sheet(data: dict[str, bytes]) -> None:
    for part in ("xl/_rels/workbook.xml.rels", "[Content_Types].xml"):
        data[part] = data[part].replace(b"worksheets/sheet2.xml", b"macrosheets/sheet1.xml")
    data["xl/_rels/workbook.xml.rels"] = re.sub(
        rb'/worksheet"( Target="macrosheets)',
        rb'/xlMacrosheet"\1',
        data["xl/_rels/workbook.xml.rels"],
    )
    data["xl/macrosheets/sheet1.xml"] = data.pop("xl/worksheets/sheet2.xml")


def other_letters(*parts_: str) -> Callable[[dict[str, bytes]], None]:
    def change(data: dict[str, bytes]) -> None:
        for part in parts_:
            folder, _, name = part.rpartition("/")
            data[f"{folder}/{name.capitalize()}"] = data.pop(part)

    return change


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (macro_sheet, "opaque"),
        (other_letters("xl/worksheets/sheet2.xml"), "workbook_form"),
        (other_letters("xl/tables/table1.xml"), "workbook_form"),
        (other_letters("xl/worksheets/_rels/sheet1.xml.rels"), "workbook_form"),
        (lambda data: data.pop("xl/worksheets/sheet2.xml"), "opaque"),
    ],
)
def test_a_sheet_that_is_not_looked_at_loses_nothing(
    tmp_path: Path, change: Callable[[dict[str, bytes]], None], code: str
) -> None:
    """Excel finds parts whatever the case of their names; what we would miss stops the act."""
    path = with_second(tmp_path / "a.xlsx")
    data = parts(path)
    change(data)
    pack(path, data)
    before = path.read_bytes()
    with pytest.raises(PermanentFailure) as stopped:
        erase(path, location(sheet="Offers"), ["K001"])
    assert stopped.value.code == code
    assert path.read_bytes() == before


def test_copies_that_a_formula_spilled_on_another_sheet_go_too(tmp_path: Path) -> None:
    """`=FILTER(…)` leaves its rows as plain texts in the file; programs fill them in anew."""

    def extra(book: Any, sheet: Any) -> None:
        other = book.add_worksheet("Active")
        other.write_dynamic_array_formula("A1:B3", '=FILTER(Offers!C2:D9,Offers!A2:A9<>"")')
        for n in range(3):
            for column in range(2):
                if n or column:
                    other.write_string(n, column, person(n)[2 + column])
        other.write_string(0, 3, "typed")

    path = written(tmp_path / "a.xlsx", extra)
    target = location(sheet="Offers")
    gone = found(path, target)["K001"]
    assert erase(path, target, ["K001"]) == {"K001": DONE}
    assert residue(path, NAME, EMAIL) == []
    assert levels(path, target, [gone]) == {Level.CLEAN}
    sheet = parts(path)["xl/worksheets/sheet2.xml"].decode()
    assert re.findall("<f[^>]*>[^<]*</f>", sheet) == [
        '<f t="array" ref="A1:B3">_xlfn._xlws.FILTER(Offers!C2:D8,Offers!A2:A8&lt;&gt;"")</f>'
    ]
    assert values(path, "Active")[0][3] == "typed"


def test_shared_formulas_of_another_sheet_that_read_their_own(tmp_path: Path) -> None:
    """Excel writes the text of a formula that was filled down once; that sheet stays as it is."""

    def extra(book: Any, sheet: Any) -> None:
        other = book.add_worksheet("Costs")
        other.write_column(0, 0, (1, 2))
        other.write_formula("B1", "=A1*2", None, 2)
        other.write_formula("B2", "=A2*2", None, 4)

    path = written(tmp_path / "a.xlsx", extra)
    data = parts(path)
    costs = data["xl/worksheets/sheet2.xml"]
    costs = costs.replace(b"<f>A1*2</f>", b'<f t="shared" ref="B1:B2" si="0">A1*2</f>')
    data["xl/worksheets/sheet2.xml"] = costs.replace(b"<f>A2*2</f>", b'<f t="shared" si="0"/>')
    pack(path, data)
    assert erase(path, location(sheet="Offers"), ["K001"]) == {"K001": DONE}
    assert parts(path)["xl/worksheets/sheet2.xml"] == data["xl/worksheets/sheet2.xml"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Zoë Ångström", unicodedata.normalize("NFD", "with Zoë Ångström too")),
        ("Annabel Xylander", "ask Annabel\u00a0Xylander"),
        ("Annabel  Xylander ", "ask ANNABEL Xylander"),
        ("Annabel Xylander", "Annabel\nXylander"),
        ("Annabel Xylander", "Anna|bel Xylander"),
    ],
)
def test_a_name_is_found_however_it_is_written(tmp_path: Path, name: str, text: str) -> None:
    """Composed or decomposed, with other spaces, over two lines, one half of it bold."""
    path = tmp_path / "a.xlsx"
    book = xlsxwriter.Workbook(str(path))
    sheet = book.add_worksheet("Offers")
    day = book.add_format({"num_format": "yyyy-mm-dd"})
    sheet.write_row(0, 0, HEADER)
    for n in range(3):
        sheet.write_row(n + 1, 0, (f"K{n}", None, name if n == 1 else f"N{n}", f"p{n}@example.org"))
        sheet.write_datetime(n + 1, 1, date(2020, 1, 1), day)
    sheet.insert_textbox("H3", text)
    book.close()
    data = parts(path)
    drawing = data["xl/drawings/drawing1.xml"]
    runs = b'</a:t></a:r><a:r><a:rPr b="1"/><a:t>'
    data["xl/drawings/drawing1.xml"] = drawing.replace(b"|", runs)
    pack(path, data)
    with pytest.raises(PermanentFailure, match="would still hold"):
        erase(path, location(), ["K1"])


@pytest.mark.parametrize(
    ("was", "now"),
    [
        (b'ref="A13:B14"', b'ref="A13:B"'),
        (b'<f t="array" ref="E16">', b'<f t="array" ref="E:E">'),
    ],
)
def test_a_range_in_an_odd_form_is_an_error_that_says_so(
    tmp_path: Path, was: bytes, now: bytes
) -> None:
    """Nothing but a known kind of error leaves the connector."""

    def extra(book: Any, sheet: Any) -> None:
        sheet.merge_range("A13:B14", "note")
        sheet.write_array_formula("E16:E16", "{=SUM(E2:E3*2)}")

    path = written(tmp_path / "a.xlsx", extra)
    data = parts(path)
    assert was in data["xl/worksheets/sheet1.xml"]
    data["xl/worksheets/sheet1.xml"] = data["xl/worksheets/sheet1.xml"].replace(was, now)
    pack(path, data)
    with pytest.raises(PermanentFailure) as stopped:
        erase(path, location(), ["K001"])
    assert stopped.value.code == "cannot_edit"
    said = [probe.detail for probe in session(path).probe([location()])]
    assert sum("a range in an unusual form" in detail for detail in said) == 1


def test_all_rows_of_a_sorted_sheet_may_go(tmp_path: Path) -> None:
    """The order in which nothing is sorted is no reason to leave empty rows behind."""
    path = written(tmp_path / "a.xlsx", lambda book, sheet: sheet.autofilter("A1:E11"))
    data = parts(path)
    order = b'<sortState ref="A2:E11"><sortCondition ref="B2:B11"/></sortState>'
    sheet, was = data["xl/worksheets/sheet1.xml"], b'<autoFilter ref="A1:E11"/>'
    assert was in sheet
    now = was.replace(b"/>", b">" + order + b"</autoFilter>")
    data["xl/worksheets/sheet1.xml"] = sheet.replace(was, now)
    pack(path, data)
    keys = [person(n)[0] for n in range(10)]
    assert erase(path, location(mode="remove"), keys) == dict.fromkeys(keys, DONE)
    assert parts(path)["xl/worksheets/sheet1.xml"].count(b"<row ") == 1


def test_a_package_of_an_unusual_packer(tmp_path: Path) -> None:
    """Sizes behind parts, folders, foreign entries, bytes before it: rows go all the same."""
    path = written(tmp_path / "a.xlsx")
    data = parts(path)

    class Pipe:
        """Cannot be sought, so that sizes and checksums follow their part."""

        def __init__(self) -> None:
            self.said = bytearray(b"MZ something before the package")

        def write(self, chunk: bytes) -> int:
            self.said += chunk
            return len(chunk)

        def flush(self) -> None: ...

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as package:  # type: ignore[call-overload]
        package.comment = b"of a packer"
        package.writestr("xl/", b"")
        for name, content in data.items():
            with package.open(name, "w", force_zip64=True) as part:
                part.write(content)
        package.writestr("extra/é.txt", "hello")
    path.write_bytes(pipe.said)
    assert erase(path, location(), ["K001"]) == {"K001": DONE}
    after = parts(path)
    assert list(after) == ["xl/", *data, "extra/é.txt"]
    changed = {"xl/worksheets/sheet1.xml", "xl/sharedStrings.xml", "xl/workbook.xml"}
    assert {n for n in data if after[n] != data[n]} <= changed
    assert [row[0] for row in values(path)][:3] == ["key", "K000", "K002"]


def test_keys_that_look_alike_are_told_apart_or_left_alone(tmp_path: Path) -> None:
    """007 is not 7, nor is a space nothing; 7 as text and as number are one key for two rows."""
    path = tmp_path / "a.xlsx"
    book = xlsxwriter.Workbook(str(path))
    sheet = book.add_worksheet()
    sheet.write_row(0, 0, HEADER)
    composed = "Zoé"
    keys = ["007", 8, "8", " K5", "K5", "K5 ", composed, unicodedata.normalize("NFD", composed),
            True, "TRUE", "1.0", 1.5, "x/y"]  # fmt: skip
    for n, key in enumerate(keys, 1):
        (sheet.write_string if isinstance(key, str) else sheet.write)(n, 0, key)
        sheet.write_row(n, 1, (45000, f"Given{n} Family{n}", f"p{n}@example.org", n))
    book.close()
    due = ["007", " K5", unicodedata.normalize("NFD", composed), "x/y"]
    target = location()
    known = set(found(path, target))
    assert {"007", "K5", "K5 ", "1.0", "1.5", composed, *due} <= known
    assert not {"8", "TRUE"} & known
    assert erase(path, target, due) == dict.fromkeys(due, DONE)
    assert [row[0] for row in values(path)[1:]] == [k for k in keys if k not in due]


GOING = ("K002", "K003", "K005", "K012")


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_a_workbook_that_libreoffice_saved(tmp_path: Path, libreoffice: LibreOffice) -> None:
    """Its own spelling of rows, cells, tables, rules, notes and charts: both still agree."""
    path = tmp_path / "a.xlsx"
    with libreoffice.open(rich(tmp_path / "rich.xlsm")) as book:
        book.save(path, "Calc MS Excel 2007 XML")
    shutil.copy(path, tmp_path / "original.xlsx")
    target = location(sheet="Offers")
    assert erase(path, target, GOING) == dict.fromkeys(GOING, DONE)
    with libreoffice.open(tmp_path / "original.xlsx") as book:
        book.delete("Offers", [int(key[1:]) + 2 for key in GOING])
        wanted = agreed(view(book, tmp_path, "wanted"), "Pivot")
    with libreoffice.open(path) as book:
        ours = agreed(view(book, tmp_path, "ours"), "Pivot")
    for kind in wanted:
        assert ours[kind] == wanted[kind], kind
    assert residue(path, *(t for k in GOING for t in person(int(k[1:]))[2:4])) == []


@pytest.mark.parametrize("name", ["a.xlsx", "a.ods", "a.csv"])
def test_rows_are_counted_on_the_way_to_them(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their number is exact (limits by share rest on it) and costs no further pass."""
    rows = [HEADER, *(person(n) for n in range(5))]
    path = tmp_path / name
    if name == "a.xlsx":
        written(path)
    elif name == "a.ods":
        ods_files.write(path, ods_files.document(ods_files.table_of(rows, "Offers")))
    else:
        path.write_text("\n".join(",".join(map(str, row)) for row in rows), encoding="utf-8")
    passes: list[str] = []
    real = identity.Keys

    def counted(*said: Any) -> Any:
        passes.append("keys")
        return real(*said)

    monkeypatch.setattr(reading, "Keys", counted)
    target, one = location(), session(path)
    records = [r for page in one.find(target) for r in page.records]
    assert one.count(target) == len(records) == (10 if name == "a.xlsx" else 5)
    assert len(list(one.recheck(target, [r.ref.key for r in records]))) == len(records)
    assert passes == ["keys"]
    assert [o.result for o in one.erase(target, [records[0].ref])] == [Result.DISPOSED]
    assert one.count(target) == len(records) - 1
    assert passes == ["keys", "keys"]


def other_value(raw: bytes, old: int, new: int, names: Any) -> bytes:
    return rowxml.moved(raw, old, new, names).replace(b"<v>40</v>", b"<v>41</v>")


def one_row_less(raw: bytes, old: int, new: int, names: Any) -> bytes:
    return b"" if old == 6 else rowxml.moved(raw, old, new, names)


def swapped(raw: bytes, old: int, new: int, names: Any) -> bytes:
    columns = {b"C": b"D", b"D": b"C"}
    done = rowxml.moved(raw, old, new, names)
    return re.sub(rb'(?<=r=")[CD](?=\d)', lambda m: columns[m[0]], done) if old == 6 else done


def other_text(*said: Any) -> Any:
    return (chunk.replace(b"Given4", b"Gluten") for chunk in strings.emptied(*said))


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("moved", other_value),
        ("moved", one_row_less),
        ("moved", swapped),
        ("emptied", other_text),
    ],
)
def test_a_row_that_stays_and_reads_otherwise_stops_the_act(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, wrong: Callable[..., Any]
) -> None:
    """The proof rests on the new file alone: a fault of ours would leave the old one as it was."""
    path = written(tmp_path / "a.xlsx")
    before = path.read_bytes()
    monkeypatch.setattr(edit, name, wrong)
    with pytest.raises(PermanentFailure) as stopped:
        erase(path, location(), ["K001"])
    assert stopped.value.code in ("not_the_same", "workbook_form")
    assert path.read_bytes() == before
