"""Whatever is done to an exported log is noticed, with the place where it shows."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from retention.audit.checkpoint import Checkpoint, Note, SignerKey, VerifierKey, sign
from retention.audit.keys import KeyFolder
from retention.audit.tree import leaf_hashes, root_of
from retention.audit.verify import Report, verify_folder, verify_ledger
from retention.errors import UsageError
from tests.unit.audit_samples import AT, NAME, exported, grow, open_log

NEXT_YEAR = AT.replace(year=2027)


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a log of 13 entries, with an export and three checkpoints. Never written to."""
    home = tmp_path_factory.mktemp("sealed")
    exported(home)
    return home


@pytest.fixture
def folder(sealed: Path, tmp_path: Path) -> Path:
    """A copy of the export, to be damaged."""
    return Path(shutil.copytree(sealed / "export", tmp_path / "export"))


def _lines(folder: Path) -> list[bytes]:
    return (folder / "entries.jsonl").read_bytes().splitlines(keepends=True)


def _noticed(folder: Path, **how: Path) -> Report:
    report = verify_folder(folder, **how)
    assert not report.ok
    assert report.problems
    return report


def test_an_export_verifies_by_itself(sealed: Path, folder: Path) -> None:
    """The files alone are enough, and say the same as the ledger."""
    report = verify_folder(folder)
    assert report.problems == []
    assert report.ok
    assert report.size == 13
    point = Note.parse((folder / "checkpoint").read_bytes()).checkpoint
    assert report.root in (folder / "checkpoint").read_text()
    assert (point.origin, point.size) == (NAME, 13)
    assert verify_ledger(open_log(sealed)) == report
    assert report.as_json() == {"ok": True, "size": 13, "root": report.root, "problems": []}
    assert sorted(p.name for p in folder.iterdir()) == [
        *("README.txt", "checkpoint", "checkpoints", "entries.jsonl", "log.vkey")
    ]
    assert sorted(p.name for p in (folder / "checkpoints").iterdir()) == ["13", "4", "8"]


@pytest.mark.parametrize("line", [0, 1, 7, 12])
def test_an_edit_is_noticed_where_it_is(folder: Path, line: int) -> None:
    """One letter of one entry."""
    lines = _lines(folder)
    lines[line] = lines[line].replace(b'"v":1', b'"v":2')
    (folder / "entries.jsonl").write_bytes(b"".join(lines))
    assert _noticed(folder).problems[0].startswith(f"entries.jsonl:{line + 1}: ")


def test_a_well_formed_edit_is_noticed_between_two_checkpoints(folder: Path) -> None:
    """A value changed for another proper one: the signed roots say between which sizes."""
    data = (folder / "entries.jsonl").read_bytes()
    lines = data.splitlines(keepends=True)
    lines[5] = lines[5].replace(b'"disposed"', b'"held"')
    (folder / "entries.jsonl").write_bytes(b"".join(lines))
    report = _noticed(folder)
    assert "checkpoints/8: entries 4 to 7 do not give the root" in report.problems[0]


def test_a_dropped_line_is_noticed(folder: Path) -> None:
    """Each single line, the first and the last included."""
    lines = _lines(folder)
    for gone in range(len(lines)):
        kept = lines[:gone] + lines[gone + 1 :]
        (folder / "entries.jsonl").write_bytes(b"".join(kept))
        _noticed(folder)


def test_a_duplicated_line_is_noticed(folder: Path) -> None:
    """Each single line twice."""
    lines = _lines(folder)
    for twice in range(len(lines)):
        (folder / "entries.jsonl").write_bytes(b"".join([*lines[: twice + 1], *lines[twice:]]))
        assert _noticed(folder).problems[0].startswith(f"entries.jsonl:{twice + 2}: ")


