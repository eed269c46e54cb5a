"""The log in the ledger: one transaction with the state, one log a year, checked before use."""

from __future__ import annotations

import json
import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from retention.audit import integrity
from retention.audit.checkpoint import Note
from retention.audit.entries import Entry
from retention.audit.log import AuditLog
from retention.errors import AuditBlocked, AuditUnwritable, RetentionError, UsageError
from retention.ledger.tables import meta
from tests.unit.audit_samples import AT, NAME, ORIGIN, batch, grow, open_log

NEXT_YEAR = AT.replace(year=2027)


def _change(home: Path, statement: str, *values: object) -> None:
    """Edit the database behind the program's back."""
    raw = sqlite3.connect(home / "ledger.db")
    with raw:
        raw.execute(statement, values)
    raw.close()


def _lines(log: AuditLog) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.query()]


def test_the_first_entry_opens_the_log(tmp_path: Path) -> None:
    """Entry 0 names the log and its key; seqs follow without gaps."""
    log = open_log(tmp_path)
    with log.ledger.write() as tx:
        assert log.append(tx, AT, "freeze", actor="user:kari") == 1
        more = [Entry("thaw", "user:kari"), Entry("freeze", "user:kari")]
        assert log.append_many(tx, AT, more) == range(2, 4)
    found = _lines(log)
    assert [(f["seq"], f["type"]) for f in found] == [
        (0, "log.opened"),
        (1, "freeze"),
        (2, "thaw"),
        (3, "freeze"),
    ]
    assert found[0]["log"] == NAME
    assert str(found[0]["vkey"]).startswith(f"{NAME}+")


def test_a_crash_between_entry_and_commit_leaves_nothing(tmp_path: Path) -> None:
    """Entry and state commit together or not at all; the log goes on as if nothing had been."""
    log = open_log(tmp_path)
    grow(log, 2)
    before = log.checkpoint(AT)

    def crash() -> None:
        with log.ledger.write() as tx:
            tx.execute(insert(meta).values(key="x", value="y"))
            log.append(tx, AT, "freeze", actor="system")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        crash()
    with log.ledger.read() as tx:
        assert tx.execute(select(meta).where(meta.c.key == "x")).first() is None
    assert log.checkpoint(AT) == before
    assert log.check(AT, full=True).size == 3
    with log.ledger.write() as tx:
        assert log.append(tx, AT, "freeze", actor="system") == 3


def test_a_refused_entry_takes_its_state_with_it(tmp_path: Path) -> None:
    """No audit, no act: an entry that is not allowed rolls back what it was to describe."""
    log = open_log(tmp_path)

    def act() -> None:
        with log.ledger.write() as tx:
            tx.execute(insert(meta).values(key="x", value="y"))
            log.append(tx, AT, "alarm.raised", actor="system", kind="kari@example.org")

    with pytest.raises(AuditUnwritable):
        act()
    with log.ledger.read() as tx:
        assert tx.execute(select(meta).where(meta.c.key == "x")).first() is None


def test_an_unwritable_ledger_is_exit_code_13(tmp_path: Path) -> None:
    """A database that refuses the entry stops the run with the code for it."""
    log = open_log(tmp_path)
    grow(log, 1)
    _change(tmp_path, "DROP TABLE audit_entry")
    with pytest.raises(AuditBlocked) as caught, log.ledger.write() as tx:
        log.append(tx, AT, "freeze", actor="system")
    assert caught.value.exit_code == 13


def test_a_checkpoint_is_signed_once_a_size(tmp_path: Path) -> None:
    """Two notes for one size would let two histories be shown; the same note comes back."""
    log = open_log(tmp_path)
    grow(log, 3)
    first = log.checkpoint(AT)
    assert log.checkpoint(AT + timedelta(hours=5)) == first
    note = Note.parse(first.encode())
    assert (note.checkpoint.origin, note.checkpoint.size) == (NAME, 4)
    assert note.signers(log.logs()[-1].vkeys, only=True)
    grow(log, 1)
    assert log.checkpoint(AT) != first


