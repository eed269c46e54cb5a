"""A workbook with everything in it that points at rows or copies them, most of it in one file."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import xlsxwriter
from lxml import etree

from retention.connectors.spreadsheet.passwords import encrypt
from tests.connectors.spreadsheet_sessions import parts
from tests.connectors.test_spreadsheet_workbooks import HEADER, PIXEL, person

COUNT = 20
LAST = COUNT + 1
TOTAL = LAST + 2
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"
TYPES = "http://schemas.openxmlformats.org/package/2006/content-types"
MICROSOFT = "http://schemas.microsoft.com/office"
THREADED = f"{MICROSOFT}/spreadsheetml/2018/threadedcomments"
MACROS = bytes(range(256)) * 9
XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'


def rich(path: Path, password: str | None = None) -> Path:
    """Persons 0 to 19 in rows 2 to 21 of the sheet Offers; three other sheets look at them."""
    plain = path.with_name("plain.xlsm")
    _write(plain)
    data = parts(plain)
    _add_pivot(data)
    _add_discussion(data)
    _add_leftovers(data)
    order = list(data)
    pack(plain, {name: data[name] for name in order})
    if password is None:
        plain.rename(path)
    else:
        with plain.open("rb") as source, path.open("w+b") as out:
            encrypt(source, password, out, path.name)
        plain.unlink()
    return path


def pack(path: Path, data: dict[str, bytes]) -> None:
    """A package of these parts, with a time of its own."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as package:
        for name, content in data.items():
            package.writestr(zipfile.ZipInfo(name, (2024, 5, 6, 7, 8, 10)), content)


def _write(path: Path) -> None:
    book = xlsxwriter.Workbook(str(path))
    book.add_vba_project(io.BytesIO(MACROS), is_stream=True)
    sheet = book.add_worksheet("Offers")
    day = book.add_format({"num_format": "yyyy-mm-dd"})
    bold = book.add_format({"bold": True})
    for n in range(COUNT):
        key, received, name, email, amount = person(n)
        sheet.write_row(n + 1, 0, (key, None, name, email, amount))
        sheet.write_datetime(n + 1, 1, received, day)
        sheet.write_formula(n + 1, 5, f"=E{n + 2}*2", None, n * 20)
    sheet.add_table(
        0, 0, LAST - 1, 5,
        {"name": "People", "columns": [{"header": h} for h in (*HEADER, "twice")]},
    )  # fmt: skip
    sheet.freeze_panes(1, 0)
    sheet.write_formula(TOTAL - 1, 4, f"=SUM(E2:E{LAST})", None, 1900)
    sheet.write_formula(TOTAL - 1, 5, f"=E10+$E${TOTAL}+SUM(A:A)+SUM(People[amount])", None, 0)
    sheet.write_formula(TOTAL, 5, f"=ROW(E{TOTAL})+ROWS($A$2:$A${LAST})+SUM(3:5)", None, 0)
    sheet.merge_range(TOTAL + 1, 0, TOTAL + 1, 2, "a note below", bold)
    _rules(sheet, bold)
    sheet.add_sparkline(TOTAL - 1, 6, {"range": f"Offers!E2:E{LAST}"})
    _charts(book, sheet)
    sheet.insert_image("H30", "logo.png", {"image_data": io.BytesIO(PIXEL)})
    sheet.insert_textbox("H40", "our offers")
    sheet.insert_textbox("H46", "", {"textlink": f"=Offers!$E${TOTAL}"})
    sheet.insert_button("H52", {"caption": "press"})
    sheet.insert_checkbox("J3", False)
    sheet.write_comment("C4", "call again", {"author": person(2)[2]})
    sheet.write_comment("C8", "good customer", {"author": "Clerk"})
    sheet.write_url("D5", "mailto:p3@example.org", string="p3@example.org")
    sheet.write_url("C9", "https://example.com/kept", string=person(7)[2])
    sheet.write_url(TOTAL + 4, 0, f"internal:Offers!A{TOTAL}", string="to the total")
    sheet.set_h_pagebreaks([6])
    sheet.set_row(8, 33)
    sheet.set_row(12, None, None, {"level": 1, "hidden": True})
    sheet.ignore_errors({"number_stored_as_text": f"A2:A{LAST}"})
    sheet.unprotect_range(f"E2:E{LAST}", "amounts")
    sheet.print_area(f"A1:F{TOTAL}")
    sheet.repeat_rows(0)
    sheet.set_selection(f"C10:D{TOTAL}")
    lists = book.add_worksheet("Lists")
    lists.write_column("A1", ["north", "south", "east"])
    lists.write_formula("C1", f"=SUM(Offers!E2:E{LAST})", None, 1900)
    lists.write_formula("C2", '=Offers!$C$9&" and "&Offers!C11', None, "x")
    lists.write_formula("C3", '=VLOOKUP("K007",Offers!A:E,5,0)', None, 70)
    lists.write_formula("C4", f"=SUM(Totals)+One+COUNTA('Offers'!A$2:A{LAST})", None, 0)
    lists.write_formula("C5", "=C1*2", None, 3800)
    lists.write_url("E1", "internal:Offers!C9", string="go")
    lists.conditional_format(
        "C1:C3", {"type": "formula", "criteria": f"=$C1>Offers!$E${TOTAL}", "format": bold}
    )
    lists.data_validation("F1:F5", {"validate": "list", "source": f"=Offers!$A$2:$A${LAST}"})
    lists.add_sparkline("G1", {"range": f"Offers!E2:E{LAST}"})
    book.add_worksheet("Pivot").write_column(
        "A3", ["Row Labels", *(person(n)[2] for n in range(3))]
    )
    hidden = book.add_worksheet("Old")
    hidden.write_formula("A1", "=Offers!E12", None, 100)
    hidden.very_hidden()
    book.define_name("Totals", f"=Offers!$E$2:$E${LAST}")
    book.define_name("Lists!One", "=Offers!$E$12")
    book.define_name("Rate", "=0.25")
    page = book.add_chartsheet("Drawn")
    chart = book.add_chart({"type": "line"})
    chart.add_series({"values": f"=Offers!$E$2:$E${LAST}"})
    page.set_chart(chart)
    book.close()


