"""The file itself: locks, crashes, passwords, hostile packages, and CSV down to the byte."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import msoffcrypto
import pytest
import xlsxwriter
from hypothesis import given, settings
from hypothesis import strategies as st
from msoffcrypto.format.ooxml import OOXMLFile
from openpyxl import Workbook

from retention.connectors.base import Level, Result
from retention.connectors.spreadsheet import replace
from retention.errors import ConnectorError, CredentialsRefused, PermanentFailure, TemporaryFailure
from tests.connectors.spreadsheet_sessions import (
    erase,
    found,
    levels,
    location,
    mask,
    parts,
    session,
    values,
)

DONE = (Result.DISPOSED, "")
HEADER = ("key", "received", "name", "email")
PASSWORD = "open sesame, please"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = xlsxwriter.Workbook(str(tmp_path / "a.xlsx"))
    sheet = made.add_worksheet()
    sheet.write_row(0, 0, HEADER)
    for n in range(4):
        row = (f"K{n}", f"2024-01-0{n + 1}", f"Given{n} Family", f"p{n}@example.org")
        sheet.write_row(n + 1, 0, row)
    made.close()
    return tmp_path / "a.xlsx"


@pytest.mark.parametrize("lock", ["~$a.xlsx", ".~lock.a.xlsx#"])
def test_a_file_that_is_open_elsewhere_waits(path: Path, lock: str) -> None:
    """Excel's and LibreOffice's lock files are respected, and the hint names the file."""
    path.with_name(lock).write_text("somebody")
    before = path.read_bytes()
    with pytest.raises(TemporaryFailure) as caught:
        erase(path, location(), ["K1"])
    assert lock in caught.value.hint
    assert path.read_bytes() == before
    assert len(found(path, location())) == 4


def test_a_save_in_between_wins(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever saves while rows are taken out keeps their version."""
    refs = [found(path, location())["K1"].ref]
    compare = replace._refuse_changed

    def saved_meanwhile(original: Path, before: replace.Snapshot) -> None:
        book = Workbook()
        book.active["A1"] = "theirs"
        book.save(original)
        compare(original, before)

    monkeypatch.setattr(replace, "_refuse_changed", saved_meanwhile)
    with pytest.raises(TemporaryFailure):
        list(session(path).erase(location(), refs))
    assert values(path) == [("theirs",)]
    assert os.listdir(path.parent) == ["a.xlsx"]  # noqa: PTH208


def test_killed_before_the_replacement_leaves_the_original_whole(path: Path) -> None:
    """The process dies with the new file written: the old one is whole; the next act cleans up."""
    before = path.read_bytes()
    code = (
        "import os, sys; from pathlib import Path; sys.path.insert(0, '.')\n"
        "from retention.connectors.spreadsheet import replace\n"
        "from tests.connectors.spreadsheet_sessions import erase, location\n"
        "replace._refuse_changed = lambda *_: os.kill(os.getpid(), 9)\n"
        f"erase(Path({str(path)!r}), location(), ['K1'])"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, check=False, capture_output=True)
    assert done.returncode == -9, done.stderr
    assert path.read_bytes() == before
    left = [p for p in path.parent.iterdir() if p != path]
    assert len(left) == 1
    assert left[0].stat().st_mode & 0o077 == 0
    assert erase(path, location(), ["K1"]) == {"K1": DONE}
    assert list(path.parent.iterdir()) == [path]


def test_mode_and_links_are_kept_and_second_names_refused(path: Path) -> None:
    """A symbolic link still points there; a hard link would keep the rows, so nothing happens."""
    path.chmod(0o640)
    link = path.with_name("link.xlsx")
    link.symlink_to(path.name)
    assert erase(link, location(), ["K1"]) == {"K1": DONE}
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o640
    os.link(path, path.with_name("second.xlsx"))
    with pytest.raises(PermanentFailure, match="second name"):
        erase(path, location(), ["K2"])


def sealed(path: Path) -> Path:
    out = io.BytesIO()
    OOXMLFile(io.BytesIO(path.read_bytes())).encrypt(PASSWORD, out)
    path.write_bytes(out.getvalue())
    return path


def test_an_encrypted_workbook_stays_encrypted(path: Path) -> None:
    """Rows go, the password stays, and no plain copy lies anywhere."""
    sealed(path)
    record = found(path, location(), PASSWORD)["K1"]
    assert erase(path, location(), ["K1"], PASSWORD) == {"K1": DONE}
    with path.open("rb") as file:
        office = msoffcrypto.OfficeFile(file)
        assert office.is_encrypted()
        office.load_key(password=PASSWORD)
        plain = path.with_name("plain.xlsx")
        with plain.open("wb") as out:
            office.decrypt(out)
    assert [row[0] for row in values(plain)] == ["key", "K0", "K2", "K3"]
    assert [p.level for p in session(path, PASSWORD).verify(location(), [record.ref], None)] == [
        Level.CLEAN
    ]


@pytest.mark.parametrize(
    ("password", "code"), [(None, "password_missing"), ("no", "password_wrong")]
)
def test_without_the_right_password_nothing_is_read(
    path: Path, password: str | None, code: str
) -> None:
    """The refusal says which of the two it is, and never the password."""
    sealed(path)
    with pytest.raises(CredentialsRefused) as caught:
        found(path, location(), password)
    assert caught.value.code == code


def hostile(path: Path, change: Callable[[dict[str, bytes]], None]) -> None:
    data = parts(path)
    change(data)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as package:
        for name, content in data.items():
            package.writestr(name, content)


