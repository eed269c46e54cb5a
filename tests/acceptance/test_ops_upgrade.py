"""upgrade, as a user does it: looked at first, copied, done once, refused where it is unsafe."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import create_engine, text

from retention.ledger import migrate
from tests.acceptance.shop import Shop
from tests.servers.postgres import Postgres

OLDER = "0002"


@pytest.fixture
def used(shop: Shop) -> Shop:
    """A policy approved and run once, so that the log has something to verify."""
    shop.questions(1, 2, 50)
    shop("approve", "form-monthly")
    shop("run", "form-monthly")
    return shop


def back(url: str, revision: str = OLDER) -> None:
    """The same ledger as an older version would have left it."""
    engine = create_engine(url)
    with engine.begin() as connection:
        settings = migrate.config()
        settings.attributes["connection"] = connection
        command.downgrade(settings, revision)
    engine.dispose()


def local(shop: Shop) -> tuple[Path, str]:
    ledger = shop.folder / ".retention" / "ledger.db"
    return ledger, f"sqlite:///{ledger}"


def test_a_look_changes_nothing(shop: Shop) -> None:
    """`--check` makes no ledger, no folder and no copy; 1 says that there is something to do."""
    assert "not there yet" in shop("upgrade", "--check").out
    assert not (shop.folder / ".retention").exists()
    shop("status")
    assert shop("upgrade", "--check").out == f"ledger: {migrate.HEAD}, program: {migrate.HEAD}\n"
    ledger, url = local(shop)
    back(url)
    found = shop("upgrade", "--check", "--json", code=1).json
    assert found == {
        "ledger": OLDER,
        "program": migrate.HEAD,
        "needed": True,
        "upgraded": False,
        "copy": None,
    }
    assert not (ledger.parent / "backups").exists()
    assert shop.ledger("SELECT version_num FROM alembic_version") == [(OLDER,)]


def test_an_upgrade_leaves_a_checked_copy_and_is_done_once(used: Shop) -> None:
    """What it was before lies beside it; a second time nothing is to do; the service goes on."""
    ledger, url = local(used)
    back(url)
    done = used("upgrade", "--json").json
    assert (done["ledger"], done["needed"], done["upgraded"]) == (OLDER, False, True)
    with closing(sqlite3.connect(done["copy"])) as copy:
        assert copy.execute("SELECT version_num FROM alembic_version").fetchall() == [(OLDER,)]
    again = used("upgrade")
    assert "nothing to do" in again.err
    assert list((ledger.parent / "backups").iterdir()) == [Path(done["copy"])]
    assert used("audit", "verify", "--json").json["ok"] is True
    used("run", "form-monthly")
    # And it is a way back: the copy restores, by the upgrade on the way.
    used("restore", done["copy"])
    used("thaw")
    assert used("audit", "verify", "--json").json["ok"] is True


def test_a_ledger_whose_log_does_not_verify_is_not_upgraded(used: Shop) -> None:
    """Evidence that is damaged must be looked at as it is."""
    ledger, url = local(used)
    back(url)
    used.ledger("UPDATE audit_entry SET line = CAST(replace(line, 'run', 'ran') AS BLOB)")
    assert "does not fit" in used("upgrade", code=13).err
    assert used.ledger("SELECT version_num FROM alembic_version") == [(OLDER,)]
    assert list((ledger.parent / "backups").iterdir()) == []


def test_any_command_upgrades_a_ledger_in_a_file_after_a_copy(used: Shop) -> None:
    """One machine: a new version of the program simply goes on."""
    ledger, url = local(used)
    back(url)
    used("run", "form-monthly")
    (copy,) = (ledger.parent / "backups").iterdir()
    assert copy.name == f"before-upgrade-{OLDER}-to-{migrate.HEAD}.db"
    assert used("audit", "verify", "--json").json["ok"] is True


def test_a_ledger_of_a_newer_version_is_left_alone(used: Shop) -> None:
    """10 and what to install; also where one only looks."""
    used.ledger("UPDATE alembic_version SET version_num = '9999'")
    for words in (("upgrade",), ("upgrade", "--check"), ("status",)):
        assert "newer version" in used(*words, code=10).err
    copy = used.folder / "copy.db"
    shutil.copy(local(used)[0], copy)
    assert "newer version" in used("restore", str(copy), code=10).err


def test_a_ledger_on_a_server_waits_for_a_person(shop: Shop, postgres: Postgres) -> None:
    """Every command refuses the older ledger with the way out; `upgrade` is that way, once."""
    url = shop.settings["RETENTION_DATABASE_URL"] = postgres.new_database()
    shop.questions(1, 2, 50)
    assert "not there yet" in shop("upgrade", "--check").out
    shop("approve", "form-monthly")
    back(url)
    for words in (("status",), ("daemon", "--once"), ("plan",), ("run", "form-monthly")):
        ended = shop(*words, "--json" if words == ("plan",) else "--home=.retention", code=10)
        assert "retention upgrade" in ended.err
    assert shop.ids() == [1, 2, 3]
    assert "needed" in shop("upgrade", "--check", code=1).err
    engine = create_engine(url)
    with engine.connect() as connection:
        (found,) = connection.execute(text("SELECT version_num FROM alembic_version")).one()
    engine.dispose()
    assert found == OLDER
    assert json.loads(shop("upgrade", "--json").out)["upgraded"] is True
    assert json.loads(shop("upgrade", "--json").out)["upgraded"] is False
    shop("run", "form-monthly")
    assert shop.ids() == [1, 2]
    assert shop("audit", "verify", "--json").json["ok"] is True
