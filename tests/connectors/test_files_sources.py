"""Dates and fields of files: times, names, what documents say of themselves."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retention.connectors.base import When
from retention.connectors.files.names import is_rotated, key_of, steps_of
from retention.connectors.files.pattern import NamePattern
from retention.connectors.files.stamps import iso, of_pdf
from retention.errors import PermanentFailure
from tests.connectors.files_world import OLD, found, location, open_files, write

DAY = date(2024, 3, 1)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty root."""
    (tmp_path / "policies").mkdir()
    (tmp_path / "share").mkdir()
    return tmp_path / "share"


def dated(root: Path, *sources: str) -> dict[str, When]:
    """The dates of the only file."""
    (record,) = found(root, location("**/*", dates=sources))
    return dict(record.dates)


# --- times ------------------------------------------------------------------------------------


def test_times_of_a_file(root: Path) -> None:
    """To the microsecond, in UTC; created and changed are now, whatever the others say."""
    begun = datetime.now(UTC) - timedelta(seconds=5)
    file = write(root / "a.txt")
    read_at = OLD + timedelta(days=3, microseconds=123_456)
    os.utime(file, ns=(int(read_at.timestamp()) * 10**9 + 123_456_000, file.stat().st_mtime_ns))
    dates = dated(root, "modified", "accessed", "changed", "created")
    assert dates["modified"] == OLD
    assert dates["accessed"] == read_at
    for source in ("changed", "created"):
        when = dates[source]
        # Some file systems do not remember a file's birth; then it is not guessed.
        assert when is None or (isinstance(when, datetime) and when > begun)
    assert isinstance(dates["changed"], datetime)


def test_an_access_is_never_before_the_last_change(root: Path) -> None:
    """A mount without access times would make a file that was just written look unused."""
    file = write(root / "a.txt")
    os.utime(file, (OLD.timestamp() - 86_400, OLD.timestamp()))
    assert dated(root, "accessed") == {"accessed": OLD}


@pytest.mark.parametrize("seconds", [0, 1, -86_400, 315_532_800])
def test_zero_is_no_date(root: Path, seconds: int) -> None:
    """1970 and 1980 are what programs write that know no date: reviewed, not deleted as ancient."""
    file = write(root / "a.txt")
    os.utime(file, (seconds, seconds))
    assert dated(root, "modified") == {"modified": None}


# --- names ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "path", "when"),
    [
        ("invoice-{YYYY}-{MM}-{DD}*", "in/invoice-2024-03-01.pdf", DAY),
        ("invoice-{YYYY}-{MM}-{DD}*", "in/other-2024-03-01.pdf", None),
        ("{YYYY}{MM}{DD}_*", "20240301_a.jpg", DAY),
        ("{YYYY}{MM}{DD}_*", "20240230_a.jpg", None),
        ("*{YYYY}-{MM}.*", "b-2024-02.csv", date(2024, 2, 29)),
        ("{YYYY}/*", "in/2024/x.pdf", date(2024, 12, 31)),
        ("{YYYY}/{MM}/{DD}/*", "2024/03/01/x.pdf", DAY),
        ("{YYYY}-{MM}-{DD}T{hh}*", "2024-03-01T09.log", datetime(2024, 3, 1, 8, tzinfo=UTC)),
        (
            "{YYYY}-{MM}-{DD} {hh}.{mm}.{ss}.png",
            "2024-10-27 02.30.00.png",
            datetime(2024, 10, 27, 1, 30, tzinfo=UTC),
        ),
        ("{YYYY}-*", "٢٠٢٤-x", None),
        ("{YYYY}-*", "0000-x", None),
    ],
)
def test_dates_in_names(root: Path, pattern: str, path: str, when: When) -> None:
    """Local to the organisation; a month or year means its end; what is no date is None."""
    write(root / path)
    target = location("**/*", dates=["name_date"], pattern=pattern)
    (record,) = found(root, target, timezone="Europe/Oslo")
    assert record.dates == {"name_date": when}


