"""Rows read in blocks: the quick way, the careful way and a slow obvious reader say the same."""

from __future__ import annotations

import io
import re
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
import xlsxwriter
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lxml import etree

from retention.connectors.base import Result
from retention.connectors.spreadsheet import blockreader
from retention.connectors.spreadsheet.blocks import Block
from retention.connectors.spreadsheet.lookup import short_among, with_words_of
from retention.connectors.spreadsheet.package import Package
from retention.connectors.spreadsheet.residue import (
    Needles,
    Words,
    distinctive,
    fold,
    may_occur,
)
from retention.connectors.spreadsheet.sheetxml import column_letters, column_number, plain_number
from retention.connectors.spreadsheet.strings import SharedStrings
from retention.connectors.spreadsheet.table import Cell, Row, fingerprint
from retention.connectors.spreadsheet.workbook import SheetTable, Workbook
from retention.errors import PermanentFailure
from tests.connectors.spreadsheet_sessions import erase, found, location, mask, parts

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
KINDS = {None: "n", "n": "n", "s": "s", "str": "s", "inlineStr": "s", "b": "b", "e": "e", "d": "d"}
DONE = (Result.DISPOSED, "")

# --- odd but valid sheets ------------------------------------------------------------------------

LETTERS = st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_categories=["Cs", "Cc"])
TEXT = st.text(LETTERS, max_size=8)
NUMBER = st.sampled_from(
    ["0", "7", "007", "1042", "43831", "1.50", "-3", "1E3", "12345678901234567"]
)
WORTH = st.one_of(
    TEXT, st.sampled_from(["a &amp; b", "x&#65;y", "_x0041_", "Kari <b>", "]]", "'", '"'])
)


@st.composite
def spelt(draw: st.DrawFn, name: str, said: dict[str, str], inner: str | None, *, odd: bool) -> str:
    """One element, its attributes in any order and quotes where `odd`."""
    order = draw(st.permutations(list(said))) if odd else list(said)
    quote = draw(st.sampled_from("\"'")) if odd else '"'
    gap = draw(st.sampled_from([" ", "  ", "\n"])) if odd else " "
    written = "".join(f"{gap}{key}={quote}{said[key]}{quote}" for key in order)
    if inner is None:
        return f"<P{name}{written}/>"
    return f"<P{name}{written}>{inner}</P{name}>"


@st.composite
def text_inside(draw: st.DrawFn, *, odd: bool) -> str:
    """What may stand in `si` or `is`: one text, rich runs, or one with a phonetic reading."""
    text = escape(draw(WORTH))
    form = (
        draw(st.sampled_from(["plain", "space", "rich", "phonetic", "empty"])) if odd else "plain"
    )
    if form == "plain":
        return f"<Pt>{text}</Pt>"
    if form == "space":
        return f'<Pt xml:space="preserve">{text}</Pt>'
    if form == "rich":
        return f"<Pr><PrPr><Pb/></PrPr><Pt>{text}</Pt></Pr><Pr><Pt>{text}</Pt></Pr>"
    if form == "phonetic":
        return f'<Pt>{text}</Pt><PrPh sb="0" eb="1"><Pt>reading</Pt></PrPh>'
    return "<Pt/>"


@st.composite
def cell(draw: st.DrawFn, where: str | None, strings: int, *, odd: bool) -> str:
    said = {"r": where} if where is not None else {}
    if draw(st.booleans()):
        said["s"] = draw(st.sampled_from(["1", "12", "3"]))
    kind = draw(st.sampled_from(["n", "s", "str", "b", "e", "d", "inlineStr", "none", "untyped"]))
    if kind == "none":
        return draw(spelt("c", said, None, odd=odd))
    if kind != "untyped":
        said["t"] = kind
    if kind == "inlineStr":
        inner = f"<Pis>{draw(text_inside(odd=odd))}</Pis>"
        return draw(spelt("c", said, inner, odd=odd))
    values = {
        "s": st.integers(0, strings - 1).map(str),
        "str": WORTH.map(escape),
        "b": st.sampled_from("01"),
        "e": st.just("#N/A"),
        "d": st.just("2024-03-01"),
    }
    value = draw(values.get(kind, NUMBER))
    formula = "<Pf>1+1</Pf>" if odd and draw(st.integers(0, 5)) == 0 else ""
    return draw(spelt("c", said, f"{formula}<Pv>{value}</Pv>", odd=odd))


