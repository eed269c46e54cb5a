"""Copies of one record in several places, and records that are copied before they go."""

from __future__ import annotations

from pathlib import Path

import pytest

from retention.errors import ExitCode
from retention.run.status import status
from tests.integration.shop import HEAD, Shop

SHEET = """  leads:
    locations:
      sheet: {{system: web, table: sheet, key: ref, dates: {{asked: asked}},
              subject: {{email: who}}}}
"""
COPY = """
  form-monthly:
    applies_to: enquiries/form
    starting_point: received
    delete_at_latest: 1 month
    then: {copy_to: {location: leads/sheet, values: {asked: received, who: email, title: name}}}
    schedule: "0 3 * * *"
"""


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    shop = Shop(tmp_path)
    for key in range(6):
        shop.put(key, age_days=100 if key < 4 else 3)
    shop.sql("CREATE TABLE sheet (ref TEXT PRIMARY KEY, asked TEXT, who TEXT, title TEXT)")
    return shop


def copies(shop: Shop) -> list[tuple[str, str]]:
    return sorted(shop.sql("SELECT who, title FROM sheet"))


def test_records_are_copied_looked_at_and_only_then_deleted(shop: Shop) -> None:
    """What is gone from the form stands in the sheet, once, with its values; the log says so."""
    shop.write(COPY, head=HEAD + SHEET)
    shop.approve("form-monthly")
    report = shop.run()
    assert report.exit_code is ExitCode.OK
    assert shop.keys() == {4, 5}
    assert copies(shop) == [(f"p{n}@example.org", f"N {n}") for n in range(4)]
    received = {row[0][:10] for row in shop.sql("SELECT asked FROM sheet")}
    assert received == {"2026-03-07"}
    assert {entry["into"] for entry in shop.entries("batch.intended")} == {"leads/sheet"}


def test_a_copy_that_somebody_changed_keeps_its_record(shop: Shop) -> None:
    """The copy stands there but says something else: a person has to look, nothing is deleted."""
    shop.write(COPY, head=HEAD + SHEET)
    shop.approve("form-monthly")
    shop.sql(
        "CREATE TRIGGER meddle AFTER INSERT ON sheet WHEN NEW.who LIKE 'p1@%'"
        " BEGIN UPDATE sheet SET title = 'X' WHERE ref = NEW.ref; END"
    )
    report = shop.run()
    assert report.exit_code is ExitCode.UNVERIFIED
    assert report.counts["failed_permanent"] == 1
    assert shop.keys() == {1, 4, 5}


def test_a_place_that_refuses_one_copy_keeps_that_record_only(shop: Shop) -> None:
    """One row that the other place does not take stays here; the rest goes."""
    shop.write(COPY, head=HEAD + SHEET)
    shop.approve("form-monthly")
    shop.sql("CREATE UNIQUE INDEX one ON sheet (title)")
    shop.sql("INSERT INTO sheet VALUES ('mine', NULL, 'x', 'N 2')")
    assert shop.run().exit_code is ExitCode.UNVERIFIED
    assert shop.keys() == {2, 4, 5}


def test_a_missing_place_keeps_everything(shop: Shop) -> None:
    """The sheet is not there: nothing is deleted, and it is tried again."""
    shop.write(COPY, head=HEAD + SHEET)
    shop.approve("form-monthly")
    shop.sql("DROP TABLE sheet")
    assert shop.run().exit_code is ExitCode.UNVERIFIED
    assert len(shop.keys()) == 6


def test_a_plan_file_copies_too(shop: Shop) -> None:
    """`plan --out` and `apply` do exactly the same as a firing."""
    from retention.run.apply_file import mark_approved, prepare
    from retention.run.plan import Plan, PlanFile

    shop.write(COPY, head=HEAD + SHEET)
    shop.approve("form-monthly")
    path = shop.folder / "plan.json"
    with shop.open() as home:
        plan = Plan(home.ctx, home.in_force, home.jobs, ["form-monthly"], home.in_force.rules())
        items = [PlanFile.item(planned) for planned in plan.items()]
        PlanFile.write(path, plan, items)
    with shop.open() as home:
        file = PlanFile.read(path)
        mark_approved(home.ctx, file, "user:tester")
        runs = prepare(home.ctx, home.in_force, file)
        reports = [home.executor().finish(run) for run in runs]
    assert {r.exit_code for r in reports} == {ExitCode.OK}
    assert shop.keys() == {4, 5}
    assert len(copies(shop)) == 4