def test_reordered_lines_are_noticed(folder: Path) -> None:
    """Every neighbouring pair swapped, and the whole turned round."""
    lines = _lines(folder)
    for at in range(len(lines) - 1):
        swapped = [*lines[:at], lines[at + 1], lines[at], *lines[at + 2 :]]
        (folder / "entries.jsonl").write_bytes(b"".join(swapped))
        _noticed(folder)
    (folder / "entries.jsonl").write_bytes(b"".join(lines[::-1]))
    _noticed(folder)


def test_truncation_is_noticed(folder: Path) -> None:
    """Cut at a line's end, inside a line, before the last newline, and to nothing."""
    data = (folder / "entries.jsonl").read_bytes()
    for length in (0, 1, len(data) // 2, len(data) - 1, len(b"".join(_lines(folder)[:4]))):
        (folder / "entries.jsonl").write_bytes(data[:length])
        _noticed(folder)
    (folder / "entries.jsonl").unlink()
    assert "cannot be read" in _noticed(folder).problems[0]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"\n", b"\r\n"),
        (b"\n", b"\n\n"),
        (b'":', b'": '),
        (b"{", b" {"),
        (b"disposed", b"dispos\xe9d"),
    ],
)
def test_another_spelling_is_noticed(folder: Path, old: bytes, new: bytes) -> None:
    """CRLF, blank lines, spaces, bytes that are no UTF-8."""
    data = (folder / "entries.jsonl").read_bytes()
    (folder / "entries.jsonl").write_bytes(data.replace(old, new))
    assert _noticed(folder).problems[0].startswith(("entries.jsonl:1: ", "entries.jsonl:2: "))


def test_an_appended_line_is_noticed(folder: Path) -> None:
    """What no checkpoint covers is not evidence."""
    lines = _lines(folder)
    more = lines[-1].replace(b'"seq":12', b'"seq":13')
    (folder / "entries.jsonl").write_bytes(b"".join([*lines, more]))
    assert any("not signed" in p for p in _noticed(folder).problems)


def test_a_wrong_key_is_noticed(folder: Path) -> None:
    """Another key in log.vkey did not sign the notes."""
    key = SignerKey(NAME, bytes(32)).verifier
    (folder / "log.vkey").write_text(f"{key}\n")
    assert "not known" in _noticed(folder).problems[0]


def test_a_forged_note_is_noticed(folder: Path) -> None:
    """A note for a shortened log, with the old signature, or signed by somebody else."""
    note = Note.parse((folder / "checkpoint").read_bytes())
    leaves = leaf_hashes(line[:-1] for line in _lines(folder)[:8])
    shorter = Checkpoint(NAME, 8, root_of(leaves))
    for text in (
        Note(shorter, note.signatures).text,
        sign(shorter, [SignerKey(NAME, bytes(32))]),
        (folder / "checkpoint").read_text() * 2,
    ):
        (folder / "checkpoint").write_text(text)
        _noticed(folder)


def test_a_missing_or_misnamed_checkpoint_is_noticed(folder: Path) -> None:
    """The newest note must be among all notes, and each under its own size."""
    (folder / "checkpoints" / "4").rename(folder / "checkpoints" / "5")
    assert "holds the checkpoint of 4" in _noticed(folder).problems[0]
    (folder / "checkpoints" / "5").rename(folder / "checkpoints" / "4")
    assert verify_folder(folder).ok
    (folder / "checkpoints" / "13").unlink()
    assert "is not one of checkpoints/" in _noticed(folder).problems[0]


def test_a_shrunk_log_is_caught_by_a_newer_checkpoint(sealed: Path, folder: Path) -> None:
    """Everything put back to an earlier state verifies by itself, but not against a later note."""
    kept = sealed / "export" / "checkpoint"
    (folder / "entries.jsonl").write_bytes(b"".join(_lines(folder)[:8]))
    shutil.copy(folder / "checkpoints" / "8", folder / "checkpoint")
    (folder / "checkpoints" / "13").unlink()
    assert verify_folder(folder).ok
    assert "shortened" in _noticed(folder, against=kept).problems[0]