@st.composite
def row(draw: st.DrawFn, number: int, strings: int, *, odd: bool) -> str:
    said = {"r": str(number)}
    if draw(st.booleans()):
        said |= {"spans": "1:12", "ht": "12", "customHeight": "1"}
    if odd and draw(st.integers(0, 4)) == 0:
        return draw(spelt("row", said, None, odd=odd))
    columns = sorted(draw(st.sets(st.sampled_from([1, 2, 3, 4, 26, 27, 702]), max_size=5)))
    if odd:
        columns = draw(st.permutations(columns))
        if draw(st.integers(0, 5)) == 0:
            # Cells without a name stand side by side.
            cells = [draw(cell(None, strings, odd=odd)) for _ in columns]
            return draw(spelt("row", said, "".join(cells), odd=odd))
    names = [f"{column_letters(column).decode()}{number}" for column in columns]
    cells = [draw(cell(name, strings, odd=odd)) for name in names]
    return draw(spelt("row", said, "".join(cells), odd=odd))


@st.composite
def sheets(draw: st.DrawFn) -> tuple[str, str]:
    """(sheet, strings): usual rows with some odd ones between, or in an odd prefix."""
    kept = draw(st.lists(text_inside(odd=draw(st.booleans())), min_size=1, max_size=6))
    strings = "".join(f"<Psi>{inner}</Psi>" for inner in kept)
    numbers = sorted(draw(st.sets(st.integers(1, 40), max_size=8)))
    rows = [draw(row(number, len(kept), odd=draw(st.integers(0, 3)) == 0)) for number in numbers]
    between = draw(
        st.sampled_from(
            ["", "", "", "", "\n", "<!-- <row r='1'/> -->", "<?note x?>", "<![CDATA[ ]]>"]
        )
    )
    at = draw(st.integers(0, len(rows)))
    rows.insert(at, between)
    prefix = draw(st.sampled_from(["", "", "", "x:"]))
    named = f'xmlns{":x" if prefix else ""}="{MAIN}"'
    sheet = f"<Pworksheet {named}><PsheetData>{''.join(rows)}</PsheetData></Pworksheet>"
    table = f'<Psst {named} count="9">{strings}</Psst>'
    return tuple(re.sub(r"<(/?)P(?=[a-zA-Z])", rf"<\1{prefix}", x) for x in (sheet, table))  # type: ignore[return-value]  # two in, two out


def relations(*kinds_and_targets: tuple[str, str]) -> str:
    inner = "".join(
        f'<Relationship Id="r{n}" Type="{OFFICE}/{kind}" Target="{target}"/>'
        for n, (kind, target) in enumerate(kinds_and_targets)
    )
    return f'<Relationships xmlns="{RELATIONS}">{inner}</Relationships>'


def package(sheet: str | bytes, strings: str | bytes) -> io.BytesIO:
    out = io.BytesIO()
    sheets = '<sheets><sheet name="S" sheetId="1" r:id="r0"/></sheets>'
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("_rels/.rels", relations(("officeDocument", "w.xml")))
        around = relations(("worksheet", "s.xml"), ("sharedStrings", "t.xml"))
        made.writestr("_rels/w.xml.rels", around)
        made.writestr("w.xml", f'<workbook xmlns="{MAIN}" xmlns:r="{OFFICE}">{sheets}</workbook>')
        made.writestr("s.xml", sheet)
        made.writestr("t.xml", strings)
    return out


def table(sheet: str | bytes, strings: str | bytes) -> SheetTable:
    workbook = Workbook(Package(package(sheet, strings)))
    return SheetTable(workbook, workbook.sheets[0], None)


# --- three readers -------------------------------------------------------------------------------


def in_blocks(read: SheetTable) -> list[Row]:
    rows: list[Row] = []
    for piece in read.pieces():
        rows += piece.rows() if isinstance(piece, Block) else [piece]
    return rows


def plainly(rows: list[Row]) -> list[tuple[int, list[Cell]]]:
    return [(r.number, r.cells) for r in rows]


def obvious(sheet: str, strings: str) -> list[tuple[int, list[Cell]]]:
    """A reader without any haste, on a tree."""

    def text(item: etree._Element) -> bytes:
        runs = item.iter(f"{{{MAIN}}}t")
        spoken = set(item.iterfind(f".//{{{MAIN}}}rPh/{{{MAIN}}}t"))
        return "".join(run.text or "" for run in runs if run not in spoken).encode()

    table = [text(item) for item in etree.fromstring(strings.encode()).iterfind(f"{{{MAIN}}}si")]
    out: list[tuple[int, list[Cell]]] = []
    last = 0
    for line in etree.fromstring(sheet.encode()).iter(f"{{{MAIN}}}row"):
        last = int(line.get("r") or last + 1)
        column, cells = 0, []
        for item in line.iterfind(f"{{{MAIN}}}c"):
            name = item.get("r")
            column = column_number(name.rstrip("0123456789").encode()) if name else column + 1
            kind, index = item.get("t"), -1
            value = (item.findtext(f"{{{MAIN}}}v") or "").encode()
            formula = item.find(f"{{{MAIN}}}f") is not None
            if kind == "inlineStr":
                inside = item.find(f"{{{MAIN}}}is")
                value = text(inside) if inside is not None else b""
            elif kind == "s" and value:
                index = int(value)
                value = table[index]
            elif KINDS[kind] == "n":
                value = plain_number(value) if value else b""
            if value or formula or index >= 0:
                cells.append(Cell(column, KINDS[kind], value, formula, index))
        out.append((last, cells))
    return out