# --- the same record in several places ----------------------------------------------------------

CUSTOMERS = """  customers:
    purpose: coaching
    basis: contract
    {matched}
    locations:
      card: {{{{system: web, table: card, key: id, dates: {{{{ended: ended}}}},
             subject: {{{{number: no, email: email}}}}}}}}
      list: {{{{system: web, table: list, key: id, subject: {{{{number: no}}}}}}}}
"""
GO = """
  customers-go:
    applies_to: customers
    starting_point: ended
    delete_at_latest: 1 month
    then: delete
    schedule: "0 3 * * *"
"""
MATCHED = HEAD + CUSTOMERS.format(matched="matched_on: number")


@pytest.fixture
def office(tmp_path: Path) -> Shop:
    """Customers 1 to 4 on a card, which knows when they ended, and in a list, which does not."""
    shop = Shop(tmp_path)
    shop.sql("CREATE TABLE card (id INTEGER PRIMARY KEY, no TEXT, ended TEXT, email TEXT)")
    shop.sql("CREATE TABLE list (id INTEGER PRIMARY KEY, no TEXT)")
    for n, ended in ((1, "2026-01-01"), (2, None), (3, "2026-06-10"), (4, "2026-01-02")):
        shop.sql("INSERT INTO card VALUES (?, ?, ?, ?)", n, f"C{n}", ended, f"c{n}@example.org")
        shop.sql("INSERT INTO list VALUES (?, ?)", n + 10, f"C{n}")
    shop.sql("INSERT INTO list VALUES (99, 'C99')")
    shop.write(GO, head=MATCHED)
    shop.approve("customers-go")
    return shop


def left(shop: Shop, table: str) -> list[int]:
    return [row[0] for row in shop.sql(f"SELECT id FROM {table} ORDER BY id")]


def partly(shop: Shop) -> int:
    with shop.open() as home:
        (row,) = status(home.ctx.ledger, home.in_force, home.jobs, shop.clock.now())
        return row.partly_disposed


def test_one_decision_reaches_every_copy(office: Shop) -> None:
    """A copy without a date of its own goes with the record that has one, and only then."""
    assert office.run("customers-go").exit_code is ExitCode.OK
    assert left(office, "card") == [2, 3]
    assert left(office, "list") == [12, 13, 99]
    assert partly(office) == 0


def test_the_latest_date_of_all_copies_counts(office: Shop) -> None:
    """A second copy that says the customer came back keeps both."""
    office.sql("INSERT INTO card VALUES (5, 'C1', '2026-06-12', 'c1@example.org')")
    office.run("customers-go")
    assert left(office, "card") == [1, 2, 3, 5]
    assert left(office, "list") == [11, 12, 13, 99]


def test_a_hold_on_a_person_reaches_copies_that_do_not_name_them(office: Shop) -> None:
    """The list knows a number only; the hold names the e-mail address on the card."""
    from sqlalchemy import insert

    from retention.ledger import tables as t
    from retention.ledger.store import stamp

    with office.open() as home, home.ctx.ledger.write() as tx:
        subject = home.ctx.hasher.subject("email", "c1@example.org")
        tx.execute(
            insert(t.hold).values(
                case="C", reason="r", owner="o", added_at=stamp(office.clock.now()), subject=subject
            )
        )
    report = office.run("customers-go")
    assert report.counts["held"] == 2
    assert left(office, "card") == [1, 2, 3]
    assert left(office, "list") == [11, 12, 13, 99]


def test_a_hold_on_one_record_reaches_its_copies(office: Shop) -> None:
    """A hold on the card's row keeps the row in the list."""
    from sqlalchemy import insert

    from retention.ledger import tables as t
    from retention.ledger.store import stamp

    with office.open() as home, home.ctx.ledger.write() as tx:
        tx.execute(
            insert(t.hold).values(
                case="C",
                reason="r",
                owner="o",
                added_at=stamp(office.clock.now()),
                location="customers/card",
                record=home.ctx.hasher.record("web", "customers/card", "1"),
            )
        )
    office.run("customers-go")
    assert left(office, "card") == [1, 2, 3]
    assert left(office, "list") == [11, 12, 13, 99]


def forbid(shop: Shop, table: str, key: int) -> None:
    shop.sql(
        f"CREATE TRIGGER forbid BEFORE DELETE ON {table} WHEN OLD.id = {key}"
        " BEGIN SELECT RAISE(ABORT, 'no'); END"
    )