@pytest.mark.parametrize(
    "pattern",
    [
        "*.pdf",
        "{MM}-{DD}",
        "{YYYY}{DD}",
        "{a}{a}",
        "{A}",
        "{}",
        "{1a}",
        "a{",
        "}a",
        "**/{a}",
        "{a-b}",
    ],
)
def test_patterns_that_say_nothing_for_certain_are_refused(pattern: str) -> None:
    """When the policy is read, not when something is due."""
    with pytest.raises(ValueError, match=r"pattern|brace|date|stands twice|neither"):
        location("*", pattern=pattern)


def test_fields_of_a_file(root: Path) -> None:
    """Parts of the name and of the folder are fields, and so may be keys of people."""
    write(root / "Customers" / "4711 Åse" / "Offer.PDF", b"12345")
    fields = ("name", "stem", "suffix", "folder", "path", "size", "owner", "customer", "kind")
    pattern = ["nothing/{kind}", "Customers/{customer} */*"]
    (record,) = found(root, location("**/*", fields=fields, pattern=pattern))
    owner = record.fields["owner"]
    assert isinstance(owner, str)
    assert owner
    assert {**record.fields, "owner": ""} == {
        "name": "Offer.PDF",
        "stem": "Offer",
        "suffix": ".pdf",
        "folder": "Customers/4711 Åse",
        "path": "Customers/4711 Åse/Offer.PDF",
        "size": 5,
        "owner": "",
        "customer": "4711",
        "kind": None,
    }


def test_fields_can_always_be_encoded(root: Path) -> None:
    """Bytes that are no text become %XX; characters are composed."""
    write(root / os.fsdecode(b"caf\xe9") / "A\u030ase.txt")
    (record,) = found(root, location("**/*", fields=("folder", "stem")))
    assert record.fields == {"folder": "caf%E9", "stem": "\xc5se"}


@pytest.mark.parametrize(
    ("dates", "fields"), [(("received",), ()), (("name_date",), ()), ((), ("customer",))]
)
def test_unknown_sources_are_refused(
    root: Path, dates: tuple[str, ...], fields: tuple[str, ...]
) -> None:
    """A name that nothing would ever fill stops the run and says what there is."""
    target = location("*", dates=dates, fields=fields)
    with pytest.raises(PermanentFailure) as caught:
        open_files(root).containers(target)
    assert caught.value.code == "unknown_source"
    assert "modified" in caught.value.hint


@settings(deadline=None, max_examples=200)
@given(st.lists(st.binary(min_size=1, max_size=12), min_size=1, max_size=4))
def test_keys_and_paths_are_one_to_one(parts: list[bytes]) -> None:
    """Any path has one key, and that key leads back to it."""
    steps = tuple(os.fsdecode(p.replace(b"/", b"_").replace(b"\0", b"_")) for p in parts)
    if any(step in (".", "..") for step in steps):
        return
    key = key_of(steps)
    assert steps_of(key) == steps
    key.encode()


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=20))
def test_any_text_is_a_key_of_ours_or_refused(text: str) -> None:
    """No text leads to another path than the one that has it as key."""
    try:
        steps = steps_of(text)
    except PermanentFailure:
        return
    assert key_of(steps) == text


# --- documents --------------------------------------------------------------------------------


def test_office_documents(root: Path) -> None:
    """As a real program writes them."""
    book = openpyxl.Workbook()
    book.properties.created = datetime(2020, 2, 3, 4, 5, 6, tzinfo=UTC)
    book.save(root / "a.xlsx")
    dates = dated(root, "document_created", "document_modified", "taken")
    assert dates["document_created"] == datetime(2020, 2, 3, 4, 5, 6, tzinfo=UTC)
    assert isinstance(dates["document_modified"], datetime)
    assert dates["taken"] is None


def _odf(meta: bytes, name: str = "meta.xml") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, meta)
    return buffer.getvalue()


_META = (
    b'<m xmlns:meta="urn:oasis:names:tc:opendocument:xmlns:meta:1.0"'
    b' xmlns:dc="http://purl.org/dc/elements/1.1/">%s</m>'
)
_CREATED = b"<meta:creation-date>2024-03-01T10:00:00.5</meta:creation-date>"


