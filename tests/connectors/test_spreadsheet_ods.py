"""OpenDocument spreadsheets: rows go, everything that points at rows follows, nothing is left."""

from __future__ import annotations

import datetime as dt
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import xlsxwriter
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from retention.connectors.base import Level, Result
from retention.connectors.spreadsheet.odsshift import Move, named_in
from retention.connectors.spreadsheet.shift import RowMap, Unshiftable
from retention.errors import CredentialsRefused, PermanentFailure
from tests.connectors import ods_files
from tests.connectors.ods_files import NAMES, cell, document, row, sheet
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
)
from tests.servers.libreoffice import LibreOffice

DONE = (Result.DISPOSED, "")
HEADER = ("key", "received", "name", "email", "amount")
DAY = dt.date(2024, 1, 1)
DATA = location(sheet="Data")


def people(count: int) -> list[str]:
    return [row(*HEADER)] + [
        row(f"K{n}", DAY, f"Given{n} Family{n}", f"p{n}@example.org", n * 10)
        for n in range(1, count + 1)
    ]


def formula(text: str, value: object = 1) -> str:
    return cell(value, f' table:formula="{text}"')


def beside(*cells: str) -> str:
    """A row far below, away from the columns of the records."""
    return f"<table:table-row>{cell(None) * 5}{''.join(cells)}</table:table-row>"


def formulas(path: Path) -> list[str]:
    root = etree.fromstring(parts(path)["content.xml"])
    name = f"{{{NAMES['table']}}}formula"
    return [element.get(name, "") for element in root.iter() if name in element.attrib]


def keys(path: Path, name: str = "Data") -> list[object]:
    return [values[0] for values in ods_files.read(path, name)]


# --- reading -------------------------------------------------------------------------------------


def typed(said: str, *paragraphs: str) -> str:
    """A cell with these attributes, written out."""
    inner = "".join(f"<text:p>{text}</text:p>" for text in paragraphs)
    return f"<table:table-cell {said}>{inner}</table:table-cell>"


NOTE = "<office:annotation><text:p>{}</text:p></office:annotation>"
TEXT, SHARE = 'office:value-type="string"', 'office:value-type="percentage" office:value="0.5"'
DATE, TIME = 'office:value-type="date" office:date-value="{}"', 'office:value-type="time"'
ERROR = f'table:formula="of:=1/0" {TEXT} office:string-value="" calcext:value-type="error"'


def row_of(*cells: str, more: str = "") -> str:
    return f"<table:table-row{more}>{''.join(cells)}</table:table-row>"


def test_cells_are_read_as_they_are_shown(tmp_path: Path) -> None:
    """Every type, spaces and tabs that are elements, spans, links, notes left out, repeats."""
    rows = [
        row("key", "received", "name", "email", "a", "b"),
        row_of(
            typed(TEXT, 'A<text:s text:c="2"/>1').replace("><", f">{NOTE.format('no')}<", 1),
            typed(DATE.format("2024-03-01T10:00:00")),
            typed(TEXT, "<text:span>Gi</text:span>ven", "two\n  lines"),
            typed(TEXT, "<text:a>p@example.org</text:a>"),
            typed(f'{SHARE} table:number-columns-repeated="2"'),
        ),
        row_of(
            cell("B"),
            typed(f'{TIME} office:time-value="PT10H00M00S"'),
            typed(f'{TEXT} office:string-value="x &amp; y"', "…"),
            typed('office:value-type="boolean" office:boolean-value="true"'),
            typed(ERROR, "#DIV/0!"),
        ),
        row_of(cell("C"), typed(DATE.format("1899-12-30"))),
        row_of(cell("D"), more=' table:number-rows-repeated="2"'),
    ]
    path = ods_files.write(tmp_path / "a.ods", document(sheet("Data", *rows)))
    target = location(sheet="Data", fields=("name", "email", "a", "b"))
    records = found(path, target)
    first = records["A  1"]
    assert first.dates["received"] == dt.date(2024, 3, 1)
    assert first.fields == {
        "name": "Given\ntwo lines",
        "email": "p@example.org",
        "a": 0.5,
        "b": 0.5,
    }
    assert records["B"].dates["received"] is None
    assert records["B"].fields == {"name": "x & y", "email": True, "a": None, "b": None}
    assert records["C"].dates["received"] is None
    assert len([key for key in records if key.startswith("⟨key not unique⟩")]) == 2