def test_a_place_that_fails_leaves_the_record_partly_disposed_and_is_tried_again(
    office: Shop,
) -> None:
    """Visible in `status` and as an alarm; a day later it is tried again, and then it is whole."""
    forbid(office, "list", 11)
    report = office.run("customers-go")
    assert report.exit_code is ExitCode.UNVERIFIED
    assert report.counts["partly_disposed"] == 1
    assert left(office, "card") == [2, 3]
    assert left(office, "list") == [11, 12, 13, 99]
    assert partly(office) == 1
    assert ("customers-go", "partly-disposed") in office.alarms()

    office.sql("DROP TRIGGER forbid")
    office.daemon_once()
    assert left(office, "list") == [11, 12, 13, 99]
    office.clock.forward(hours=25)
    office.daemon_once()
    assert left(office, "list") == [12, 13, 99]
    assert partly(office) == 0
    assert office.alarms() == set()


def test_a_plan_file_about_others_forgets_nobody_who_is_partly_disposed(office: Shop) -> None:
    """It names some records of a place; who else is left there stays known."""
    from retention.run.apply_file import mark_approved, prepare
    from retention.run.plan import Plan, PlanFile

    forbid(office, "list", 11)
    office.run("customers-go")
    office.sql("INSERT INTO card VALUES (6, 'C6', '2026-01-01', 'c6@example.org')")
    office.sql("INSERT INTO list VALUES (16, 'C6')")
    path = office.folder / "plan.json"
    with office.open() as home:
        plan = Plan(home.ctx, home.in_force, home.jobs, ["customers-go"], home.in_force.rules())
        items = [PlanFile.item(planned) for planned in plan.items()]
        PlanFile.write(path, plan, [item for item in items if item["key"] != "11"])
    with office.open() as home:
        file = PlanFile.read(path)
        mark_approved(home.ctx, file, "user:tester")
        for run in prepare(home.ctx, home.in_force, file):
            home.executor().finish(run)
    assert left(office, "list") == [11, 12, 13, 99]
    assert partly(office) == 1


def test_a_place_that_cannot_be_read_stops_the_decision_on_its_copies(office: Shop) -> None:
    """What the unreadable copy says may protect all of them: nothing is disposed of."""
    office.sql("ALTER TABLE list RENAME TO away")
    report = office.run("customers-go")
    assert report.exit_code is ExitCode.UNVERIFIED
    assert left(office, "card") == [1, 2, 3, 4]


def test_places_without_a_common_decision_are_still_seen_as_partly_disposed(
    tmp_path: Path,
) -> None:
    """Two lists with dates of their own share a person's address: one fails, and it is said."""
    shop = Shop(tmp_path)
    for table in ("card", "list"):
        shop.sql(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, ended TEXT, email TEXT)")
        shop.sql(f"INSERT INTO {table} VALUES (1, '2026-01-01', 'c1@example.org')")
        shop.sql(f"INSERT INTO {table} VALUES (2, '2026-01-01', 'c2@example.org')")
    lists = """  customers:
    locations:
      card: {{system: web, table: card, key: id, dates: {{ended: ended}},
             subject: {{email: email}}}}
      list: {{system: web, table: list, key: id, dates: {{ended: ended}},
             subject: {{email: email}}}}
"""
    shop.write(GO, head=HEAD + lists)
    shop.approve("customers-go")
    forbid(shop, "list", 2)
    assert shop.run("customers-go").counts["partly_disposed"] == 1
    assert partly(shop) == 1
    shop.sql("DROP TABLE list")
    shop.sql("INSERT INTO card VALUES (3, '2026-01-01', 'c3@example.org')")
    assert shop.run("customers-go").counts["partly_disposed"] == 2
    assert partly(shop) == 2


def test_a_run_that_failed_is_tried_again_daily_and_not_more_often(office: Shop) -> None:
    """Between two tries lies a day, whatever the policy's own schedule says."""
    office.write(
        GO.replace('"0 3 * * *"', '"0 3 1 * *"').replace("1 month", "2 months"), head=MATCHED
    )
    office.approve("customers-go")
    forbid(office, "list", 11)
    office.run("customers-go")
    for _ in range(3):
        runs = len(office.entries("run.finished"))
        office.clock.forward(hours=12)
        office.daemon_once()
        assert len(office.entries("run.finished")) == runs
        office.clock.forward(hours=13)
        office.daemon_once()
        assert len(office.entries("run.finished")) == runs + 1
