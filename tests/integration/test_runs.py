"""Whole runs on a real store: limits, approval, holds, freeze, failures, evidence."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select, text

from retention.connectors import registry
from retention.connectors.base import Connector
from retention.connectors.memory import lost
from retention.errors import AuditUnwritable, ExitCode, PermanentFailure, Withheld
from retention.ledger import tables as t
from retention.run.approval import approve_policy
from retention.run.claim import RunState
from retention.run.orders import add_hold, freeze, release_hold, thaw, withdraw_consent
from retention.subjects.holds import Scope
from tests.integration.shop import HEAD, MONTHLY, NOW, Shop


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """Thirty old rows and ten young ones; the monthly policy is approved."""
    made = Shop(tmp_path)
    made.write(MONTHLY)
    for key in range(40):
        made.put(key, 100 if key < 30 else 3)
    made.approve("form-monthly")
    return made


def test_a_run_writes_intent_outcome_and_look_for_every_record(shop: Shop) -> None:
    """Evidence in order, every record named in each step, and no key or address anywhere."""
    report = shop.run()
    assert (report.state, report.exit_code) == (RunState.DONE, ExitCode.OK)
    assert report.counts["verified"] == 30
    kinds = [e["type"] for e in shop.entries() if e.get("run")]
    assert kinds[0] == "run.planned"
    assert kinds[-1] == "run.finished"
    for kind in ("batch.intended", "batch.done", "batch.verified"):
        records = [r for e in shop.entries(kind) for r in e["records"]]
        assert len(records) == len(set(records)) == 30
    assert "example.org" not in json.dumps(shop.entries("batch.intended"))


def test_native_keys_are_blanked_when_a_run_closes(shop: Shop) -> None:
    """After the run nothing in the ledger's file names a record."""
    shop.sql("CREATE TABLE kept (k TEXT)")
    shop.run()
    with shop.open() as home, home.ctx.ledger.read() as tx:
        assert set(tx.execute(select(t.batch.c.records)).scalars()) == {None}
        assert set(tx.execute(select(t.scan.c.controls)).scalars()) == {None}


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ("{records: 29}", "the limit is 29"),
        ("{records: 0}", "the limit is 0"),
        ("{share: 50%}", "the limit is 50 %"),
    ],
)
def test_a_plan_over_a_limit_stops_before_its_first_act(
    shop: Shop, limits: str, words: str
) -> None:
    """Nothing is touched, an alarm is raised, the exit code is 4."""
    shop.write(MONTHLY + f"    limits: {limits}\n")
    shop.approve("form-monthly")
    report = shop.run()
    assert (report.state, report.exit_code) == (RunState.STOPPED, ExitCode.LIMIT)
    assert words in report.problems[0]
    assert len(shop.keys()) == 40
    assert ("form-monthly", "limit") in shop.alarms()
    assert shop.entries("batch.intended") == []
    assert words in shop.entries("run.stopped")[0]["because"][0]


def test_growth_is_measured_against_the_last_runs(shop: Shop) -> None:
    """After three usual runs, one that is six times larger stops."""
    shop.sql("DELETE FROM form")
    shop.write(MONTHLY + "    limits: {growth: 5x}\n")
    shop.approve("form-monthly")
    for round_number in range(3):
        shop.put(100 + round_number, 200)
        assert shop.run().exit_code is ExitCode.OK
    for key in range(6):
        shop.put(200 + key, 200)
    assert shop.run().exit_code is ExitCode.LIMIT


def test_a_plan_that_asks_for_approval_each_time_waits(shop: Shop) -> None:
    """`approval: each_run`: found and decided, but not acted upon before somebody says so."""
    shop.write(MONTHLY + "    approval: each_run\n")
    shop.approve("form-monthly")
    report = shop.run()
    assert (report.state, report.exit_code) == (RunState.WAITING, ExitCode.WITHHELD)
    assert len(shop.keys()) == 40
    with shop.open() as home:
        approve_policy(home.ctx, home.in_force, "form-monthly", by="user:tester")
    shop.daemon_once()
    assert len(shop.keys()) == 10