@settings(deadline=None, max_examples=150)
@given(sheets())
@example((f'<worksheet xmlns="{MAIN}"><sheetData/></worksheet>', f'<sst xmlns="{MAIN}"/>'))
@example(
    (
        (
            f'<worksheet xmlns="{MAIN}"><sheetData><row r="12"><c r="A12" s="12"><v>12</v></c>'
            '</row><row r="13"><c r="A12"><v>1</v></c></row></sheetData></worksheet>'
        ),
        f'<sst xmlns="{MAIN}"/>',
    )
)
def test_all_readers_say_the_same_or_refuse(made: tuple[str, str]) -> None:
    """Whatever the form: what is read in blocks is what stands there, or the file is refused."""
    if "<!" in made[0] or "<?" in made[0]:
        for way in (in_blocks, lambda read: list(read.rows())):
            with pytest.raises(PermanentFailure, match=r"s\.xml"):
                way(table(*made))
        return
    quick, careful = in_blocks(table(*made)), list(table(*made).rows())
    assert plainly(quick) == plainly(careful) == obvious(*made)
    assert [fingerprint(r) for r in quick] == [fingerprint(r) for r in careful]
    assert [r.raw for r in quick] == [r.raw for r in careful]
    for piece in table(*made).pieces():
        if isinstance(piece, Block):
            assert piece.fingerprints() == [fingerprint(r) for r in piece.rows()]
            some = list(range(0, len(piece), 2))
            assert piece.select(some).fingerprints() == piece.fingerprints()[::2]
            assert [list(x) for x in piece.shared()] == [
                [c.shared for c in r.cells if c.shared >= 0] for r in piece.rows()
            ]
            assert [sorted(x) for x in piece.telling()] == [
                sorted(
                    c.value for c in r.cells if c.shared < 0 and (c.kind == "s" or len(c.value) > 7)
                )
                for r in piece.rows()
            ]


@pytest.mark.parametrize(
    "rows",
    [
        '<row r="2"><c r="A2"><v>1</v></c></row><row r="2"><c r="A2"><v>1</v></c></row>',
        '<row r="2"><c r="A2"><v>1</v></c></row><row r="1"><c r="A1"><v>1</v></c></row>',
        '<row r="2"><c r="A2" t="s"><v>7</v></c></row>',
        '<row r="2"><c r="A2" t="s"><v>-1</v></c></row>',
        '<row r="2"><c r="A2" t="s"><v>x</v></c></row>',
        '<row r="2"><c r="A2"><v>&unknown;</v></c></row>',
        '<row r="2"><c r="A2" t="str"><v>a\x01b</v></c></row>',
        '<row r="2"><c r="A2" t="str"><v>a]]>b</v></c></row>',
        '<row r="2" s="1" s="2"><c r="A2"><v>1</v></c></row>',
        '<row r="2" q:z="1"><c r="A2"><v>1</v></c></row>',
        '<row r="2"><c r="A2"><v>1</v></c></row></sheetData',
        '<foo bar="<row r="2"><c r="A2"><v>1</v></c></row>"/>',
        '<foo><row r="2"><c r="A2"><v>1</v></c></row>',
        '<!-- <row r="2"><c r="A2"><v>1</v></c></row>',
        '<row r="2"><c r="A2" t="odd"><v>1</v></c></row>',
    ],
)  # fmt: skip
def test_what_is_not_well_formed_is_refused_either_way(rows: str) -> None:
    """The strict pattern never makes a file readable that the careful reader refuses."""
    usual = "".join(f'<row r="{n}"><c r="A{n}"><v>{n}</v></c></row>' for n in range(3, 9))
    for around in (("", ""), ("", usual)):
        inner = around[0] + rows + around[1]
        sheet = f'<worksheet xmlns="{MAIN}"><sheetData>{inner}</sheetData></worksheet>'
        for way in (in_blocks, lambda read: list(read.rows())):
            with pytest.raises(PermanentFailure):
                way(table(sheet, f'<sst xmlns="{MAIN}"><si><t>a</t></si></sst>'))