def test_a_fork_is_caught_by_an_older_checkpoint(sealed: Path, tmp_path: Path) -> None:
    """The same keys, another history: the kept note of either shows it."""
    for side in ("a", "b"):
        shutil.copytree(sealed, tmp_path / side)
    ours, theirs = open_log(tmp_path / "a"), open_log(tmp_path / "b")
    grow(ours, 2, AT + timedelta(days=1))
    grow(theirs, 2, AT + timedelta(days=2))
    later = AT + timedelta(days=3)
    first, second = ours.export(tmp_path / "x", later), theirs.export(tmp_path / "y", later)
    assert verify_folder(first).ok
    assert verify_folder(second, against=sealed / "export" / "checkpoint").ok
    assert "another one" in _noticed(first, against=second / "checkpoint").problems[0]
    report = verify_ledger(ours, second / "checkpoint")
    assert "the checkpoint given" in report.problems[0]
    assert verify_ledger(ours, first / "checkpoint").ok


def test_a_rewritten_and_signed_log_is_caught_only_with_a_kept_checkpoint(
    sealed: Path, tmp_path: Path
) -> None:
    """Whoever holds the keys writes a new log that verifies by itself; a kept note shows it."""
    kept = sealed / "export" / "checkpoints" / "8"
    shutil.copytree(sealed / "keys", tmp_path / "new" / "keys")
    (tmp_path / "new").mkdir(exist_ok=True)
    log = open_log(tmp_path / "new")
    grow(log, 20, AT + timedelta(days=1))
    folder = log.export(tmp_path / "rewritten", AT + timedelta(days=1))
    assert verify_folder(folder).ok
    assert verify_ledger(log).ok
    assert (folder / "log.vkey").read_bytes() == (sealed / "export" / "log.vkey").read_bytes()
    assert "the log was changed" in _noticed(folder, against=kept).problems[0]
    assert not verify_ledger(log, kept).ok


def test_a_log_signed_with_new_keys_is_caught_by_the_known_key(
    sealed: Path, tmp_path: Path
) -> None:
    """A whole new log with new keys verifies by itself, not with the key or note known before."""
    _, folder = exported(tmp_path)
    assert verify_folder(folder).ok
    known = sealed / "export" / "log.vkey"
    assert "holds no key that you trust" in _noticed(folder, vkey=known).problems[0]
    _noticed(folder, against=sealed / "export" / "checkpoint")
    # Adding the known key to the list does not make its holder the signer.
    with (folder / "log.vkey").open("a") as file:
        file.write(known.read_text())
    assert "not signed by a key that you trust" in _noticed(folder, vkey=known).problems[0]


def test_a_rotated_key_is_trusted_through_the_note_of_both(tmp_path: Path) -> None:
    """Whoever knows the first key follows to the newest; without the joint note nobody does."""
    log, folder = exported(tmp_path)
    known = tmp_path / "known.vkey"
    known.write_bytes((folder / "log.vkey").read_bytes())
    kept = tmp_path / "kept"
    kept.write_bytes((folder / "checkpoint").read_bytes())
    log.rotate_key(AT, actor="system")
    grow(log, 1)
    log.rotate_key(AT, actor="system")
    grow(log, 1)
    log.export(folder, AT)
    assert (folder / "log.vkey").read_text().count("\n") == 3
    report = verify_folder(folder, against=kept, vkey=known)
    assert report.problems == []
    (folder / "checkpoints" / "14").unlink()
    assert "not signed by a key that you trust" in _noticed(folder, vkey=known).problems[0]