# --- removing ------------------------------------------------------------------------------------

VALIDATIONS = (
    '<table:content-validations><table:content-validation table:name="v" '
    'table:condition="of:cell-content-is-in-list(&quot;a&quot;)" '
    'table:base-cell-address="Data.A2"/></table:content-validations>'
)
NAMED = (
    '<table:named-expressions><table:named-range table:name="Amounts" table:base-cell-address='
    '"$Data.$A$1" table:cell-range-address="$Data.$E$2:.$E$7"/></table:named-expressions>'
    '<table:database-ranges><table:database-range table:name="db" '
    'table:target-range-address="Data.A1:Data.E7"/></table:database-ranges>'
)


def test_rows_go_and_references_follow(tmp_path: Path) -> None:
    """Formulas on this sheet and others, names, ranges and rules; the rest is the same bytes."""
    rules = (
        "<calcext:conditional-formats><calcext:conditional-format calcext:target-range-address="
        '"Data.E2:Data.E7"><calcext:condition calcext:apply-style-name="x" calcext:value='
        '"formula-is([.$E2]&gt;3)" calcext:base-cell-address="Data.E2"/>'
        "</calcext:conditional-format></calcext:conditional-formats>"
    )
    own = [
        beside(formula("of:=SUM([.E2:.E7])"), formula("of:=[.E7]*2+[$'Ot''her'.A3]")),
        beside(
            formula("of:=SUM([.$A$1:.$E$1048576];[.E:.E])"),
            formula("of:=[.E1]&amp;&quot;[.E7]&quot;"),
        ),
    ]
    data = sheet("Data", *people(6), *own).replace("</table:table>", rules + "</table:table>")
    other = sheet(
        "Ot'her",
        f"<table:table-row>{formula('of:=SUM([$Data.E3:.E5])+[$Data.E6]')}</table:table-row>",
    )
    text = document(data, other, before=VALIDATIONS, after=NAMED)
    path = ods_files.write(
        tmp_path / "a.ods", text, {"Thumbnails/thumbnail.png": b"picture", "x.bin": b"1"}
    )
    assert erase(path, DATA, ["K2", "K4"]) == dict.fromkeys(("K2", "K4"), DONE)
    assert formulas(path) == [
        "of:=SUM([.E2:.E5])",
        "of:=[.E5]*2+[$'Ot''her'.A3]",
        "of:=SUM([.$A$1:.$E$1048576];[.E:.E])",
        'of:=[.E1]&"[.E7]"',
        "of:=SUM([$Data.E3:.E3])+[$Data.E4]",
    ]
    after = parts(path)["content.xml"].decode()
    assert '"$Data.$E$2:.$E$5"' in after
    assert '"Data.A1:Data.E5"' in after
    assert '"Data.E2:Data.E5"' in after
    assert VALIDATIONS in after
    assert keys(path)[:5] == ["key", "K1", "K3", "K5", "K6"]
    assert "Thumbnails" not in str(parts(path).keys())
    assert b"Thumbnails" not in parts(path)["META-INF/manifest.xml"]
    assert not residue(path, "Given2", "p4@example.org")


def test_what_is_not_concerned_stays_byte_for_byte(tmp_path: Path) -> None:
    """The row is cut out of the text; mimetype stays first and stored."""
    text = document(sheet("Data", *people(3)), sheet("Other", row("a")))
    path = ods_files.write(tmp_path / "a.ods", text, {"styles.xml": b"<x/>"})
    erase(path, DATA, ["K2"])
    assert parts(path)["content.xml"] == text.replace(people(3)[2].encode(), b"")
    with zipfile.ZipFile(path) as package:
        first = package.infolist()[0]
    assert (first.filename, first.compress_type, first.extra) == ("mimetype", 0, b"")