@pytest.mark.parametrize("bad", [b"\xff", b"\xc3(", b"\xef\xbf\xbe"])
def test_what_is_not_utf_8_is_refused_either_way(bad: bytes) -> None:
    """Bytes that are no text are never matched."""
    text = '<row r="1"><c r="A1" t="str"><v>QQ</v></c></row>'
    used = '<row r="2"><c r="A2" t="s"><v>0</v></c></row>'
    sheet = f'<worksheet xmlns="{MAIN}"><sheetData>{text}{used}</sheetData></worksheet>'.encode()
    strings = f'<sst xmlns="{MAIN}"><si><t>QQ</t></si></sst>'.encode()
    for made in ((sheet.replace(b"QQ", bad), strings), (sheet, strings.replace(b"QQ", bad))):
        with pytest.raises(PermanentFailure):
            in_blocks(table(*made))


# --- the act -------------------------------------------------------------------------------------


def written(path: Path, odd: set[int]) -> Path:
    """Rows 2 to 41; those in `odd` hold a formula, a long number or no amount."""
    book = xlsxwriter.Workbook(str(path))
    sheet = book.add_worksheet()
    bold = book.add_format({"bold": True})
    sheet.write_row(0, 0, ("key", "received", "name", "email"))
    for n in range(40):
        sheet.write_row(
            n + 1, 0, (f"K{n:03}", f"2024-01-{n % 28 + 1:02}", f"N & {n}", f"p{n}@example.org")
        )
        if n in odd:
            sheet.write_formula(n + 1, 4, f"=A{n + 2}&1", bold, "x")
        elif n % 3:
            sheet.write(n + 1, 5, 4791200000 + n, bold)
    book.close()
    return path


def carefully(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blockreader, "alike", lambda _: None)
    monkeypatch.setattr(blockreader, "_GIVE_UP", 0)


@settings(deadline=None, max_examples=15)
@given(st.sets(st.integers(0, 39), max_size=6), st.sets(st.integers(0, 39), min_size=1))
def test_both_ways_write_the_same_file(
    tmp_path_factory: pytest.TempPathFactory, odd: set[int], gone: set[int]
) -> None:
    """Part by part, byte by byte, and the same outcomes."""
    folder = tmp_path_factory.mktemp("both")
    keys = [f"K{n:03}" for n in sorted(gone)]
    told: list[object] = []
    original = written(folder / "original.xlsx", odd).read_bytes()
    for name in ("quick", "careful"):
        path = folder / f"{name}.xlsx"
        path.write_bytes(original)
        with pytest.MonkeyPatch.context() as patch:
            if name == "careful":
                carefully(patch)
            versions = {k: r.ref for k, r in found(path, location()).items()}
            outcomes = erase(path, location(), keys)
            if len(gone) % 2:
                outcomes |= mask(
                    path, location(), [k for k in versions if k not in keys][:3], {"name": "x"}
                )
            told.append((versions, outcomes, parts(path), found(path, location())))
    assert told[0] == told[1]


def test_a_row_number_that_is_also_a_style_moves_alone(tmp_path: Path) -> None:
    """Row 5 with style 5 and height 5 becomes row 4: the style and the height stay."""
    book = xlsxwriter.Workbook(str(tmp_path / "a.xlsx"))
    sheet = book.add_worksheet()
    formats = [book.add_format({"font_size": 20 + n}) for n in range(12)]
    sheet.write_row(0, 0, ("key", "received", "name", "email"))
    for n in range(1, 11):
        sheet.set_row(n, n + 1)
        for column, value in enumerate((f"K{n}", "2024-01-01", "x", "y")):
            sheet.write(n, column, value, formats[n])
    book.close()
    before = parts(tmp_path / "a.xlsx")["xl/worksheets/sheet1.xml"]
    assert b'r="5"' in before
    assert b's="5"' in before
    assert erase(tmp_path / "a.xlsx", location(), ["K1"]) == {"K1": DONE}
    after = parts(tmp_path / "a.xlsx")["xl/worksheets/sheet1.xml"]

    def rows(sheet: bytes) -> list[tuple[int, bytes, set[tuple[int, bytes]]]]:
        """Number and height of every row, and the number and style of its cells."""
        found = re.findall(rb'<row r="(\d+)"[^>]* ht="([\d.]+)"[^>]*>(.*?)</row>', sheet)
        cell = re.compile(rb'<c r="[A-Z](\d+)" s="(\d+)"')
        return [(int(r), h, {(int(c), s) for c, s in cell.findall(x)}) for r, h, x in found]

    moved = [(n - 1, h, {(c - 1, s) for c, s in cells}) for n, h, cells in rows(before) if n > 2]
    assert rows(after) == moved
    assert len(moved) == 9