def test_a_hold_keeps_until_it_is_released(shop: Shop) -> None:
    """Every matching hold; the records are counted as held, and go after the release."""
    with shop.open() as home:
        subject = home.ctx.hasher.subject("email", "P3@Example.org ")
        first = add_hold(
            home.ctx,
            Scope(subject=subject),
            case="C-1",
            reason="claim",
            owner="legal",
            review_by=NOW,
        )
        second = add_hold(
            home.ctx,
            Scope(
                location="enquiries/form",
                record=home.ctx.hasher.record("web", "enquiries/form", "3"),
            ),
            case="C-2",
            reason="claim",
            owner="legal",
            review_by=NOW,
        )
    assert shop.run().counts["held"] == 1
    assert 3 in shop.sql("SELECT id FROM form WHERE id = 3")[0]
    with shop.open() as home:
        release_hold(home.ctx, first, reason="over")
    shop.run()
    assert shop.keys() >= {3}
    with shop.open() as home:
        release_hold(home.ctx, second, reason="over")
    shop.run()
    assert shop.keys() == set(range(30, 40))


def test_a_released_hold_protects_through_its_grace(shop: Shop) -> None:
    """`hold_grace_days`: a release by mistake can be noticed."""
    with shop.open(hold_grace_days=3) as home:
        hold = add_hold(
            home.ctx, Scope(cluster="enquiries"), case="C", reason="r", owner="o", review_by=NOW
        )
        release_hold(home.ctx, hold, reason="over")
    shop.run()
    assert len(shop.keys()) == 40
    shop.clock.forward(days=4)
    shop.run()
    assert len(shop.keys()) == 10


def test_freeze_stops_every_disposal_and_thaw_resumes(shop: Shop) -> None:
    """The run waits where it is, and goes on from there."""
    with shop.open() as home:
        freeze(home.ctx, reason="we look into something")
    assert shop.run().exit_code is ExitCode.WITHHELD
    assert len(shop.keys()) == 40
    with shop.open() as home:
        thaw(home.ctx)
    shop.daemon_once()
    assert len(shop.keys()) == 10


def test_a_table_that_vanished_is_one_clear_error_and_the_others_go_on(shop: Shop) -> None:
    """Partial: the location is named with a hint, the other location is worked off."""
    head = (
        HEAD
        + """      letters: {{system: web, table: letters, key: id, dates: {{received: received}},
             subject: {{email: email}}}}
"""
    )
    shop.write(MONTHLY.replace("enquiries/form", "enquiries"), head=head)
    shop.approve("form-monthly")
    report = shop.run()
    assert (report.state, report.exit_code) == (RunState.PARTIAL, ExitCode.UNVERIFIED)
    assert "letters" in report.problems[0]
    assert len(shop.keys()) == 10
    assert ("form-monthly", "partial") in shop.alarms()


def test_a_log_that_does_not_fit_its_checkpoint_stops_everything(shop: Shop) -> None:
    """No audit, no act: one byte changed in the ledger, and nothing is disposed of."""
    shop.put(99, 200)
    shop.run()
    with closing(sqlite3.connect(shop.folder / "home" / "ledger.db")) as db:
        db.execute(
            "UPDATE audit_entry SET line = CAST(replace(line, 'disposed', 'disposes') AS BLOB)"
        )
        db.commit()
    shop.put(98, 200)
    with pytest.raises(AuditUnwritable):
        shop.run()
    assert 98 in shop.keys()  # noqa: SIM118  # a set, not a dict


class Flaky:
    """A connector whose first acts fail with a lost connection after they took effect."""

    def __init__(self, inner: Connector, failures: list[int]) -> None:
        self._inner = inner
        self._failures = failures

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def erase(self, *args: object) -> object:
        outcomes = list(self._inner.erase(*args))  # type: ignore[arg-type]  # passed through
        if self._failures:
            self._failures.pop()
            raise lost()
        return iter(outcomes)