RELATIVE_NAME = (
    '<table:named-expressions><table:named-range table:name="n" '
    'table:base-cell-address="$Data.$A$1" '
    'table:cell-range-address="$Data.E5"/></table:named-expressions>'
)


@pytest.mark.parametrize(
    ("cells", "after"),
    [
        (formula("of:=[.E3]"), ""),
        (formula("of:=INDIRECT(&quot;E3&quot;)"), ""),
        (formula("msoxl:=E3*2"), ""),
        (formula("of:=SUM([Data.E2:Other.E4])"), ""),
        (formula("of:=SUM('name' ; 1)"), ""),
        (cell("x"), RELATIVE_NAME),
    ],
)  # fmt: skip
def test_what_cannot_be_moved_is_emptied_in_place(tmp_path: Path, cells: str, after: str) -> None:
    """A formula that reads the row, one that computes where it reads, an older grammar."""
    data = sheet("Data", *people(4), beside(cells))
    path = ods_files.write(
        tmp_path / "a.ods", document(data, sheet("Other", row("x")), after=after)
    )
    was = formulas(path)
    with pytest.raises(PermanentFailure, match="cannot be removed"):
        erase(path, location(sheet="Data", mode="remove"), ["K2"])
    assert erase(path, DATA, ["K2"]) == {"K2": DONE}
    assert formulas(path) == was
    assert keys(path)[:4] == ["key", "K1", "K3", "K4"]
    root = etree.fromstring(parts(path)["content.xml"])
    rows = root.findall(".//table:table[@table:name='Data']/table:table-row", NAMES)
    assert [r.xpath("string()") for r in rows][2] == ""
    assert not residue(path, "Given2", "p2@example.org")


def test_results_that_rest_on_rows_are_left_out(tmp_path: Path) -> None:
    """A total that still counts a row that went would be a lie; a row's own results stay."""
    data = sheet(
        "Data",
        row(*HEADER, "double"),
        *(
            f"<table:table-row>{cell(f'K{n}')}{cell(DAY)}{cell('a b')}{cell(f'p{n}@example.org')}"
            f"{cell(n)}{formula(f'of:=[.E{n + 1}]*2', 2 * n)}</table:table-row>"
            for n in range(1, 4)
        ),
        f"<table:table-row>{cell(None) * 4}{formula('of:=SUM([.E2:.E4])', 6)}</table:table-row>",
    )
    path = ods_files.write(tmp_path / "a.ods", document(data))
    erase(path, DATA, ["K1"])
    text = parts(path)["content.xml"].decode()
    assert 'table:formula="of:=[.E2]*2" office:value-type="float" office:value="4"' in text
    assert '<table:table-cell table:formula="of:=SUM([.E2:.E3])"/>' in text
    (total,) = [line for line in recomputed(path, tmp_path) if line[4] == "5"]
    assert total[0] == ""


def test_merged_cells_and_pictures(tmp_path: Path) -> None:
    """A merge that begins in the row protects it; one from above shrinks; a picture protects."""
    merged = ' table:number-rows-spanned="3" table:number-columns-spanned="1"'
    rows = people(7)
    rows[2] = rows[2].replace("<table:table-cell", f"<table:table-cell{merged}", 1)
    for n in (3, 4):
        rows[n] = (
            rows[n]
            .replace("table:table-cell", "table:covered-table-cell", 1)
            .replace("</table:table-cell>", "</table:covered-table-cell>", 1)
        )
    rows[6] = rows[6].replace(
        "</table:table-cell>",
        '<draw:frame><draw:image xlink:href="x"/></draw:frame></table:table-cell>',
        1,
    )
    path = ods_files.write(tmp_path / "a.ods", document(sheet("Data", *rows)))
    assert erase(path, DATA, ["K2", "K6", "K7"]) == {
        "K2": (Result.FAILED_PERMANENT, "merged_cells"),
        "K6": (Result.FAILED_PERMANENT, "picture"),
        "K7": DONE,
    }
    assert erase(path, DATA, ["K4"]) == {"K4": DONE}
    assert 'table:number-rows-spanned="2"' in parts(path)["content.xml"].decode()