SHEET = "xl/worksheets/sheet1.xml"
DTD = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]>'


def before_root(data: bytes, what: bytes) -> bytes:
    at = data.index(b"<", data.find(b"?>") + 1)
    return data[:at] + what + data[at:]


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update({SHEET: before_root(d[SHEET], DTD)}),
        lambda d: d.update({"xl/workbook.xml": before_root(d["xl/workbook.xml"], DTD)}),
        lambda d: d.update({"xl/sharedStrings.xml": before_root(d["xl/sharedStrings.xml"], DTD)}),
        lambda d: d.update({SHEET: d[SHEET].replace(b"<row", b"<!-- <row --><row", 1)}),
        lambda d: d.update({SHEET: d[SHEET][:-30]}),
        lambda d: d.update({SHEET: d[SHEET].decode().encode("utf-16")}),
        lambda d: d.update({"../outside.xml": b"<x/>"}),
        lambda d: d.update({"/outside.xml": b"<x/>"}),
        lambda d: d.update({"xl/bomb.xml": bytes(30 << 20)}),
        lambda d: d.pop("xl/workbook.xml"),
    ],
)
def test_hostile_or_broken_packages_are_refused(
    path: Path, change: Callable[[dict[str, bytes]], None]
) -> None:
    """Entities, bombs, names that leave the package, half files: refused, nothing read."""
    hostile(path, change)
    with pytest.raises(PermanentFailure):
        found(path, location())


@pytest.mark.parametrize("name", ["a.fods", "a.xls", "a.xlsb", "a.numbers"])
def test_forms_that_are_not_edited_say_what_to_do(path: Path, name: str) -> None:
    """The hint names the form to save in."""
    other = path.rename(path.with_name(name))
    with pytest.raises(PermanentFailure, match="xlsx"):
        found(other, location())


def test_a_file_that_is_no_workbook(path: Path) -> None:
    """Whatever its name says."""
    for data in (b"", b"hello", b"PK\x03\x04 broken"):
        path.write_bytes(data)
        with pytest.raises(ConnectorError):
            found(path, location())


# --- CSV ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_keeps_every_other_byte(
    tmp_path: Path, encoding: str, newline: str, delimiter: str
) -> None:
    """Mark, encoding, delimiter, line ends, quoting habits and blank lines stay as they were."""
    lines = [
        'key;received;name;"email"',
        'A;2024-01-01;"Given; Family";a@example.org',
        "",
        '"B";2024-01-02;"She said ""æ""";b@example.org',
        'C;2024-01-03;"two\nlines";"c@example.org"',
        "D;2024-01-04;=1+1;d@example.org",
    ]
    texts = [line.replace(";", delimiter) + newline for line in lines]
    path = tmp_path / "a.csv"
    path.write_bytes("".join(texts).encode(encoding))
    target = location()
    record = found(path, target)["B"]
    assert record.fields["name"] == 'She said "æ"'
    assert erase(path, target, ["B"]) == {"B": DONE}
    assert path.read_bytes() == "".join(t for n, t in enumerate(texts) if n != 3).encode(encoding)
    assert levels(path, target, [record]) == {Level.CLEAN}
    assert mask(path, target, ["C"], {"name": "x", "email": None}) == {"C": DONE}
    changed = ["C", "2024-01-03", "x", ""]
    texts[4] = delimiter.join(changed) + newline
    assert path.read_bytes() == "".join(t for n, t in enumerate(texts) if n != 3).encode(encoding)


def test_a_csv_with_a_quotation_mark_left_open_is_refused(tmp_path: Path) -> None:
    """It would swallow all records after it; the error says behind which one."""
    path = tmp_path / "a.csv"
    path.write_text('key,received,name,email\nA,2024-01-01,"x,e\nB,2024-01-02,y,e\n')
    with pytest.raises(PermanentFailure, match="record 1 "):
        found(path, location())


def test_a_csv_record_with_too_many_fields_is_never_due(tmp_path: Path) -> None:
    """A delimiter that is not quoted shifts the columns: nothing is read there, nothing acts."""
    path = tmp_path / "a.csv"
    path.write_text("key,received,name,email\nA,2024-01-01,Family, Given,e\nB,2024-01-02,y,e\n")
    target = location(fields=())
    assert found(path, target)["A"].dates["received"] is None
    assert erase(path, target, ["A", "B"]) == {
        "A": (Result.FAILED_PERMANENT, "ragged"),
        "B": DONE,
    }


FIELD = st.text(st.sampled_from('ab";,\n\r æ'), max_size=6)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(FIELD, FIELD, st.booleans()), max_size=8), st.data())
def test_csv_kept_records_are_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str, bool]],
    data: st.DataObject,
) -> None:
    """Random fields, quoted as writers do: what stays is byte for byte what it was."""

    def quoted(text: str, always: bool) -> str:
        needs = always or any(c in text for c in '";,\r\n')
        return '"' + text.replace('"', '""') + '"' if needs else text

    path = tmp_path_factory.mktemp("csv") / "a.csv"
    header = "key;received;name;email\r\n"
    texts = [
        f"K{n};2024-01-01;{quoted(a, q)};{quoted(b, q)}\r\n" for n, (a, b, q) in enumerate(rows)
    ]
    path.write_bytes((header + "".join(texts)).encode())
    gone = data.draw(st.sets(st.sampled_from(range(len(rows))))) if rows else set()
    assert set(erase(path, location(), [f"K{n}" for n in gone]).values()) <= {DONE}
    kept = "".join(text for n, text in enumerate(texts) if n not in gone)
    assert path.read_bytes() == (header + kept).encode()