def _rules(sheet: Any, bold: Any) -> None:
    sheet.conditional_format(
        f"E2:E{LAST}", {"type": "cell", "criteria": ">", "value": 50, "format": bold}
    )
    doubled = {"type": "formula", "criteria": f"=COUNTIF($A$2:$A${LAST},$A2)>1", "format": bold}
    sheet.conditional_format(f"A2:A{LAST}", doubled)
    above = {"type": "formula", "criteria": f"=$E2>$E${TOTAL}", "format": bold}
    sheet.conditional_format(f"B2:B{LAST}", above)
    bars = {"type": "data_bar", "data_bar_2010": True, "min_type": "formula", "min_value": "=$E$9"}
    sheet.conditional_format(f"E2:E{LAST}", bars)
    sheet.conditional_format(f"F2:F{LAST}", {"type": "icon_set", "icon_style": "3_arrows"})
    sheet.data_validation(f"D2:D{LAST}", {"validate": "list", "source": "=Lists!$A$1:$A$3"})
    limit = {"validate": "custom", "value": f"=E2<$E${TOTAL}"}
    sheet.data_validation(f"E2:E{LAST}", limit)


def _charts(book: Any, sheet: Any) -> None:
    chart = book.add_chart({"type": "column"})
    chart.add_series(
        {
            "name": "=Offers!$E$1",
            "categories": f"=Offers!$C$2:$C${LAST}",
            "values": f"=Offers!$E$2:$E${LAST}",
        }
    )
    sheet.insert_chart("H60", chart)
    apart = book.add_chart({"type": "line"})
    apart.add_series({"values": "=Lists!$A$1:$A$3"})
    sheet.insert_chart("H80", apart)


def relate(data: dict[str, bytes], source: str, kind: str, target: str) -> str:
    """Make a part relate to another; gives the relationship's id."""
    folder, _, name = source.rpartition("/")
    where = f"{folder}/_rels/{name}.rels" if name else "_rels/.rels"
    root = etree.fromstring(data.get(where, f'<Relationships xmlns="{PACKAGE}"/>'.encode()))
    made = etree.SubElement(root, f"{{{PACKAGE}}}Relationship")
    said = f"rIdx{len(root)}"
    made.set("Id", said)
    made.set("Type", kind if kind.startswith("http") else f"{OFFICE}/{kind}")
    made.set("Target", "/" + target)
    data[where] = etree.tostring(root, xml_declaration=True, encoding="UTF-8", standalone=True)
    return said


def add(data: dict[str, bytes], part: str, content: str | bytes, kind: str) -> None:
    """A part with its content type."""
    data[part] = content.encode() if isinstance(content, str) else content
    root = etree.fromstring(data["[Content_Types].xml"])
    made = etree.SubElement(root, f"{{{TYPES}}}Override")
    made.set("PartName", "/" + part)
    made.set("ContentType", kind)
    data["[Content_Types].xml"] = etree.tostring(
        root, xml_declaration=True, encoding="UTF-8", standalone=True
    )


def into(data: dict[str, bytes], part: str, before: str, text: str) -> None:
    """Put a piece of XML into a part, before the first occurrence of something."""
    old = data[part].decode()
    assert before in old, before
    data[part] = old.replace(before, text + before, 1).encode()


