"""Putting the new file in place: nobody's save is lost, nothing plain is left, rights are kept."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from openpyxl import Workbook, load_workbook
from pydantic import SecretStr

from retention.connectors.base import Level, Opened, Ref, Result
from retention.connectors.spreadsheet import exchange, odspasswords, replace
from retention.connectors.spreadsheet.connector import Spreadsheet
from retention.connectors.spreadsheet.private import private_file
from retention.connectors.spreadsheet.settings import SpreadsheetSystem
from retention.errors import ConnectorError, PermanentFailure, TemporaryFailure
from tests.connectors import ods_files
from tests.connectors.spreadsheet_sessions import erase, found, location, mask, parts, session

DONE = (Result.DISPOSED, "")
HEADER = ("key", "received", "name", "email")
PASSWORD = "open sesame, please"
ROOT = Path(__file__).parents[2]
ROWS = [HEADER, *((f"K{n}", f"2024-01-0{n}", f"Given{n} Family", "x") for n in range(1, 5))]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    book = Workbook()
    for row in ROWS:
        book.active.append(row)
    book.save(tmp_path / "a.xlsx")
    return tmp_path / "a.xlsx"


def names(path: Path) -> list[str]:
    return sorted(p.name for p in path.parent.iterdir())


# --- somebody else saves -------------------------------------------------------------------------

SAVER = """
import os, sys
path = sys.argv[1]
sys.stdout.write("on\\n"); sys.stdout.flush()
for n in range(int(sys.argv[2])):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(text + f"N{n};2025-01-01;New{n};x\\n")
        os.fsync(file.fileno())
    # As a careful program does: it does not overwrite what it has not read.
    os.replace(path + ".new", path) if open(path, encoding="utf-8").read() == text else None
    print(n if f"N{n};" in open(path, encoding="utf-8").read() else -1, flush=True)
"""


def test_rows_that_another_program_adds_meanwhile_are_never_lost(tmp_path: Path) -> None:
    """A second process saves in a loop while rows are taken out one by one."""
    path = tmp_path / "a.csv"
    old = [f"K{n};2024-01-01;Given{n};x" for n in range(60)]
    path.write_text("\n".join(["key;received;name;email", *old]) + "\n")
    saver = subprocess.Popen(
        [sys.executable, "-c", SAVER, str(path), "150"], stdout=subprocess.PIPE, text=True
    )
    assert saver.stdout is not None
    saver.stdout.readline()
    gone: set[str] = set()
    for n in range(60):
        try:
            outcomes = erase(path, location(), [f"K{n}"])
            gone |= {key for key, outcome in outcomes.items() if outcome == DONE}
        except TemporaryFailure:
            continue
    said, _ = saver.communicate(timeout=60)
    added = {f"N{n}" for n in map(int, said.split()) if n >= 0}
    text = path.read_text()
    kept = {line.split(";")[0] for line in text.splitlines()[1:]}
    saved = {p.name for p in tmp_path.iterdir()} - {"a.csv", "a.csv.new"}
    for aside in tmp_path.glob("*saved meanwhile*"):
        kept |= {line.split(";")[0] for line in aside.read_text().splitlines()[1:]}
    assert added
    assert added <= kept
    assert {f"K{n}" for n in range(60)} - gone <= kept
    assert not [name for name in saved if name.startswith(".")]


def test_a_save_in_the_very_moment_is_put_back(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Saved after the last look, before the exchange: the other program's file stands again."""
    refs = [found(path, location())["K1"].ref]
    swap = exchange.exchange
    calls: list[Path] = []

    def saved_just_before(one: Path, other: Path) -> bool:
        if not calls:
            book = Workbook()
            book.active["A1"] = "theirs"
            book.save(path.with_name("theirs"))
            path.with_name("theirs").replace(path)
        calls.append(one)
        return swap(one, other)

    monkeypatch.setattr(replace, "exchange", saved_just_before)
    with pytest.raises(TemporaryFailure, match="changed or opened"):
        list(session(path).erase(location(), refs))
    assert load_workbook(path).active["A1"].value == "theirs"
    assert names(path) == ["a.xlsx"]