def test_a_sealed_log_passes_its_check(tmp_path: Path) -> None:
    """What was appended properly fits, in the short check and the full one."""
    log = open_log(tmp_path)
    assert log.check(AT).size == 0
    grow(log, 5)
    log.checkpoint(AT)
    grow(log, 2)
    for full in (False, True):
        seen = log.check(AT, full=full)
        assert (seen.log, seen.size, seen.sealed) == (NAME, 8, 6)
        assert seen == log.standing()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entry SET line = replace(line, 'disposed', 'disposEd') WHERE seq = 2",
        "UPDATE audit_entry SET line = CAST(line || ' ' AS BLOB) WHERE seq = 6",
        "DELETE FROM audit_entry WHERE seq = 3",
        "DELETE FROM audit_entry WHERE seq = 7",
        "DELETE FROM audit_entry",
        "UPDATE audit_entry SET seq = seq + 100 WHERE seq >= 4",
        (
            "INSERT INTO audit_entry SELECT log, 8, at, type, policy, line FROM audit_entry"
            " WHERE seq = 7"
        ),
        "UPDATE audit_entry SET line = 7 WHERE seq = 7",
        "UPDATE audit_head SET frontier = 'x'",
        "UPDATE audit_head SET size = 7",
        "UPDATE audit_head SET frontier = zeroblob(32)",
        "UPDATE audit_head SET vkeys = 'x'",
        "UPDATE audit_checkpoint SET note = replace(note, '— ', '— x') WHERE size = 6",
        "UPDATE audit_checkpoint SET frontier = zeroblob(64) WHERE size = 6",
        "UPDATE audit_checkpoint SET size = 5 WHERE size = 6",
        "UPDATE audit_checkpoint SET size = 60 WHERE size = 6",
    ],
)
@pytest.mark.parametrize("full", [False, True])
def test_what_is_changed_in_the_database_stops_the_run(
    tmp_path: Path, statement: str, full: bool
) -> None:
    """An edit behind the program's back is noticed before the next disposal, in both checks."""
    log = open_log(tmp_path)
    grow(log, 5)
    log.checkpoint(AT)
    grow(log, 2)
    log.check(AT)
    _change(tmp_path, statement)
    with pytest.raises(AuditUnwritable) as caught:
        log.check(AT, full=full)
    assert caught.value.exit_code == 13


def test_swapped_entries_are_noticed(tmp_path: Path) -> None:
    """Two lines that change places, rows in good order, do not give the signed root."""
    log = open_log(tmp_path)
    grow(log, 4)
    log.checkpoint(AT)
    raw = sqlite3.connect(tmp_path / "ledger.db")
    with raw:
        two, three = (
            raw.execute("SELECT line FROM audit_entry WHERE seq = ?", (n,)).fetchone()[0]
            for n in (2, 3)
        )
        raw.execute("UPDATE audit_entry SET line = ? WHERE seq = 2", (three,))
        raw.execute("UPDATE audit_entry SET line = ? WHERE seq = 3", (two,))
    raw.close()
    with pytest.raises(AuditUnwritable, match="entries 0 to 4"):
        log.check(AT)