def test_an_act_that_timed_out_after_it_took_effect_is_looked_at(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer was lost: the log says absent, recovered; nothing is done twice, nothing stays."""
    real = registry.open_connector
    failures = [1]
    monkeypatch.setattr(registry, "open_connector", lambda *a, **k: Flaky(real(*a, **k), failures))
    report = shop.run()
    assert report.state is not RunState.DONE
    shop.clock.forward(minutes=1)
    shop.daemon_once()
    assert len(shop.keys()) == 10
    done = shop.entries("batch.done")
    assert sum(len(e["records"]) for e in done if e.get("kind") == "recovered") == 10
    assert sum(len(e["records"]) for e in done) == 30


def test_a_system_that_stays_away_makes_the_run_partial(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the retry window the policy alarms and the rest goes on."""
    real = registry.open_connector

    class Away(Flaky):
        def recheck(self, *_: object) -> object:
            raise lost()

    monkeypatch.setattr(registry, "open_connector", lambda *a, **k: Away(real(*a, **k), []))
    shop.run()
    for _ in range(14):
        shop.clock.forward(minutes=6)
        shop.daemon_once()
    assert ("form-monthly", "partial") in shop.alarms()
    assert len(shop.keys()) == 40
    with shop.open() as home, home.ctx.ledger.read() as tx:
        states = set(tx.execute(select(t.run.c.state)).scalars())
    assert "partial" in states


def test_an_intent_that_nobody_could_look_at_still_gets_its_outcome(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The act's answer was lost and the system stays away: unknown, an alarm, no open intent."""
    real = registry.open_connector
    acted: list[int] = []

    class Gone(Flaky):
        def erase(self, *args: object) -> object:
            acted.append(1)
            list(self._inner.erase(*args))  # type: ignore[arg-type]  # passed through
            raise lost()

        def recheck(self, *args: object) -> object:
            if acted:
                raise lost()
            return self._inner.recheck(*args)  # type: ignore[arg-type]  # passed through

    monkeypatch.setattr(registry, "open_connector", lambda *a, **k: Gone(real(*a, **k), []))
    shop.run()
    for _ in range(14):
        shop.clock.forward(minutes=6)
        shop.daemon_once()
    intended = [r for e in shop.entries("batch.intended") for r in e["records"]]
    done = [(r, e["outcome"]) for e in shop.entries("batch.done") for r in e["records"]]
    assert sorted(done) == sorted((r, "unknown") for r in intended)
    assert len(intended) == 10
    assert ("form-monthly", "unverified") in shop.alarms()


def test_a_location_that_failed_halfway_is_read_from_its_beginning_again(shop: Shop) -> None:
    """What was found before the failure was dropped, so the cursor is dropped with it."""
    from retention.run import discover
    from retention.run.claim import claim
    from retention.run.sessions import target
    from retention.run.tick import new_run

    with shop.open() as home:
        ctx, now = home.ctx, shop.clock.now()
        system = ctx.open(home.in_force.bundle, "web")
        aim = target(home.in_force.bundle, "enquiries/form", dates=("received",))
        (page,) = system.find(aim)
        system.close()
        with ctx.ledger.write() as tx:
            digest = home.in_force.digest_of("form-monthly")
            run_id = new_run(tx, "form-monthly", digest, now, "manual", now)
            halfway = {"run_id": run_id, "location": "enquiries/form", "state": "reading"}
            tx.execute(t.scan.insert().values(**halfway, cursor=page.cursor, scanned=40))
        held = claim(ctx, run_id)
        assert held is not None
        discover.failed(ctx, held, "enquiries/form", PermanentFailure("gone"))
        held.release(ctx)
        home.executor().finish(held.run_id)
    assert shop.keys() == set(range(30, 40))


def test_missed_firings_are_made_up_for_once_and_written_down(shop: Shop) -> None:
    """Three nights without a machine: one late run, two missed firings in the log."""
    shop.daemon_once()
    shop.clock.forward(days=3)
    reports = shop.daemon_once()
    assert len(reports) == 1
    assert len(shop.entries("firing.missed")) == 2
    assert len(shop.keys()) == 10


def test_a_clock_that_went_back_fires_nothing(shop: Shop) -> None:
    """And what is planned by hand is reviewed, not disposed of."""
    shop.daemon_once()
    shop.clock.forward(days=-3)
    assert shop.daemon_once() == []
    assert ("", "clock-went-back") in shop.alarms()
    shop.run()
    assert len(shop.keys()) == 40


NEWSLETTER = """
  newsletter-consent:
    applies_to: enquiries
    starting_point: {event: consent_withdrawn}
    delete_at_latest: 24 hours
    then: delete
    suppress: email
    schedule: on_event
"""


def test_a_withdrawn_consent_empties_every_place_and_leaves_a_suppression_entry(
    shop: Shop,
) -> None:
    """Within one tick of the event; only that person's records; a keyed hash stays behind."""
    shop.write(NEWSLETTER, head=HEAD.replace("legitimate_interest", "consent"))
    shop.approve("newsletter-consent")
    shop.daemon_once()
    with shop.open() as home:
        subject = home.ctx.hasher.subject("email", "p35@example.org")
        withdraw_consent(
            home.ctx, subject, purpose="answering enquiries", happened=shop.clock.now()
        )
    shop.clock.forward(seconds=20)
    shop.daemon_once()
    assert shop.keys() == set(range(40)) - {35}
    with shop.open() as home, home.ctx.ledger.read() as tx:
        assert tx.execute(select(t.suppression.c.subject)).scalars().all() == [subject]
    shop.clock.forward(seconds=20)
    shop.daemon_once()
    assert len(shop.entries("run.finished")) == 1


def test_anonymising_is_done_once_and_proved(shop: Shop) -> None:
    """The fields are overwritten, the record stays, and the next run finds nothing to do."""
    shop.write(MONTHLY.replace("then: delete", "then: {anonymise: {name: null, status: removed}}"))
    shop.approve("form-monthly")
    report = shop.run()
    assert report.counts["verified"] == 30
    assert shop.sql("SELECT count(*) FROM form WHERE name IS NULL AND status = 'removed'") == [
        (30,)
    ]
    assert shop.run().counts.get("disposed", 0) == 0


def test_a_hand_over_exports_verifies_and_only_then_deletes(shop: Shop) -> None:
    """One file a record, named by pseudonym, with an index of hashes."""
    shop.write(MONTHLY.replace("then: delete", "then: {hand_over: {to: out}}"))
    shop.approve("form-monthly")
    shop.run()
    assert len(shop.keys()) == 10
    (folder,) = (shop.folder / "policies" / "out").iterdir()
    names = {p.name for p in folder.iterdir()} - {"index.jsonl"}
    assert len(names) == 30
    assert all(p.stat().st_mode & 0o077 == 0 for p in folder.iterdir() if p.name in names)
    index = [json.loads(line) for line in (folder / "index.jsonl").read_text().splitlines()]
    assert {line["file"] for line in index} == names


def test_an_export_that_cannot_be_written_deletes_nothing(shop: Shop) -> None:
    """A full or read-only disk: permanent failure, the records stay."""
    (shop.folder / "policies" / "out").write_text("a file where a folder should be")
    shop.write(MONTHLY.replace("then: delete", "then: {hand_over: {to: out}}"))
    shop.approve("form-monthly")
    assert shop.run().exit_code is ExitCode.UNVERIFIED
    assert len(shop.keys()) == 40


LINKED = """
  mail-of-ended:
    applies_to: enquiries/form
    starting_point: {date: customers.ended, matched_on: email}
    delete_at_latest: 1 month
    then: delete
    schedule: "0 3 * * *"
  customers-go:
    applies_to: customers
    starting_point: ended
    delete_at_latest: 1 month
    then: delete
    schedule: "0 3 * * *"
"""
CUSTOMERS = """  customers:
    purpose: coaching
    basis: contract
    locations:
      card: {{system: web, table: customers, key: id, dates: {{ended: ended}},
             subject: {{email: email}}}}
"""


def test_mail_of_ended_customers_goes_even_when_the_card_went_first(shop: Shop) -> None:
    """The end is remembered by keyed hash; active and unknown people's mail is kept."""
    shop.sql("CREATE TABLE customers (id INTEGER PRIMARY KEY, ended TEXT, email TEXT)")
    for key, ended in ((1, "2026-01-01"), (2, None), (3, "2026-06-10")):
        shop.sql("INSERT INTO customers VALUES (?, ?, ?)", key, ended, f"p{key}@example.org")
    shop.write(LINKED, head=HEAD + CUSTOMERS)
    shop.approve("mail-of-ended", "customers-go")
    shop.run("customers-go")
    assert [r[0] for r in shop.sql("SELECT id FROM customers")] == [2, 3]
    report = shop.run("mail-of-ended")
    assert shop.keys() == set(range(40)) - {1}
    assert report.counts["disposed"] == 1


def test_an_unreadable_register_blocks_the_mail(shop: Shop) -> None:
    """Who is a customer cannot be told: nothing of it is disposed of."""
    shop.write(LINKED, head=HEAD + CUSTOMERS)
    shop.approve("mail-of-ended")
    report = shop.run("mail-of-ended")
    assert report.exit_code is ExitCode.UNVERIFIED
    assert len(shop.keys()) == 40


def test_not_approved_is_refused(shop: Shop) -> None:
    """And says what to do."""
    shop.write(MONTHLY.replace("form-monthly", "another"))
    with pytest.raises(Withheld, match="not approved"):
        shop.run("another")


def test_two_claims_on_one_run_are_impossible(shop: Shop) -> None:
    """The second taker finds nothing while the lease holds."""
    from retention.run.claim import claim
    from retention.run.tick import new_run

    with shop.open() as home:
        now = shop.clock.now()
        with home.ctx.ledger.write() as tx:
            digest = home.in_force.digest_of("form-monthly")
            run_id = new_run(tx, "form-monthly", digest, now, "manual", now)
        assert claim(home.ctx, run_id) is not None
        assert claim(home.ctx, run_id) is None
        shop.clock.forward(seconds=31)
        again = claim(home.ctx, run_id)
        assert again is not None
        assert again.token == 2
        with home.ctx.ledger.read() as tx:
            assert tx.execute(text("SELECT count(*) FROM run")).scalar_one() == 1