def test_a_save_between_two_calls_is_noticed(tmp_path: Path) -> None:
    """What one session remembers of a file is void once its bytes are others."""
    from tests.connectors.spreadsheet_sessions import session

    path = written(tmp_path / "a.xlsx", set())
    acting = session(path)
    assert acting.count(location()) == 40
    first = {r.ref.key: r for p in acting.find(location()) for r in p.records}
    other = xlsxwriter.Workbook(str(path))
    sheet = other.add_worksheet()
    sheet.write_row(0, 0, ("key", "received", "name", "email"))
    sheet.write_row(1, 0, ("K001", "2024-01-02", "other", "p1@example.org"))
    sheet.write_row(2, 0, ("K001", "2024-01-02", "N & 1", "p1@example.org"))
    other.close()
    assert acting.count(location()) == 2
    keys = [r.ref.key for r in acting.recheck(location(), ["K001"])]
    assert keys == []
    (outcome,) = acting.erase(location(), [first["K001"].ref])
    assert outcome.result is not Result.DISPOSED
    acting.close()


# --- size ----------------------------------------------------------------------------------------


def numbered(rows: int) -> str:
    cells = "".join(
        f'<row r="{n}"><c r="A{n}"><v>{n}</v></c><c r="B{n}" t="str"><v>name {n}</v></c></row>'
        for n in range(1, rows + 1)
    )
    return f'<worksheet xmlns="{MAIN}"><sheetData>{cells}</sheetData></worksheet>'


def peak_of(read: Iterator[object]) -> int:
    tracemalloc.start()
    try:
        for _ in read:
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_longer_sheet_takes_no_more_memory() -> None:
    """Rows are streamed: four times as many cost the same."""
    empty = f'<sst xmlns="{MAIN}"/>'
    small, large = (peak_of(table(numbered(n), empty).pieces()) for n in (25_000, 100_000))
    assert large < small * 1.3


@settings(deadline=None, max_examples=50)
@given(st.lists(TEXT, max_size=30), st.data())
def test_many_strings_are_kept_in_less_room(texts: list[str], data: st.DataObject) -> None:
    """The compact form gives the same strings, in any order."""
    part = "".join(f"<si><t>{escape(text)}</t></si>" for text in texts)
    xml = f'<sst xmlns="{MAIN}">{part}</sst>'.encode()
    listed, compact = (SharedStrings.load([xml], "t.xml", listed=n) for n in (1000, 3))
    assert len(listed) == len(compact) == len(texts)
    wanted = (
        data.draw(st.lists(st.integers(0, max(0, len(texts) - 1)), max_size=9)) if texts else []
    )
    assert list(listed.pick(wanted, "")) == list(compact.pick(wanted, ""))
    assert [compact[i].decode() for i in wanted] == [texts[i] for i in wanted]


WORDS = st.sampled_from(
    ["kari", "Nordmann", "ab", "æøå", "x@example.org", "2024", "to:go", "ß", "a.b", "it"]
)
VALUE = st.lists(WORDS, max_size=4).map(" ".join) | TEXT


@settings(deadline=None, max_examples=200)
@given(st.lists(VALUE, max_size=12), st.sets(WORDS.map(str.casefold), max_size=6), st.booleans())
def test_asking_of_all_values_at_once_gives_the_same(
    values: list[str], known: set[str], many: bool
) -> None:
    """What is asked in bulk is exactly what is asked one by one."""
    known |= {f"filler{n}" for n in range(50)} if many else set()
    assert with_words_of(values, known) == [v for v in values if may_occur(v, known)]
    folded = {fold(v.strip()) for v in values if fold(v.strip()) in known}
    assert short_among(values, known) == {
        fold(v.strip()) for v in values if fold(v.strip()) in folded and not distinctive(v)
    }


@settings(deadline=None, max_examples=200)
@given(
    st.lists(VALUE, max_size=8), st.lists(VALUE, max_size=8), st.sampled_from((" ", "\n", "<b>"))
)
def test_a_first_look_at_words_hides_nothing(
    values: list[str], texts: list[str], between: str
) -> None:
    """What the needles of all values find, those of the values with a word in the text find too."""
    text = escape(between.join([*texts, "kari  NORDMANN", *texts[:1]])).encode()
    likely = with_words_of(values, Words(values).among([text]))
    assert Needles(values).among([text]) <= Needles(likely).among([text])