def test_the_short_check_starts_at_a_signed_frontier(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old verified entries are not hashed again each time; only the full check sees into them."""
    monkeypatch.setattr(integrity, "WINDOW", 3)
    log = open_log(tmp_path)
    for _ in range(4):
        grow(log, 3)
        log.checkpoint(AT)
    log.check(AT)
    _change(tmp_path, "UPDATE audit_entry SET line = replace(line, 'disposed', 'x') WHERE seq = 2")
    assert log.check(AT).size == 13
    with pytest.raises(AuditUnwritable, match="entries 0 to 3"):
        log.check(AT, full=True)
    _change(tmp_path, "UPDATE audit_entry SET line = replace(line, 'disposed', 'x') WHERE seq = 11")
    with pytest.raises(AuditUnwritable, match="entries 10 to 12"):
        log.check(AT)


def test_what_was_changed_is_never_signed(tmp_path: Path) -> None:
    """An edit of the unsealed tail, head and frontier made to fit or not, gets no signature."""
    log = open_log(tmp_path)
    grow(log, 3)
    log.checkpoint(AT)
    grow(log, 3)
    _change(tmp_path, "UPDATE audit_entry SET line = replace(line, 'disposed', 'x') WHERE seq = 5")
    with pytest.raises(AuditUnwritable, match="nothing is signed"):
        log.checkpoint(AT)


def test_a_new_year_closes_the_old_log_and_opens_the_next(tmp_path: Path) -> None:
    """One log a calendar year (UTC): closed, sealed, and followed by one that names its root."""
    log = open_log(tmp_path)
    grow(log, 2)
    log.checkpoint(AT)
    grow(log, 2, NEXT_YEAR)
    old, new = log.logs()
    assert (old.log, old.size, old.closed) == (NAME, 4, True)
    assert (new.log, new.size, new.closed) == (f"{ORIGIN}/2027", 3, False)
    entries = _lines(log)
    closing, opening = entries[3], entries[4]
    assert (closing["type"], closing["next"]) == ("log.closed", new.log)
    assert closing["next_vkey"] == opening["vkey"] == str(new.vkeys[0])
    assert (opening["previous"], opening["previous_size"]) == (old.log, 4)
    log.checkpoint(NEXT_YEAR)
    assert log.check(NEXT_YEAR, full=True).log == new.log


def test_a_clock_that_goes_back_does_not_reopen_a_closed_log(tmp_path: Path) -> None:
    """Late entries of the old year stand in the new log, where nothing signed changes."""
    log = open_log(tmp_path)
    grow(log, 1)
    grow(log, 1, NEXT_YEAR)
    grow(log, 1, AT)
    assert [(head.year, head.size) for head in log.logs()] == [(2026, 3), (2027, 3)]
    assert len(log.find_key("website", "enquiries/form", "row-0")) == 3


def test_the_year_is_that_of_utc(tmp_path: Path) -> None:
    """A quarter to one in Oslo on New Year's Day is still the old year in UTC."""
    from zoneinfo import ZoneInfo

    log = open_log(tmp_path)
    with log.ledger.write() as tx:
        moment = AT.replace(
            year=2027, month=1, day=1, hour=0, minute=45, tzinfo=ZoneInfo("Europe/Oslo")
        )
        log.append(tx, moment, "freeze", actor="system")
    assert [head.log for head in log.logs()] == [NAME]


def test_rotation_signs_one_note_with_both_keys(tmp_path: Path) -> None:
    """The old key vouches for the new one; later notes carry the new one alone."""
    log = open_log(tmp_path)
    grow(log, 2)
    log.checkpoint(AT)
    note = Note.parse(log.rotate_key(AT, actor="user:kari").encode())
    old, new = log.logs()[-1].vkeys
    assert note.signers([old, new], only=True) == [new, old]
    grow(log, 1)
    later = Note.parse(log.checkpoint(AT).encode())
    assert later.signers([old, new], only=True) == [new]
    assert [f["type"] for f in _lines(log)].count("key.rotated") == 1
    assert log.check(AT, full=True).size == 5


def test_a_rotation_that_crashed_is_taken_up_again(tmp_path: Path) -> None:
    """A new key on disk that no ledger knows signs nothing, and is the next rotation's key."""
    log = open_log(tmp_path)
    grow(log, 2)
    spare = log.keys.add_signer(NAME).verifier
    assert Note.parse(log.checkpoint(AT).encode()).signers([log.logs()[-1].vkeys[0]], only=True)
    log.rotate_key(AT, actor="system")
    assert log.logs()[-1].vkeys[-1] == spare
    assert len(log.keys.signers(NAME)) == 2


def test_a_dropped_year_leaves_its_last_checkpoint(tmp_path: Path) -> None:
    """When a log's own period is over, entries and pseudonym key go; root and link stay."""
    log = open_log(tmp_path)
    grow(log, 2)
    log.checkpoint(AT)
    with pytest.raises(UsageError, match="still open"):
        log.drop(2026, AT, actor="system")
    grow(log, 1, NEXT_YEAR)
    with pytest.raises(UsageError, match="no audit log"):
        log.drop(2025, NEXT_YEAR, actor="system")
    log.drop(2026, NEXT_YEAR, actor="system")
    assert {f["type"] for f in _lines(log)} == {"log.opened", "batch.done", "log.dropped"}
    assert log.logs()[0].dropped
    log.checkpoint(NEXT_YEAR)
    assert log.check(NEXT_YEAR, full=True).size == 3
    assert not (tmp_path / "keys" / "example.org%2Fretention%2F2026.pseudonym").exists()
    with pytest.raises(UsageError, match="no audit log"):
        log.drop(2026, NEXT_YEAR, actor="system")


def test_keys_are_never_in_the_ledger(tmp_path: Path) -> None:
    """Neither a seed nor the pseudonym key is found in the database, raw or in base64."""
    from base64 import b64decode

    log = open_log(tmp_path)
    grow(log, 2)
    log.checkpoint(AT)
    log.rotate_key(AT, actor="system")
    log.ledger.close()
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("ledger.db*"))
    secrets = [path.read_text().strip() for path in (tmp_path / "keys").iterdir()]
    assert len(secrets) == 3
    for secret in secrets:
        assert secret.encode() not in stored
        assert b64decode(secret) not in stored