def _add_pivot(data: dict[str, bytes]) -> None:
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    names = "".join(f'<s v="{person(n)[2]}"/>' for n in range(COUNT))
    amounts = "".join(f'<n v="{person(n)[4]}"/>' for n in range(COUNT))
    limits = 'containsSemiMixedTypes="0" containsString="0" containsNumber="1" minValue="0"'
    fields = "".join(
        f'<cacheField name="{h}" numFmtId="0"><sharedItems{more}</cacheField>'
        for h, more in zip(
            (*HEADER, "twice"),
            ("/>", "/>", f' count="{COUNT}">{names}</sharedItems>', "/>",
             f' {limits} maxValue="190" count="{COUNT}">{amounts}</sharedItems>', "/>"),
            strict=True,
        )
    )  # fmt: skip
    cache = "xl/pivotCache/pivotCacheDefinition1.xml"
    add(data, cache, f'{XML}<pivotCacheDefinition xmlns="{MAIN}" xmlns:r="{OFFICE}" r:id="rIdx1" '
        f'recordCount="{COUNT}" refreshedBy="Clerk"><cacheSource type="worksheet">'
        f'<worksheetSource ref="A1:F{LAST}" sheet="Offers"/></cacheSource>'
        f'<cacheFields count="6">{fields}</cacheFields></pivotCacheDefinition>',
        f"{kind}.pivotCacheDefinition+xml")  # fmt: skip
    records = "".join(
        f'<r><s v="{k}"/><d v="{d}T00:00:00"/><x v="{n}"/><s v="{e}"/><x v="{n}"/><n v="1"/></r>'
        for n in range(COUNT)
        for k, d, _, e, _ in [person(n)]
    )
    add(data, "xl/pivotCache/pivotCacheRecords1.xml",
        f'{XML}<pivotCacheRecords xmlns="{MAIN}" count="{COUNT}">{records}</pivotCacheRecords>',
        f"{kind}.pivotCacheRecords+xml")  # fmt: skip
    assert (
        relate(data, cache, "pivotCacheRecords", "xl/pivotCache/pivotCacheRecords1.xml") == "rIdx1"
    )
    said = relate(data, "xl/workbook.xml", "pivotCacheDefinition", cache)
    into(data, "xl/workbook.xml", "</workbook>",
         f'<pivotCaches><pivotCache cacheId="7" r:id="{said}"/></pivotCaches>')  # fmt: skip
    items = "".join(f'<item x="{n}"/>' for n in range(COUNT))
    rows = "".join(f'<i><x v="{n}"/></i>' for n in range(COUNT))
    add(data, "xl/pivotTables/pivotTable1.xml",
        f'{XML}<pivotTableDefinition xmlns="{MAIN}" name="P" cacheId="7" dataCaption="Values" '
        f'applyNumberFormats="0"><location ref="A3:B{COUNT + 4}" firstHeaderRow="1" '
        f'firstDataRow="1" firstDataCol="1"/><pivotFields count="6"><pivotField/><pivotField/>'
        f'<pivotField axis="axisRow" showAll="0"><items count="{COUNT + 1}">{items}'
        f'<item t="default"/></items></pivotField><pivotField/><pivotField dataField="1"/>'
        f'<pivotField/></pivotFields><rowFields count="1"><field x="2"/></rowFields>'
        f'<rowItems count="{COUNT + 1}">{rows}<i t="grand"><x/></i></rowItems>'
        f'<colItems count="1"><i/></colItems><dataFields count="1">'
        f'<dataField name="Sum" fld="4"/></dataFields></pivotTableDefinition>',
        f"{kind}.pivotTable+xml")  # fmt: skip
    relate(data, "xl/pivotTables/pivotTable1.xml", "pivotCacheDefinition", cache)
    relate(data, "xl/worksheets/sheet3.xml", "pivotTable", "xl/pivotTables/pivotTable1.xml")
    slicer = "xl/slicerCaches/slicerCache1.xml"
    chosen = "".join(f'<i x="{n}" s="1"/>' for n in range(COUNT))
    x14 = f"{MICROSOFT}/spreadsheetml/2009/9/main"
    add(data, slicer, f'{XML}<slicerCacheDefinition xmlns="{x14}" name="Slicer_name" '
        f'sourceName="name"><pivotTables><pivotTable tabId="3" name="P"/></pivotTables><data>'
        f'<tabular pivotCacheId="7"><items count="{COUNT}">{chosen}</items></tabular></data>'
        f"</slicerCacheDefinition>", "application/vnd.ms-excel.slicerCache+xml")  # fmt: skip
    relate(data, "xl/workbook.xml", f"{MICROSOFT}/2007/relationships/slicerCache", slicer)


