"""The small installation under faults, in brief; `make chaos` is the long form."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path

from retention.audit.verify import verify_folder
from tests.chaos import faults
from tests.chaos.installations import Order, daemons
from tests.chaos.invariants import broken
from tests.chaos.stores import FORM, PostgresTable
from tests.chaos.world import Size, World
from tests.servers.dovecot import Dovecot
from tests.servers.postgres import Postgres

SMALL = Size(start=150, mails=40, arrival=40, batch=8)


def test_daemons_over_sqlite_lose_and_double_nothing(
    tmp_path: Path, postgres: Postgres, dovecot: Dovecot
) -> None:
    """Killed, suspended, misled about the time, out of space, out of power: every rule holds."""
    order = Order(folder=tmp_path, seed=11, kills=3, size=SMALL)
    with ExitStack() as stack:
        story = daemons(stack, order, "sqlite", postgres, dovecot, 2)
        told = story.run()
        assert told.broken == [], told.report()
        assert set(told.figures.faults) >= {fault.name for fault in story.faults}
        _the_checks_are_not_blind(story.stage.world)


def _the_checks_are_not_blind(world: World) -> None:
    """What a vendor puts back, and what somebody changes in the exported log, is noticed."""
    form = world.stores[0]
    assert isinstance(form, PostgresTable)
    gone = next(i for i in world.items.values() if i.location == FORM and i.key not in form.left())
    form.restore(gone.key)
    assert any(gone.key in rule and "is there" in rule for rule in broken(world.look(verify=False)))

    honest = world.folder / "export"
    lines = (honest / "entries.jsonl").read_text(encoding="utf-8").splitlines()
    for name, changed in {
        "dropped": lines[:9] + lines[10:],
        "edited": [*lines[:9], lines[9].replace("20", "19", 1), *lines[10:]],
        "cut short": lines[:-5],
    }.items():
        forged = world.folder / name
        shutil.copytree(honest, forged)
        text = "".join(f"{line}\n" for line in changed)
        (forged / "entries.jsonl").write_text(text, encoding="utf-8")
        assert not verify_folder(forged, None, None).ok, name


def test_daemons_over_postgresql_lose_and_double_nothing(
    tmp_path: Path, postgres: Postgres, dovecot: Dovecot
) -> None:
    """The ledger's server is restarted, fills up and loses power with everybody: all rules hold."""
    only = {
        faults.KillDaemon,
        faults.DiskFull,
        faults.PowerCut,
        faults.LedgerRestartedFast,
        faults.LedgerRestartedImmediately,
    }
    order = Order(folder=tmp_path, seed=12, kills=3, size=SMALL, only=only)
    with ExitStack() as stack:
        story = daemons(stack, order, "postgresql", postgres, dovecot, 2)
        told = story.run()
        assert told.broken == [], told.report()
        assert set(told.figures.faults) >= {fault.name for fault in story.faults}