def test_without_an_exchange_the_file_is_replaced_all_the_same(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On file systems that cannot exchange two names."""
    monkeypatch.setattr(replace, "exchange", lambda *_: False)
    assert erase(path, location(), ["K1"]) == {"K1": DONE}
    assert names(path) == ["a.xlsx"]


def test_half_a_file_is_not_a_broken_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that writes in place is seen in the midst of it: later, not never."""
    from retention.connectors.spreadsheet import source

    read = source._read
    whole = path.read_bytes()

    def cut(*said: object) -> object:
        path.write_bytes(whole[: len(whole) // 2])
        return read(*said)  # type: ignore[arg-type]  # handed on as it came

    monkeypatch.setattr(source, "_read", cut)
    with pytest.raises(TemporaryFailure, match="saved while"):
        found(path, location())


# --- killed at any point -------------------------------------------------------------------------

KILL = """
import os, sys
from pathlib import Path
sys.path.insert(0, ".")
from retention.connectors.spreadsheet import {module} as module
from tests.connectors.spreadsheet_sessions import erase, location
real = module.{name}
def killed(*said, **more):
    out = real(*said, **more) if {after} else None
    os.kill(os.getpid(), 9)
module.{name} = killed
erase(Path({path!r}), location({more}), ["K1"], {password!r})
"""


@pytest.mark.parametrize(
    ("module", "name", "after"),
    [
        ("passwords", "private_file", True),
        ("rewriting", "private_file", True),
        ("rewriting", "encrypt", False),
        ("rewriting", "encrypt", True),
        ("replace", "keep_attributes", True),
        ("replace", "exchange", False),
        ("replace", "exchange", True),
        ("replace", "_sync_folder", False),
    ],
)
def test_killed_anywhere_nothing_plain_is_left(
    path: Path, module: str, name: str, after: bool
) -> None:
    """The file is whole, encrypted, old or new; what lies beside it is encrypted too."""
    from tests.connectors.test_spreadsheet_files import sealed

    with path.open("rb") as file:
        assert file.read(2) == b"PK"
    sealed(path)
    code = KILL.format(
        module=module, name=name, after=after, path=str(path), password=PASSWORD, more=""
    )
    environment = {**os.environ, "TMPDIR": str(path.parent)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, check=False, capture_output=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    for left in path.parent.iterdir():
        assert left.read_bytes()[:2] != b"PK", left.name
        assert b"Given1" not in left.read_bytes()
    assert len(found(path, location(), PASSWORD)) in (3, 4)
    if "K1" in found(path, location(), PASSWORD):
        assert erase(path, location(), ["K1"], PASSWORD) == {"K1": DONE}
    else:
        assert erase(path, location(), ["K2"], PASSWORD) == {"K2": DONE}
    assert names(path) == ["a.xlsx"]


def test_decrypted_files_have_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In memory, or on disk without a name and for nobody else."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    for expected in (1, 1 << 40):
        with private_file(expected) as file:
            file.write(b"x")
            assert os.fstat(file.fileno()).st_nlink == 0
            assert os.fstat(file.fileno()).st_mode & 0o077 == 0
    assert list(tmp_path.iterdir()) == []


def test_a_sealed_file_that_does_not_open_again_is_not_put_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proof is the reading: a fault in encrypting leaves the old file."""
    path = ods_files.write(
        tmp_path / "a.ods", ods_files.document(ods_files.table_of(ROWS), ods_files.sheet("B"))
    )
    plain = path.read_bytes()
    with path.open("rb") as was, (tmp_path / "b").open("w+b") as out:
        odspasswords.seal(was, PASSWORD, out, "a.ods")
    (tmp_path / "b").replace(path)
    before = path.read_bytes()
    assert before != plain
    real = odspasswords._closed

    def spoiled(data: bytes, *said: object) -> object:
        return real(data.replace(b"K3", b"K9"), *said)  # type: ignore[arg-type]  # as it came

    monkeypatch.setattr(odspasswords, "_closed", spoiled)
    with pytest.raises(PermanentFailure) as caught:
        erase(path, location(sheet="Sheet1"), ["K1"], PASSWORD)
    assert caught.value.code == "not_encrypted"
    assert path.read_bytes() == before


def test_doctor_tells_of_a_password_that_is_not_needed(path: Path) -> None:
    """Somebody saved the file without its password: that is said, not taken in silence."""
    opened = Opened(
        "test",
        SpreadsheetSystem(path=path.name, password=SecretStr(PASSWORD)),
        str(path.parent),
    )
    said = {probe.check: probe for probe in Spreadsheet(opened).probe([location()])}
    assert not said["password"].ok


# --- whose it is ---------------------------------------------------------------------------------


def test_extended_attributes_and_times_of_others_are_kept(path: Path) -> None:
    """Attributes that programs hang on a file stay on it."""
    os.setxattr(path, "user.colour", b"red")
    path.chmod(0o664)
    assert erase(path, location(), ["K1"]) == {"K1": DONE}
    assert os.getxattr(path, "user.colour") == b"red"
    assert path.stat().st_mode & 0o777 == 0o664


def test_a_file_of_somebody_else_is_not_taken_from_them(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where its owner could no longer use it, nothing happens; where they can, it goes."""
    refs = [found(path, location())["K1"].ref]
    path.chmod(0o640)
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    with pytest.raises(PermanentFailure) as caught:
        list(session(path).erase(location(), refs))
    assert caught.value.code == "owner_lost"
    said = {probe.check: probe for probe in session(path).probe([location()])}
    assert not said["owner"].ok
    path.chmod(0o666)
    (outcome,) = session(path).erase(location(), refs)
    assert outcome.result is Result.DISPOSED


def test_doctor_tells_since_when_a_file_is_locked(path: Path) -> None:
    """A lock of last year was forgotten; it is respected all the same."""
    lock = path.with_name(".~lock.a.xlsx#")
    lock.write_text("somebody")
    then = time.mktime((2024, 5, 1, 12, 0, 0, 0, 0, -1))
    os.utime(lock, (then, then))
    said = {probe.check: probe for probe in session(path).probe([location()])}
    assert "2024-05-01" in said["not open elsewhere"].detail
    assert lock.name in said["not open elsewhere"].hint
    with pytest.raises(TemporaryFailure):
        erase(path, location(), ["K1"])


def test_what_dead_runs_left_is_told_and_removed(path: Path) -> None:
    """It holds personal data; the next act takes it away."""
    left = path.with_name(".a.xlsx.retention-0123456789abcdef.tmp")
    left.write_bytes(b"Given1")
    said = {probe.check: probe for probe in session(path).probe([location()])}
    assert not said["leftovers"].ok
    gone = Ref("Sheet", "nobody-knows", "x")
    assert [p.level for p in session(path).verify(location(), [gone], None)] == [Level.GONE]
    erase(path, location(), ["K1"])
    assert names(path) == ["a.xlsx"]
    assert [p.level for p in session(path).verify(location(), [gone], None)] == [Level.CLEAN]


# --- CSV -----------------------------------------------------------------------------------------


def csv(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


PLAIN = "key;received;name;email\nA;2024-01-01;æ;x\nB;2024-01-02;y;z\n"


def test_the_line_that_tells_excel_the_delimiter_stays(tmp_path: Path) -> None:
    """`sep=;` is no header."""
    path = csv(tmp_path / "a.csv", "sep=|\r\n" + PLAIN.replace(";", "|"), "utf-8-sig")
    assert erase(path, location(), ["A"]) == {"A": DONE}
    assert path.read_bytes() == b"\xef\xbb\xbfsep=|\r\nkey|received|name|email\nB|2024-01-02|y|z\n"


@pytest.mark.parametrize("encoding", ["cp850", "utf-16-le", "utf-16-be", "latin-1", "cp1250"])
def test_an_encoding_that_is_said_is_used(tmp_path: Path, encoding: str) -> None:
    """Where looking does not tell; everything that stays has the same bytes."""
    text = PLAIN if encoding != "cp1250" else PLAIN.replace("æ", "ž")
    path = csv(tmp_path / "a.csv", text, encoding)
    target = location(encoding=encoding)
    assert found(path, target)["A"].fields["name"] == ("æ" if encoding != "cp1250" else "ž")
    assert erase(path, target, ["B"]) == {"B": DONE}
    assert path.read_bytes() == text.split("B;")[0].encode(encoding)


def test_an_encoding_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    """Nothing is read wrongly on purpose; NUL bytes are no text."""
    path = csv(tmp_path / "a.csv", PLAIN, "cp1252")
    with pytest.raises(PermanentFailure, match="not utf-8"):
        found(path, location(encoding="utf-8"))
    csv(path, PLAIN, "utf-8-sig")
    with pytest.raises(PermanentFailure, match="mark"):
        found(path, location(encoding="cp1252"))
    path.write_bytes(PLAIN.encode() + b"C;2024-01-03;\0;\n")
    with pytest.raises(PermanentFailure, match="NUL"):
        found(path, location())


def test_line_ends_of_all_kinds_and_none_at_the_end(tmp_path: Path) -> None:
    """Mixed line ends, lines within quotes, no final line end, an empty last line."""
    lines = [
        "key;received;name;email\r\n",
        'A;2024-01-01;"two\r\nlines";x\n',
        "B;2024-01-02;y;z\r\n",
        "\r\n",
        "C;2024-01-03;q;w",
    ]
    path = csv(tmp_path / "a.csv", "".join(lines))
    assert erase(path, location(), ["B"]) == {"B": DONE}
    assert path.read_bytes() == "".join(lines[:2] + lines[3:]).encode()
    assert erase(path, location(), ["C"]) == {"C": DONE}
    assert path.read_bytes() == "".join(lines[:2] + lines[3:4]).encode()


def test_a_huge_field_and_backslashes(tmp_path: Path) -> None:
    """A field of a megabyte is one; a backslash before a quotation mark is refused, not guessed."""
    path = csv(tmp_path / "a.csv", PLAIN + f'C;2024-01-03;"{"x;" * 500_000}";w\n')
    assert erase(path, location(), ["C"]) == {"C": DONE}
    assert path.read_text() == PLAIN
    csv(path, PLAIN + 'C;2024-01-03;"say \\"no\\"";w\n')
    with pytest.raises(PermanentFailure, match="well-formed"):
        found(path, location())


@pytest.mark.parametrize("value", ["=1+1", "@SUM(A1)", "+1+cmd", "-2+3", " =1", "\t=1", "＝1"])
def test_masking_never_writes_a_formula_into_csv(tmp_path: Path, value: str) -> None:
    """CSV has no types: a program that opens it would compute the value."""
    path = csv(tmp_path / "a.csv", PLAIN)
    with pytest.raises(PermanentFailure) as caught:
        mask(path, location(), ["A"], {"name": value})
    assert caught.value.code == "formula"
    assert path.read_text() == PLAIN


def test_plain_values_may_begin_with_a_sign(tmp_path: Path) -> None:
    """A dash or a number is no formula; in a workbook a text is a text, whatever it begins with."""
    path = csv(tmp_path / "a.csv", PLAIN)
    assert mask(path, location(), ["A"], {"name": "-", "email": "-1"}) == {"A": DONE}
    assert path.read_text() == PLAIN.replace("æ;x", "-;-1")
    book = Workbook()
    for row in ROWS:
        book.active.append(row)
    book.save(tmp_path / "b.xlsx")
    assert mask(tmp_path / "b.xlsx", location(), ["K1"], {"name": "=1+1"}) == {"K1": DONE}
    assert b"<f>" not in parts(tmp_path / "b.xlsx")["xl/worksheets/sheet1.xml"]


def test_doctor_says_what_a_csv_was_taken_for(tmp_path: Path) -> None:
    """A guess is called one."""
    path = csv(tmp_path / "a.csv", PLAIN, "cp1252")
    said = {probe.check: probe for probe in session(path).probe([location()])}
    assert "cp1252" in said["c/rows: encoding"].detail
    assert "guess" in said["c/rows: encoding"].hint


def test_errors_are_of_the_known_kinds(tmp_path: Path) -> None:
    """Whatever bytes a file holds, what is raised has a message and a hint's place."""
    for number, data in enumerate((b"", b"\xff", b"\xef\xbb\xbf", b'"', b"sep=", b"\xff\xfe\x00")):
        path = tmp_path / f"{number}.csv"
        path.write_bytes(data)
        with pytest.raises(ConnectorError) as caught:
            found(path, location())
        assert caught.value.place