def test_years_are_chained(tmp_path: Path) -> None:
    """Earlier logs lie in logs/<year>/; the old log names the new key, the new one the old root."""
    log, folder = exported(tmp_path)
    known, kept = tmp_path / "known.vkey", tmp_path / "kept"
    known.write_bytes((folder / "log.vkey").read_bytes())
    kept.write_bytes((folder / "checkpoint").read_bytes())
    grow(log, 2, NEXT_YEAR)
    log.checkpoint(NEXT_YEAR)
    log.export(folder, NEXT_YEAR)
    old = folder / "logs" / "2026"
    assert sorted(p.name for p in (folder / "checkpoints").iterdir()) == ["3"]
    assert sorted(p.name for p in (old / "checkpoints").iterdir()) == ["13", "14", "4", "8"]
    assert verify_folder(folder, against=kept, vkey=known).problems == []
    assert verify_folder(old, against=kept).ok
    assert verify_ledger(log, kept).problems == []
    lines = _lines(old)
    (old / "entries.jsonl").write_bytes(b"".join(lines[:-1]))
    assert "logs/2026/" in _noticed(folder).problems[0]
    (old / "entries.jsonl").unlink()
    assert "no later log says so" in _noticed(folder).problems[0]


def test_another_old_year_is_noticed(tmp_path: Path) -> None:
    """A whole other log of the old year, properly signed, is not the one that was followed."""
    log, folder = exported(tmp_path / "a")
    grow(log, 1, NEXT_YEAR)
    log.export(folder, NEXT_YEAR)
    other, _ = exported(tmp_path / "b", (1,))
    grow(other, 1, NEXT_YEAR)
    foreign = other.export(tmp_path / "c", NEXT_YEAR)
    shutil.rmtree(folder / "logs" / "2026")
    shutil.copytree(foreign / "logs" / "2026", folder / "logs" / "2026")
    assert "does not follow" in _noticed(folder).problems[0]


def test_a_dropped_year_verifies_by_its_last_checkpoint(tmp_path: Path) -> None:
    """Entries that were dropped by an entry of a later log are no damage."""
    log, folder = exported(tmp_path)
    grow(log, 1, NEXT_YEAR)
    log.export(folder, NEXT_YEAR)
    log.drop(2026, NEXT_YEAR, actor="system")
    log.export(folder, NEXT_YEAR)
    old = folder / "logs" / "2026"
    assert sorted(p.name for p in old.iterdir()) == [
        *("README.txt", "checkpoint", "checkpoints", "log.vkey")
    ]
    assert verify_folder(folder).problems == []
    assert verify_ledger(log).problems == []


def test_three_thousand_random_damages_are_noticed(tmp_path: Path) -> None:
    """Bytes changed, put in, taken out, and pieces moved, in every file that is evidence.

    Seeded, so that a failure can be repeated. The known key stands for what a verifier holds.
    """
    chance = random.Random(20260301)
    _, folder = exported(tmp_path, (2, 3))
    known = tmp_path / "known.vkey"
    known.write_bytes((folder / "log.vkey").read_bytes())
    files = [
        *("entries.jsonl",) * 6,
        *("checkpoint", "log.vkey", "checkpoints/3", "checkpoints/6"),
    ]
    good = {name: (folder / name).read_bytes() for name in set(files)}
    noticed = 0
    while noticed < 3000:
        name = chance.choice(files)
        damaged = _damage(good[name], chance)
        if damaged == good[name]:
            continue
        (folder / name).write_bytes(damaged)
        report = verify_folder(folder, vkey=known)
        assert not report.ok, f"{name}: {damaged!r}"
        (folder / name).write_bytes(good[name])
        noticed += 1
    assert verify_folder(folder, vkey=known).ok


def _damage(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data))
    end = min(len(data), at + chance.choice((1, 1, 2, 30, 500)))
    piece = data[at:end]
    match chance.randrange(6):
        case 0:
            return data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]
        case 1:
            return data[:at] + data[end:]
        case 2:
            return data[:at] + piece + data[at:]
        case 3:
            return data[:at] + bytes([chance.randrange(256)]) + data[at:]
        case 4:
            return data[:at] + piece[::-1] + data[end:]
        case _:
            rest = data[:at] + data[end:]
            to = chance.randrange(len(rest) + 1)
            return rest[:to] + piece + rest[to:]