def test_a_group_of_rows_never_ends_up_empty(tmp_path: Path) -> None:
    """Where all rows of a group go, they are emptied in place."""
    rows = people(4)
    rows[2] = f"<table:table-row-group>{rows[2]}"
    rows[3] = f"{rows[3]}</table:table-row-group>"
    path = ods_files.write(tmp_path / "a.ods", document(sheet("Data", *rows)))
    assert erase(path, DATA, ["K2"]) == {"K2": DONE}
    assert parts(path)["content.xml"].count(b"<table:table-row>") == 4
    assert erase(path, DATA, ["K3"]) == {"K3": DONE}
    assert parts(path)["content.xml"].count(b"<table:table-row>") == 4


def test_masking_splits_repeated_cells(tmp_path: Path) -> None:
    """Only the named column changes, also where one element stands for several cells."""
    rows = [
        row(*HEADER),
        f"<table:table-row>{cell('A')}{cell(DAY)}"
        + cell("same", ' table:number-columns-repeated="3"') + "</table:table-row>",
        row("B", DAY, "x", "y", 1),
    ]  # fmt: skip
    path = ods_files.write(tmp_path / "a.ods", document(sheet("Data", *rows)))
    assert mask(path, DATA, ["A"], {"email": "=1+1"}) == {"A": DONE}
    assert ods_files.read(path, "Data")[1:] == [
        ["A", DAY, "same", "=1+1", "same"],
        ["B", DAY, "x", "y", 1.0],
    ]
    assert formulas(path) == []
    assert mask(path, DATA, ["B"], {"email": None, "name": 5}) == {"B": DONE}
    assert ods_files.read(path, "Data")[2] == ["B", DAY, 5.0, "", 1.0]


# --- refusing ------------------------------------------------------------------------------------

RECORDED = b"<table:tracked-changes></table:tracked-changes>"
INNER = b"<table:table><table:table-row/></table:table>"
MANY = b'<table:table-row table:number-rows-repeated="99999999">'


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            lambda t: t.replace(b"<table:table ", RECORDED + b"<table:table ", 1),
            "recorded",
        ),
        (lambda t: t.replace(b"<office:body>", b"<office:body><!-- x -->"), "comment"),
        (lambda t: t.replace(b"xmlns:table=", b"xmlns:t=", 1), "well-formed|unusual"),
        (lambda t: t.replace(b"<text:p>K1</text:p>", INNER), "within"),
        (lambda t: t.replace(b"<table:table-row>", MANY, 1), "unusual|more rows"),
        (lambda t: t[:-40], "well-formed"),
    ],
)
def test_odd_documents_are_refused(
    tmp_path: Path, change: Callable[[bytes], bytes], match: str
) -> None:
    """Recorded changes keep what was removed; what is not understood is not edited."""
    path = ods_files.write(tmp_path / "a.ods", change(document(sheet("Data", *people(2)))))
    with pytest.raises(PermanentFailure, match=match):
        found(path, DATA)


CACHED = (
    "<table:dde-links><table:dde-link><table:table>"
    + row("p1@example.org")
    + "</table:table></table:dde-link></table:dde-links>"
)
PIVOT = (
    '<table:data-pilot-tables><table:data-pilot-table table:name="p" table:target-range-address='
    '"Other.A1:Other.B5"><table:source-cell-range table:cell-range-address="Data.A1:Data.E3"/>'
    "</table:data-pilot-table></table:data-pilot-tables>"
)


