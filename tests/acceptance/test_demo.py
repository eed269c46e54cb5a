"""`retention demo` as a user runs it: the whole story, what it leaves behind, what it refuses."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from retention.audit.verify import verify_folder
from retention.cli.demo import demo
from retention.cli.demo_data.looking import files_with, places_with
from retention.cli.demo_data.people import EVERYBODY, LEAVES_LIST, LEFT, STAYS, SUED
from retention.errors import UsageError
from tests.acceptance.program import typed
from tests.acceptance.shop import Zygote

TITLES = (
    "Promises become files",
    "What would happen, and why",
    "A hold protects",
    "A person approves",
    "Disposal",
    "Looking again",
    "Consent is withdrawn",
    "The evidence",
    "A changed line is noticed",
    "Yours to try",
)


@dataclass(frozen=True)
class Still:
    """A clock that stands still."""

    at: datetime

    def now(self) -> datetime:
        return self.at


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, zygote: Zygote) -> tuple[Path, str]:
    """The story told once by the program, with settings around that are not for it."""
    where = tmp_path_factory.mktemp("demo")
    elsewhere = {"RETENTION_HOME": str(where / "other"), "RETENTION_ORIGIN": "example.com/other"}
    ran = typed(zygote, where, "demo", **elsewhere)
    assert ran.code == 0, ran.out + ran.err
    assert not (where / "other").exists()
    return where / "build" / "demo", ran.out


def test_every_step_is_told(told: tuple[Path, str]) -> None:
    """Plan, hold, approval, disposal, verification, consent, evidence, tampering: in this order."""
    steps = re.findall(r"^\d+\. (.*?) *$", told[1], re.MULTILINE)
    assert tuple(steps) == TITLES


def test_it_fits_a_narrow_window(told: tuple[Path, str]) -> None:
    """No line is wider than a usual terminal; without one there are no colours."""
    assert max(len(line.rstrip()) for line in told[1].splitlines()) <= 96
    assert "\x1b" not in told[1]


def test_what_was_promised_is_done(told: tuple[Path, str]) -> None:
    """Mail of who left is gone, what is held and who stays is there, the withdrawn reader is gone
    from the table and the spreadsheet."""
    data = told[0] / "data"
    assert places_with(data, LEFT) == {"customers": 1, "invoices": 2}
    assert places_with(data, SUED) == {
        "customers": 1,
        "invoices": 1,
        "mail Customers/Fjellvik": 2,
        "mail Sent": 1,
    }
    assert "mail Customers/Strand" in places_with(data, STAYS)
    assert places_with(data, LEAVES_LIST) == {}


def test_the_export_is_whole_and_the_copy_is_not(told: tuple[Path, str], zygote: Zygote) -> None:
    """The export verifies by itself and against the kept checkpoint; the changed copy does not."""
    folder = told[0]
    assert verify_folder(folder / "export", folder / "checkpoint-kept-elsewhere").ok
    assert typed(zygote, folder, "audit", "verify", "export").code == 0
    assert typed(zygote, folder, "audit", "verify", "tampered").code == 1


def test_the_copy_differs_in_one_byte(told: tuple[Path, str]) -> None:
    """What is noticed is one changed byte, not a broken file."""
    was = (told[0] / "export" / "entries.jsonl").read_bytes()
    now = (told[0] / "tampered" / "entries.jsonl").read_bytes()
    assert len(was) == len(now)
    assert sum(a != b for a, b in zip(was, now, strict=True)) == 1


def test_the_evidence_names_nobody(told: tuple[Path, str]) -> None:
    """No name and no address of the sample data is in the log or in the ledger."""
    assert list(files_with(told[0] / "export", EVERYBODY)) == []
    assert list(files_with(told[0] / ".retention", EVERYBODY)) == []


def test_what_it_offers_to_type_works(
    told: tuple[Path, str], tmp_path: Path, zygote: Zygote
) -> None:
    """The commands at the end do what they say, in that folder, with no options."""
    folder = tmp_path / "demo"
    shutil.copytree(told[0], folder)
    offered = told[1].rpartition("Type these there:")[2]
    commands = [
        part.split("retention ", 1)[1].strip()
        for line in offered.splitlines()
        if "$ retention" in line
        for part in line.split("&&")
    ]
    assert len(commands) == 4
    for command in commands:
        ran = typed(zygote, folder, *command.replace('"', "").split())
        assert ran.code == 0, (command, ran.err)
    assert "mail Sent" not in places_with(folder / "data", SUED)


def test_it_starts_anew(told: tuple[Path, str], zygote: Zygote) -> None:
    """A second demonstration replaces the first one."""
    (told[0] / "old").touch()
    assert typed(zygote, told[0].parents[1], "demo").code == 0
    assert not (told[0] / "old").exists()


def test_it_removes_nothing_else(tmp_path: Path, zygote: Zygote) -> None:
    """A folder that no demonstration made is left alone, and the exit code is that of usage."""
    mine = tmp_path / "build" / "demo" / "thesis.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine", encoding="utf-8")
    ran = typed(zygote, tmp_path, "demo")
    assert ran.code == 2
    assert "Traceback" not in ran.err
    assert mine.read_text(encoding="utf-8") == "mine"
    link = tmp_path / "link"
    link.symlink_to(mine.parent)
    with pytest.raises(UsageError):
        demo(link)


@pytest.mark.parametrize(
    "at",
    [
        datetime(2026, 12, 31, 23, 3, tzinfo=UTC),
        datetime(2028, 2, 29, 12, 0, tzinfo=UTC),
        datetime(2027, 3, 31, 1, 0, tzinfo=UTC),
    ],
    ids=["minutes after new year", "leap day", "firing of the month"],
)
def test_the_story_is_the_same_on_every_day(
    at: datetime, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The sample is dated from the clock, so that what is due does not depend on today."""
    demo(tmp_path / "demo", clock=Still(at))
    said = capsys.readouterr().out
    for sentence in (
        "due 3, disposed 3, verified 3",
        "due 4, disposed 4, verified 4, held 3",
        "due 2, disposed 2, verified 2",
    ):
        assert sentence in said