@pytest.mark.parametrize(
    ("data", "when"),
    [
        (_odf(_META % _CREATED), DAY),
        (_odf(_META % (_CREATED * 2)), None),
        (_odf(_META % b"<dc:date>2024-03-01T10:00:00</dc:date>"), None),
        (_odf(b'<!DOCTYPE m [<!ENTITY a "2024-03-01">]>' + _META % _CREATED), None),
        (_odf(_META % (_CREATED + b" " * 2_000_000)), None),
        (_odf(_META % _CREATED, "other.xml"), None),
        (_odf(_META % _CREATED)[:-30], None),
        (b"PK\x05\x06" + b"\xff" * 18, None),
        (b"", None),
    ],
)
def test_open_documents_and_what_only_looks_so(root: Path, data: bytes, when: When) -> None:
    """A local time is a civil date; entities, bombs and damaged archives give none."""
    write(root / "a.odt", data)
    assert dated(root, "document_created") == {"document_created": when}


def _pdf(information: bytes, *, trailer: bytes = b"/Info 1 0 R", update: bytes = b"") -> bytes:
    """A PDF of one information dictionary and a note with dates of its own."""
    note = b"2 0 obj\n<</Type/Annot/CreationDate(D:19990101000000Z)>>\nendobj\n"
    body = b"%PDF-1.4\n"
    first = len(body)
    body += b"1 0 obj\n" + information + b"\nendobj\n"
    second = len(body)
    body += note
    table = len(body)
    body += b"xref\n0 3\n0000000000 65535 f \n"
    body += b"%010d 00000 n \n%010d 00000 n \n" % (first, second)
    body += b"trailer\n<</Size 3" + trailer + b">>\nstartxref\n%d\n%%%%EOF\n" % table
    if update:
        at = len(body)
        body += b"1 0 obj\n" + update + b"\nendobj\n"
        xref = len(body)
        body += b"xref\n1 1\n%010d 00000 n \ntrailer\n<</Size 3/Info 1 0 R/Prev %d>>\n" % (
            at,
            table,
        )
        body += b"startxref\n%d\n%%%%EOF\n" % xref
    return body


_SAID = b"<</Creator(x)/CreationDate(D:20240301120000+01'00')/ModDate(D:20240302120000)>>"


@pytest.mark.parametrize(
    ("data", "created", "modified"),
    [
        (_pdf(_SAID), datetime(2024, 3, 1, 11, tzinfo=UTC), date(2024, 3, 2)),
        (
            _pdf(b"<</CreationDate(D:20240301120000Z')>>"),
            datetime(2024, 3, 1, 12, tzinfo=UTC),
            None,
        ),
        (_pdf(_SAID, update=b"<</CreationDate(D:20200101)>>"), date(2020, 1, 1), None),
        (_pdf(_SAID, trailer=b""), None, None),
        (_pdf(_SAID, trailer=b"/Info 1 0 R/Encrypt 9 0 R"), None, None),
        (_pdf(_SAID, trailer=b"/Info 2 1 R"), None, None),
        (_pdf(b"<</CreationDate(D:2024)>>"), None, None),
        (_pdf(b"<</CreationDate(D:20240301)/CreationDate(D:20240302)>>"), None, None),
        (_pdf(_SAID).replace(b"startxref\n", b"startxref\n9"), None, None),
        (_pdf(_SAID)[:-40], None, None),
        (b"%PDF-1.4 /CreationDate(D:20240301120000Z)", None, None),
    ],
)
def test_pdf(root: Path, data: bytes, created: When, modified: When) -> None:
    """Only what the document's own table leads to; notes and attachments are not asked."""
    write(root / "a.pdf", data)
    dates = dated(root, "document_created", "document_modified")
    assert dates == {"document_created": created, "document_modified": modified}


def _jpeg(order: str, stamp: bytes, tag: int = 0x9003) -> bytes:
    """A JPEG of an EXIF block that points to one date."""
    mark = {"<": b"II*\0", ">": b"MM\0*"}[order]
    first = struct.pack(f"{order}H", 1) + struct.pack(f"{order}HHII", 0x8769, 4, 1, 26) + b"\0" * 4
    folder = struct.pack(f"{order}H", 1) + struct.pack(f"{order}HHII", tag, 2, len(stamp), 44)
    block = mark + struct.pack(f"{order}I", 8) + first + folder + b"\0" * 4 + stamp
    head = b"\xff\xd8\xff\xe0\x00\x04ab\xff\xe1" + struct.pack(">H", len(block) + 8)
    return head + b"Exif\0\0" + block + b"\xff\xda\x00\x02"