@pytest.mark.parametrize(
    ("after", "more", "code"),
    [
        (PIVOT, {}, "pivot"),
        ("", {"META-INF/documentsignatures.xml": b"<x/>"}, "opaque"),
        ("", {"VersionList.xml": b"<x/>"}, "opaque"),
        ("", {"meta.xml": b"<x>Given1 Family1</x>"}, "residue"),
        ("", {"Basic/Standard/Module1.xml": b"<x>p1@example.org</x>"}, "residue"),
        (CACHED, {}, "residue"),
    ],
)
def test_copies_of_rows_elsewhere_stop_the_act(
    tmp_path: Path, after: str, more: dict[str, bytes], code: str
) -> None:
    """Pivot tables, signatures, versions, properties, macros, cached links: nothing changes."""
    text = document(sheet("Data", *people(2)), sheet("Other", row("x")), after=after)
    path = ods_files.write(tmp_path / "a.ods", text, more)
    before = path.read_bytes()
    with pytest.raises(PermanentFailure) as caught:
        erase(path, DATA, ["K1"])
    assert caught.value.code == code
    assert path.read_bytes() == before


def test_a_note_on_another_row_is_residue(tmp_path: Path) -> None:
    """A note that names the person who goes is found, also where its text is cut by spans."""
    rows = people(3)
    note = NOTE.format("ask <text:span>p1@</text:span>example.org")
    rows[3] = rows[3].replace("<text:p>K3", note + "<text:p>K3")
    path = ods_files.write(tmp_path / "a.ods", document(sheet("Data", *rows)))
    with pytest.raises(PermanentFailure, match="still hold"):
        erase(path, DATA, ["K1"])
    record = found(path, DATA)["K2"]
    assert erase(path, DATA, ["K2"]) == {"K2": DONE}
    assert levels(path, DATA, [record]) == {Level.CLEAN}


# --- whatever the table looks like ----------------------------------------------------------------

CELLS = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=8),
    st.integers(-5, 10**6),
    st.booleans(),
    st.just("a  b\tc\nd "),
)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=8), st.data())
def test_rows_that_stay_are_the_same_and_formulas_follow(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[object, object, object]],
    data: st.DataObject,
) -> None:
    """Random cells, random rows gone: the others and their references to themselves hold."""
    texts = [
        row_of(cell(f"key-{n}"), cell(DAY), *(cell(v) for v in values),
               formula(f"of:=[.E{n + 2}]+SUM([.E2:.E{len(rows) + 1}])"))
        for n, values in enumerate(rows)
    ]  # fmt: skip
    content = document(sheet("Data", row(*HEADER, "total"), *texts))
    path = ods_files.write(tmp_path_factory.mktemp("ods") / "a.ods", content)
    before = ods_files.read(path, "Data")
    gone = data.draw(st.sets(st.sampled_from(range(len(rows))), max_size=len(rows) - 1))
    assert set(erase(path, DATA, [f"key-{n}" for n in gone]).values()) <= {DONE}
    after = ods_files.read(path, "Data")
    stay = [n for n in range(len(rows)) if n not in gone]
    assert [r[:5] for r in after[1:]] == [before[n + 1][:5] for n in stay]
    if gone:
        assert formulas(path) == [
            f"of:=[.E{at + 2}]+SUM([.E2:.E{len(stay) + 1}])" for at in range(len(stay))
        ]


@pytest.mark.parametrize("mark", ["'", "&apos;"])
def test_sheets_with_an_apostrophe_are_recognised(mark: str) -> None:
    """Programs write the mark as it is or as an entity; a longer name is another sheet."""
    text = "$'It''s'.$A$1:.$B$5".replace("'", mark).encode()
    assert named_in("It's").search(text)
    assert not named_in("Data").search(b"OldData.A1")


REFERENCES = st.builds(
    lambda name, a, b, fixed: f"[{name}.{'$' * fixed}A{'$' * fixed}{min(a, b)}:.B{max(a, b)}]",
    st.sampled_from(["", "$Data", "$Other", "$'Data'", "Data"]),
    st.integers(1, 30),
    st.integers(1, 30),
    st.booleans(),
)