def _add_discussion(data: dict[str, bytes]) -> None:
    kind = "application/vnd.ms-excel"
    talk = "xl/threadedComments/threadedComment1.xml"
    people = ((2, "AA"), (6, "BB"), (11, "CC"))
    said = "".join(
        f'<threadedComment ref="C{n + 2}" dT="2024-05-06T07:08:09.00" personId="{{P{mark}}}" '
        f'id="{{T{mark}}}"><text>about {person(n)[2] if n == 2 else "the offer"}</text>'
        "</threadedComment>"
        for n, mark in people
    )
    add(data, talk, f'{XML}<ThreadedComments xmlns="{THREADED}">{said}</ThreadedComments>',
        f"{kind}.threadedcomments+xml")  # fmt: skip
    relate(data, "xl/worksheets/sheet1.xml", f"{MICROSOFT}/2017/10/relationships/threadedComment",
           talk)  # fmt: skip
    listed = "".join(
        f'<person displayName="{name}" id="{{P{mark}}}" userId="{user}" providerId="AD"/>'
        for name, mark, user in (
            (person(2)[2], "AA", "p2@example.org"),
            ("Clerk", "BB", "clerk@example.com"),
            (person(5)[2], "CC", "p5@example.org"),
        )
    )
    add(data, "xl/persons/person.xml",
        f'{XML}<personList xmlns="{THREADED}">{listed}</personList>',
        f"{kind}.person+xml")  # fmt: skip
    relate(data, "xl/workbook.xml", f"{MICROSOFT}/2017/10/relationships/person",
           "xl/persons/person.xml")  # fmt: skip


def _add_leftovers(data: dict[str, bytes]) -> None:
    """Places where programs leave copies: properties, a small picture, another book's cells."""
    kind = "application/vnd.openxmlformats-officedocument"
    core = data["docProps/core.xml"].decode()
    data["docProps/core.xml"] = core.replace(
        "<dc:creator></dc:creator>", f"<dc:creator>{person(2)[2]}</dc:creator>"
    ).encode()
    assert person(2)[2].encode() in data["docProps/core.xml"]
    values = "http://schemas.openxmlformats.org/officeDocument/2006/docPropsVTypes"
    custom = "http://schemas.openxmlformats.org/officeDocument/2006/custom-properties"
    add(data, "docProps/custom.xml",
        f'{XML}<Properties xmlns="{custom}" xmlns:vt="{values}">'
        '<property fmtid="{D5CDD505-2E9C-101B-9397-08002B2CF9AE}" pid="2" name="last">'
        "<vt:lpwstr>p5@example.org</vt:lpwstr></property></Properties>",
        f"{kind}.custom-properties+xml")  # fmt: skip
    relate(data, "", "custom-properties", "docProps/custom.xml")
    add(data, "docProps/thumbnail.jpeg", b"\xff\xd8\xff not a real picture", "image/jpeg")
    relate(data, "", f"{PACKAGE}/metadata/thumbnail", "docProps/thumbnail.jpeg")
    link = "xl/externalLinks/externalLink1.xml"
    add(data, link, f'{XML}<externalLink xmlns="{MAIN}" xmlns:r="{OFFICE}"><externalBook '
        f'r:id="rIdx1"><sheetNames><sheetName val="S"/></sheetNames><sheetDataSet>'
        f'<sheetData sheetId="0"><row r="1"><cell r="A1" t="str"><v>{person(2)[2]}</v></cell>'
        f'<cell r="B1" t="str"><v>stays</v></cell></row></sheetData></sheetDataSet>'
        f"</externalBook></externalLink>", f"{kind}.spreadsheetml.externalLink+xml")  # fmt: skip
    data["xl/externalLinks/_rels/externalLink1.xml.rels"] = (
        f'{XML}<Relationships xmlns="{PACKAGE}"><Relationship Id="rIdx1" Type="{OFFICE}/'
        'externalLinkPath" Target="other.xlsx" TargetMode="External"/></Relationships>'
    ).encode()
    said = relate(data, "xl/workbook.xml", "externalLink", link)
    outside = f'<externalReferences><externalReference r:id="{said}"/></externalReferences>'
    into(data, "xl/workbook.xml", "<definedNames>", outside)
    into(data, "xl/worksheets/sheet2.xml", "</sheetData>",
         '<row r="9"><c r="A9"><f>[1]S!$A$5+[1]S!A9</f><v>0</v></c></row>')  # fmt: skip
    chain = "".join(f'<c r="F{n + 2}" i="1"/>' for n in range(COUNT))
    add(data, "xl/calcChain.xml", f'{XML}<calcChain xmlns="{MAIN}">{chain}</calcChain>',
        f"{kind}.spreadsheetml.calcChain+xml")  # fmt: skip
    relate(data, "xl/workbook.xml", "calcChain", "xl/calcChain.xml")
