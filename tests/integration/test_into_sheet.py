"""A contact form whose messages go into somebody's workbook first, and only then are deleted."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
from pathlib import Path

import msoffcrypto
import pytest
from msoffcrypto.format.ooxml import OOXMLFile
from openpyxl import Workbook, load_workbook

from retention.errors import ExitCode
from tests.integration.shop import HEAD, Shop

ROOT = Path(__file__).parents[2]
PASSWORD = "a pass phrase for leads"
BOOK = """  book: {{connector: spreadsheet, path: ../leads.xlsx,
         password: {{file: {folder}/password}}}}
clusters:"""
LEADS = """  leads:
    locations:
      sheet: {{system: book, sheet: Leads, key: No, dates: {{asked: Asked}},
              subject: {{email: E-mail}}}}
"""
COPY = """
  form-monthly:
    applies_to: enquiries/form
    starting_point: received
    delete_at_latest: 1 month
    then:
      copy_to:
        location: leads/sheet
        values: {Asked: received, E-mail: email, Name: name}
    schedule: "0 3 * * *"
"""
CHILD = """
import os, sys
from pathlib import Path
from retention.connectors.sql.connector import SqlConnector
from tests.integration.shop import SetClock, Shop
def killed(*_):
    os.kill(os.getpid(), 9)
SqlConnector.erase = killed
shop = object.__new__(Shop)
shop.folder, shop.clock, shop.settings = Path(sys.argv[1]), SetClock(), {}
shop.run()
"""


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """Six messages, four of them old, and a workbook with a row that somebody typed."""
    shop = Shop(tmp_path)
    for key in range(6):
        name = "=1+1" if key == 2 else f"N {key}"
        shop.put(key, age_days=100 if key < 4 else 3, name=name)
    book = Workbook()
    book.active.title = "Leads"
    for row in [
        ("No", "Asked", "Name", "E-mail", "Remark"),
        ("A1", None, "Kari", "kari@example.org", "warm"),
    ]:
        book.active.append(row)
    book.active["B2"].number_format = "dd/mm/yyyy"
    book.create_sheet("Other")["A1"] = "theirs"
    plain = io.BytesIO()
    book.save(plain)
    with workbook(shop).open("wb") as file:
        OOXMLFile(plain).encrypt(PASSWORD, file)
    (tmp_path / "password").write_text(PASSWORD)
    (tmp_path / "password").chmod(0o600)
    head = (HEAD + LEADS).replace("clusters:", BOOK)
    shop.write(COPY, head=head, folder=tmp_path)
    shop.approve("form-monthly")
    return shop


def workbook(shop: Shop) -> Path:
    return shop.folder / "leads.xlsx"


def rows(shop: Shop) -> list[tuple[object, ...]]:
    """The sheet below its header, opened with the password by other programs' code."""
    plain = io.BytesIO()
    with workbook(shop).open("rb") as file:
        office = msoffcrypto.OfficeFile(file)
        assert office.is_encrypted()
        office.load_key(password=PASSWORD)
        office.decrypt(plain)
    book = load_workbook(plain)
    assert book["Other"]["A1"].value == "theirs"
    assert {row[2].data_type for row in book["Leads"].iter_rows(min_row=2)} == {"s"}
    return list(book["Leads"].iter_rows(min_row=2, values_only=True))


def names(shop: Shop) -> list[object]:
    return [row[2] for row in rows(shop)]


COPIED = ["Kari", "N 0", "N 1", "=1+1", "N 3"]


def test_messages_stand_in_the_sheet_before_they_go(shop: Shop) -> None:
    """Each once, below the row that was there, with its date; the log names where they went."""
    assert shop.run().exit_code is ExitCode.OK
    assert shop.keys() == {4, 5}
    assert sorted(map(str, names(shop))) == sorted(COPIED)
    asked = {f"{row[1]:%Y-%m-%d}" for row in rows(shop)[1:]}
    assert asked == {"2026-03-07"}
    assert {row[3] for row in rows(shop)[1:]} == {f"p{n}@example.org" for n in range(4)}
    assert rows(shop)[0] == ("A1", None, "Kari", "kari@example.org", "warm")
    assert {entry["into"] for entry in shop.entries("batch.intended")} == {"leads/sheet"}
    again = workbook(shop).read_bytes()
    shop.run()
    assert workbook(shop).read_bytes() == again


def test_killed_after_the_copy_there_is_no_second_one(shop: Shop) -> None:
    """The copies are there, nothing is deleted; the next run finds them and goes on."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(shop.folder)], cwd=ROOT, check=False, capture_output=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert len(shop.keys()) == 6
    assert sorted(map(str, names(shop))) == sorted(COPIED)
    shop.clock.forward(hours=1)
    assert {report.exit_code for report in shop.daemon_once()} == {ExitCode.OK}
    assert shop.keys() == {4, 5}
    assert sorted(map(str, names(shop))) == sorted(COPIED)


def test_while_the_workbook_is_open_nothing_is_deleted(shop: Shop) -> None:
    """Somebody has it on the screen; a day later it is closed, and the messages move on."""
    lock = workbook(shop).with_name("~$leads.xlsx")
    lock.write_bytes(b"somebody")
    assert shop.run().exit_code is not ExitCode.OK
    assert len(shop.keys()) == 6
    assert names(shop) == ["Kari"]
    lock.unlink()
    shop.clock.forward(hours=25)
    shop.daemon_once()
    assert shop.keys() == {4, 5}
    assert sorted(map(str, names(shop))) == sorted(COPIED)


def test_what_the_sheet_cannot_hold_stays_in_the_form(shop: Shop) -> None:
    """One message that no cell can hold stays, and is said; the others move on."""
    shop.sql("UPDATE form SET name = ? WHERE id = 1", "x" * 40_000)
    report = shop.run()
    assert report.exit_code is ExitCode.UNVERIFIED
    assert report.counts["failed_permanent"] == 1
    assert shop.keys() == {1, 4, 5}


def test_a_changed_sheet_stops_it(shop: Shop) -> None:
    """Somebody renamed a column: nothing is deleted."""
    text = (shop.folder / "policies" / "all.yaml").read_text()
    (shop.folder / "policies" / "all.yaml").write_text(text.replace("Name: name", "Nome: name"))
    shop.approve("form-monthly")
    assert shop.run().exit_code is ExitCode.UNVERIFIED
    assert len(shop.keys()) == 6
    assert names(shop) == ["Kari"]