def test_a_machine_without_the_keys_writes_no_evidence(tmp_path: Path) -> None:
    """With another keys folder nothing is signed and no pseudonym is made."""
    log = open_log(tmp_path)
    grow(log, 1)
    other = AuditLog(log.ledger, tmp_path / "other", ORIGIN)
    with pytest.raises(AuditUnwritable, match="does not hold"):
        other.pseudonymiser("website", "enquiries/form", AT)
    with pytest.raises(AuditUnwritable, match="does not hold"):
        other.checkpoint(AT)


def test_queries_filter_by_type_policy_and_time(tmp_path: Path) -> None:
    """Lines come in order, of all years, filtered as asked."""
    log = open_log(tmp_path)
    grow(log, 2)
    with log.ledger.write() as tx:
        log.append(tx, AT, "request.opened", actor="user:kari", request=1)
        log.append(tx, AT, "request.closed", actor="user:kari", request=1)
        facts = {**batch(log, 9), "policy": "other"}
        log.append_many(tx, AT, [Entry("batch.done", "worker", None, facts)])
    grow(log, 1, NEXT_YEAR)
    assert len(list(log.query(type="batch.done"))) == 4
    assert len(list(log.query(type="request.*"))) == 2
    assert len(list(log.query(type="request.closed"))) == 1
    assert len(list(log.query(policy="contact-form-monthly"))) == 3
    assert len(list(log.query(policy="other"))) == 1
    assert len(list(log.query(since=NEXT_YEAR))) == 3
    assert len(list(log.query(policy="contact-form-monthly", since=NEXT_YEAR))) == 1
    with pytest.raises(UsageError, match="not a type"):
        list(log.query(type="batch.finished"))


def test_long_logs_are_read_in_pages(tmp_path: Path) -> None:
    """Nothing is lost or doubled at the seams of pages, and reading goes on where it ended."""
    log = open_log(tmp_path)
    with log.ledger.write() as tx:
        log.append_many(
            tx, AT, [Entry("freeze", "system", None, {"freeze": n}) for n in range(5100)]
        )
    found = list(log.find())
    assert [f.seq for f in found] == list(range(5101))
    assert [f.seq for f in log.find(after=(NAME, 5098))] == [5099, 5100]
    log.checkpoint(AT)
    assert log.check(AT).size == 5101


def test_a_record_is_found_by_its_pseudonym_and_by_its_key(tmp_path: Path) -> None:
    """Whoever knows the native key finds what became of that record, in every year."""
    log = open_log(tmp_path)
    grow(log, 2)
    grow(log, 2, NEXT_YEAR)
    found = log.find_key("website", "enquiries/form", "row-1")
    assert [(f.log[-4:], f.seq) for f in found] == [("2026", 2), ("2027", 2)]
    name = log.pseudonymiser("website", "enquiries/form", NEXT_YEAR).of("row-1")
    assert [f.log[-4:] for f in log.find_record(name)] == ["2027"]
    assert log.find_key("website", "enquiries/form", "nobody") == []
    assert log.entry(2).line == found[1].line
    with pytest.raises(UsageError, match="no entry 99"):
        log.entry(99)


def test_origins_that_the_format_cannot_hold_are_refused(tmp_path: Path) -> None:
    """No spaces, no plus sign: they are the format's separators."""
    log = open_log(tmp_path)
    for origin in ("", "a b", "a+b", "a/", "a\n"):
        with pytest.raises(UsageError):
            AuditLog(log.ledger, tmp_path / "keys", origin)


def test_two_writers_take_turns(tmp_path: Path) -> None:
    """Appending from many threads leaves one log without gaps or doubles."""
    from concurrent.futures import ThreadPoolExecutor

    log = open_log(tmp_path)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: grow(log, 5), range(4)))
    log.checkpoint(AT)
    assert log.check(AT, full=True).size == 21


def test_messages_hold_no_values(tmp_path: Path) -> None:
    """What was in a changed line is not repeated in the error: it may be personal."""
    log = open_log(tmp_path)
    grow(log, 2)
    log.checkpoint(AT)
    _change(
        tmp_path,
        "UPDATE audit_entry SET line = replace(line, 'disposed', 'kari@example.org') WHERE seq = 1",
    )
    with pytest.raises(RetentionError) as caught:
        log.check(AT, full=True)
    assert "kari" not in str(caught.value)