@settings(deadline=None, max_examples=150)
@given(REFERENCES, st.sets(st.integers(2, 30), min_size=1, max_size=6))
def test_a_range_names_the_same_rows_as_before(reference: str, gone: set[int]) -> None:
    """Moved, a range holds exactly the rows of before that are left; another sheet's stays."""
    move = Move("Data", RowMap(gone))
    first, last = (int(n) for n in re.findall(r"(\d+)(?=[:\]])", reference))
    left = [n for n in range(first, last + 1) if n not in gone]
    text = f'of:=SUM({reference};"[.A1:.B30]")'
    if "Other" in reference:
        assert move.formula(text, "Data") == text
        return
    if not left:
        with pytest.raises(Unshiftable):
            move.formula(text, "Data")
        return
    moved = move.formula(text, "Data")
    start, end = (int(n) for n in re.findall(r"(\d+)(?=[:\]])", moved.split(";")[0]))
    now = [n for n in range(1, 31) if n not in gone]
    assert now[start - 1 : end] == left
    assert moved.endswith(';"[.A1:.B30]")')


# --- with LibreOffice ----------------------------------------------------------------------------

PASSWORD = "open sesame, please"


@pytest.fixture(scope="module")
def made(libreoffice: LibreOffice, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A document as LibreOffice itself writes it: chart, sparkline, rules, note, link, filter."""
    folder = tmp_path_factory.mktemp("made")
    book = xlsxwriter.Workbook(str(folder / "t.xlsx"))
    day, red = book.add_format({"num_format": "yyyy-mm-dd"}), book.add_format({"bg_color": "red"})
    data = book.add_worksheet("Data")
    data.write_row(0, 0, (*HEADER, "double"))
    for n in range(1, 11):
        data.write_row(n, 0, (f"K{n}",))
        data.write_number(n, 1, 45_291 + n, day)
        data.write_row(n, 2, (f"Given{n} Family{n}", f"p{n}@example.org", n * 10))
        data.write_formula(n, 5, f"=E{n + 1}*2", value=n * 20)
    data.write_formula(12, 4, "=SUM(E2:E11)", value=550)
    rule = {"type": "formula", "criteria": "=$E2>50", "format": red}
    data.conditional_format("E2:E11", rule)
    data.data_validation("H2:H11", {"validate": "custom", "value": "=E2>5"})
    data.write_comment("C4", "Note on Given3")
    data.write_url("D3", "mailto:p2@example.org", string="p2@example.org")
    data.autofilter("A1:F11")
    data.merge_range("A20:B22", "merged")
    data.add_sparkline("I2", {"range": "Data!E2:E11"})
    book.define_name("Amounts", "=Data!$E$2:$E$11")
    other = book.add_worksheet("Other")
    other.write_formula(0, 0, "=SUM(Amounts)", value=550)
    other.write_formula(1, 0, "=Data!E11", value=100)
    other.write_formula(2, 0, "=SUM(Data!E2:E11)*2", value=1100)
    chart = book.add_chart({"type": "column"})
    chart.add_series({"categories": "=Data!$C$2:$C$11", "values": "=Data!$E$2:$E$11"})
    other.insert_chart("D5", chart)
    hidden = book.add_worksheet("Hidden")
    hidden.hide()
    hidden.write_row(0, 0, HEADER)
    book.close()
    with libreoffice.open(folder / "t.xlsx") as document_:
        document_.save(folder / "t.ods", "calc8")
    return folder / "t.ods"


def copy_of(made: Path, folder: Path) -> Path:
    path = folder / "t.ods"
    path.write_bytes(made.read_bytes())
    return path


def shown(libreoffice: LibreOffice, path: Path, folder: Path) -> list[list[str]]:
    """Every sheet's formulas, and their results as LibreOffice computes them anew."""
    with libreoffice.open(path) as book:
        out = [*book.get("Data", "A1:I22"), *book.get("Other", "A1:B4")]
        book.save(folder / f"again-{path.name}", "calc8")
    text = parts(folder / f"again-{path.name}")["content.xml"].decode()
    ranges = re.findall(r'(?<!data-)range[\w-]*="([^"]*)"', text)
    values = re.findall(
        r'table:formula="([^"]*)" office:value-type="float" office:value="([^"]*)"', text
    )
    return [*out, sorted(ranges), [f"{f} = {v}" for f, v in values]]


def test_libreoffice_opens_the_result_and_agrees(
    libreoffice: LibreOffice, made: Path, tmp_path: Path
) -> None:
    """Formulas, values and ranges are those of LibreOffice's own deletion of the same rows."""
    path = copy_of(made, tmp_path)
    records = found(path, DATA)
    gone = ["K3", "K5", "K6"]
    assert erase(path, DATA, gone) == dict.fromkeys(gone, DONE)
    assert levels(path, DATA, [records[key] for key in gone]) == {Level.CLEAN}
    assert not residue(path, "Given3", "Given5", "Given6", "p3@example.org")
    theirs = tmp_path / "theirs.ods"
    with libreoffice.open(made) as book:
        book.delete("Data", [4, 6, 7])
        book.save(theirs, "calc8")
    ours = shown(libreoffice, path, tmp_path)
    # LibreOffice 7.4 leaves a sparkline's range behind; Excel and newer versions move it.
    assert ours == shown(libreoffice, theirs, tmp_path)
    assert b'data-range="Data.E2:Data.E8"' in parts(path)["content.xml"]
    assert [line[0] for line in ours[:8]] == ["key", "K1", "K2", "K4", "K7", "K8", "K9", "K10"]
    assert any("= 410" in said for said in ours[-1])
    chart = parts(tmp_path / "again-t.ods")["Object 1/content.xml"].decode()
    assert "Data.C2:Data.C8" in chart
    assert "Given4 Family4" in chart
    assert "Given5" not in chart


def test_a_row_that_a_formula_reads_is_emptied(
    libreoffice: LibreOffice, made: Path, tmp_path: Path
) -> None:
    """The sheet stays as long as it was, charts and totals see an empty row."""
    path = copy_of(made, tmp_path)
    assert erase(path, DATA, ["K10"]) == {"K10": DONE}
    assert not residue(path, "Given10", "p10@example.org")
    lines = shown(libreoffice, path, tmp_path)
    assert lines[10][:6] == [""] * 6
    assert lines[12][4] == "=SUM(E2:E11)"
    assert any("[.E2:.E11]) = 450" in said for said in lines[-1])


def test_libreoffices_own_encryption_is_read_and_written(
    libreoffice: LibreOffice, made: Path, tmp_path: Path
) -> None:
    """A document that LibreOffice encrypted is edited, stays encrypted, and opens there again."""
    path = tmp_path / "sealed.ods"
    with libreoffice.open(made) as book:
        book.save(path, "calc8", PASSWORD)
    assert b"encryption-data" in parts(path)["META-INF/manifest.xml"]
    for password, code in ((None, "password_missing"), ("no", "password_wrong")):
        with pytest.raises(CredentialsRefused) as caught:
            found(path, DATA, password)
        assert caught.value.code == code
    assert erase(path, DATA, ["K3"], PASSWORD) == {"K3": DONE}
    after = parts(path)
    assert b"office:document-content" not in after["content.xml"]
    assert b"encryption-data" in after["META-INF/manifest.xml"]
    assert "K3" not in found(path, DATA, PASSWORD)
    with libreoffice.open(path, PASSWORD) as book:
        lines = book.get("Data", "A1:A5")
    assert [line[0] for line in lines] == ["key", "K1", "K2", "K4", "K5"]


def test_doctor_says_how_rows_would_go(made: Path, tmp_path: Path) -> None:
    """The way of the rows, and a hidden sheet with the same columns."""
    path = copy_of(made, tmp_path)
    findings = {probe.check: probe for probe in session(path).probe([DATA])}
    assert "removed" in findings["c/rows: way"].detail
    assert not findings["sheet Hidden"].ok
    assert "hidden" in findings["sheet Hidden"].detail