@pytest.mark.parametrize(
    ("data", "when"),
    [
        (_jpeg("<", b"2024:03:01 10:00:00\0"), DAY),
        (_jpeg(">", b"2024:03:01 10:00:00\0"), DAY),
        (_jpeg("<", b"0000:00:00 00:00:00\0"), None),
        (_jpeg("<", b"    :  :     :  :  \0"), None),
        (_jpeg("<", b"2024:03:01 10:00:00\0", 0x9004), None),
        (_jpeg("<", b"2024:03:01 10:00:00\0")[:40], None),
        (b"\xff\xd8\xff\xda\x00\x02", None),
        (b"GIF89a", None),
    ],
)
def test_photographs(root: Path, data: bytes, when: When) -> None:
    """DateTimeOriginal by the camera's clock, both byte orders; nothing else stands for it."""
    write(root / "a.jpg", data)
    assert dated(root, "taken") == {"taken": when}


@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from([_pdf(_SAID), _odf(_META % _CREATED), _jpeg("<", b"2024:03:01 10:00:00\0")]),
    st.data(),
)
def test_damaged_documents_never_break_a_run(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, draw: st.DataObject
) -> None:
    """Any bytes under any of the names: dates or none, never an error."""
    cut = draw.draw(st.integers(0, len(data)))
    noise = draw.draw(st.binary(max_size=6))
    share = tmp_path_factory.mktemp("damaged")
    for suffix in ("pdf", "odt", "jpg", "docx"):
        write(share / f"a.{suffix}", data[:cut] + noise + data[cut + len(noise) :])
    target = location("*", dates=["document_created", "document_modified", "taken"])
    for record in found(share, target, policies=share):
        assert all(w is None or isinstance(w, date) for w in record.dates.values())


def test_reading_a_document_does_not_make_it_look_used(root: Path) -> None:
    """The owner's own look leaves the time of last access as it was."""
    file = write(root / "a.pdf", _pdf(_SAID))
    dated(root, "document_created")
    assert file.stat().st_atime == OLD.timestamp()


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("2024-03-01T12:00:00Z", datetime(2024, 3, 1, 12, tzinfo=UTC)),
        ("2024-03-01T12:00:00.123456789+02:00", datetime(2024, 3, 1, 10, tzinfo=UTC)),
        ("2024-03-01T12:00:00", DAY),
        ("2024-03-01", DAY),
        ("2024-03", None),
        ("2024-13-01", None),
        ("yesterday", None),
    ],
)
def test_iso_dates(text: str, when: When) -> None:
    """With a zone an instant, without one a civil date, else nothing."""
    assert iso(text) == when


def test_pdf_dates() -> None:
    """The forms that writers use."""
    assert of_pdf("D:20240301") == DAY
    assert of_pdf("20240301120000-0530") == datetime(2024, 3, 1, 17, 30, tzinfo=UTC)
    assert of_pdf("D:20240301120000Z00'00'") == datetime(2024, 3, 1, 12, tzinfo=UTC)
    assert of_pdf("D:2024030112") == DAY
    assert of_pdf("D:20240301120000+99'00'") is None
    assert of_pdf("D:20241301") is None


def test_rotation_is_told_by_the_name() -> None:
    """What no rotation makes is live, also where a number stands in it."""
    assert all(map(is_rotated, ["a.log.1", "a.log-20240101", "a.log.2.gz", "a.gz", "a.old"]))
    assert not any(map(is_rotated, ["a.log", "a1", "a.log1", "v2.json", "2024", "a.log.gzip"]))


def test_a_pattern_names_its_fields() -> None:
    """For messages and checks."""
    pattern = NamePattern("{customer}/{YYYY}-{MM}-{DD} {kind}.pdf")
    assert pattern.fields == ("customer", "kind")
    assert pattern.dated