def test_the_page_in_the_export_verifies_with_other_tools(folder: Path) -> None:
    """The commands in README.txt run as they stand, and fail on a changed log."""
    text = (folder / "README.txt").read_text()
    blocks = text.split("\n\n")
    shell = [
        "\n".join(line.removeprefix("    ") for line in block.splitlines())
        for block in blocks
        if block.startswith("    ") and "retention audit" not in block
    ]
    assert len(shell) == 2

    def run(script: str) -> subprocess.CompletedProcess[str]:
        path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
        return subprocess.run(
            ["/bin/sh", "-c", script],
            cwd=folder,
            env={"PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )

    computed, signed = run(shell[0]).stdout.splitlines()
    assert computed == signed
    assert run(shell[1]).returncode == 0
    note = (folder / "checkpoint").read_text()
    (folder / "checkpoint").write_text(note.replace("\n13\n", "\n12\n"))
    assert run(shell[1]).returncode != 0


def test_an_export_goes_to_its_own_folder_only(tmp_path: Path) -> None:
    """A folder with other things in it is left alone; an earlier export is brought up to date."""
    log, folder = exported(tmp_path)
    grow(log, 1)
    log.export(folder, AT)
    assert verify_folder(folder).size == 14
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "letter.txt").write_text("x")
    with pytest.raises(UsageError, match="not empty"):
        log.export(tmp_path / "papers", AT)
    with pytest.raises(UsageError, match="file of that name"):
        log.export(tmp_path / "papers" / "letter.txt", AT)


def test_what_is_no_log_at_all_is_a_problem_not_a_crash(tmp_path: Path) -> None:
    """An empty folder, a missing one, and files of rubbish give problems."""
    assert not verify_folder(tmp_path / "nowhere").ok
    (tmp_path / "checkpoints").mkdir()
    assert not verify_folder(tmp_path).ok
    for name in ("log.vkey", "checkpoint", "entries.jsonl", "checkpoints/1"):
        (tmp_path / name).write_bytes(bytes(range(256)) * 300)
    report = verify_folder(tmp_path, against=tmp_path / "checkpoint", vkey=tmp_path / "log.vkey")
    assert not report.ok


def test_a_line_without_end_is_not_read_into_memory(folder: Path) -> None:
    """Three megabytes without a newline are refused early."""
    with (folder / "entries.jsonl").open("ab") as file:
        file.write(b"x" * 3_000_000)
    assert any("no newline" in p for p in _noticed(folder).problems)


def test_a_thousand_problems_are_told_in_a_hundred(folder: Path) -> None:
    """A log that is wrong everywhere gives a readable report."""
    (folder / "entries.jsonl").write_bytes(b"{}\n" * 1000)
    assert len(_noticed(folder).problems) == 101


def test_a_note_of_another_log_is_no_help(folder: Path, tmp_path: Path) -> None:
    """A checkpoint of another log, or rubbish, given as the kept one is said to be so."""
    other = SignerKey("example.com/other/2026", bytes(32))
    kept = tmp_path / "kept"
    kept.write_text(sign(Checkpoint("example.com/other/2026", 1, bytes(32)), [other]))
    assert "of a log that is not here" in _noticed(folder, against=kept).problems[0]
    kept.write_text("rubbish")
    assert "the checkpoint given" in _noticed(folder, against=kept).problems[0]


def test_the_exported_key_is_public(sealed: Path) -> None:
    """The export holds the verifier key only; no file of it holds a secret."""
    text = (sealed / "export" / "log.vkey").read_text().rstrip("\n")
    public = VerifierKey.parse(text)
    assert KeyFolder(sealed / "keys").signer(public).verifier == public
    secrets = [path.read_bytes().strip() for path in (sealed / "keys").iterdir()]
    for path in (sealed / "export").rglob("*"):
        if path.is_file():
            assert not any(secret in path.read_bytes() for secret in secrets)
