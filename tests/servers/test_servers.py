"""The servers themselves: they answer, survive a crash, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from imapclient import IMAPClient
from imapclient.exceptions import LoginError

from tests.servers.dovecot import Dovecot
from tests.servers.mailbox import message
from tests.servers.mariadb import MariaDB
from tests.servers.postgres import Postgres
from tests.servers.process import Server, wait_until
from tests.servers.redis import Redis

ROOT = Path(__file__).resolve().parents[2]
RECEIVED = datetime(2024, 2, 3, 4, 5, 6, tzinfo=UTC)
KINDS = [Redis, Postgres, MariaDB, Dovecot]


def _value(url: str, statement: str) -> Any:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        answer = connection.execute(sa.text(statement))
        return answer.scalar() if answer.returns_rows else None


def _gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_comes_back_after_a_crash_and_leaves_nothing(
    kind: Callable[[], Server],
) -> None:
    """Killed, it boots again on the same port; closed, its process and folder are gone."""
    with kind().launch() as server:
        first, port = server.pid, server.port
        server.kill()
        assert not server.running
        server.boot()
        assert server.port == port
        assert server.pid != first
        assert server.answers()
        last = server.pid
    assert not server.folder.exists()
    assert _gone(last)


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_ends_with_the_process_that_started_it(kind: type[Server]) -> None:
    """Killed without a chance to clean up, the starter takes the server and its folder with it."""
    code = (
        f"from {kind.__module__} import {kind.__name__} as Kind; server = Kind.start();"
        "print(server.pid, server.folder, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as starter:
        assert starter.stdout is not None
        pid, folder = starter.stdout.readline().split()
        starter.send_signal(signal.SIGKILL)
    wait_until(lambda: not Path(folder).exists() and _gone(int(pid)))


@pytest.mark.parametrize("name", ["postgres", "mariadb"])
def test_a_database_is_fresh_and_its_password_counts(
    name: str, request: pytest.FixtureRequest
) -> None:
    """Databases share nothing; a wrong password is refused; a guest has no rights."""
    server = request.getfixturevalue(name)
    one, other = server.new_database(), server.new_database()
    _value(one, "CREATE TABLE t (a INT)")
    _value(one, "INSERT INTO t VALUES (7)")
    assert _value(one, "SELECT a FROM t") == 7
    with pytest.raises(sa.exc.DBAPIError):
        _value(other, "SELECT a FROM t")
    wrong = sa.make_url(one).set(password="wrong")
    with pytest.raises(sa.exc.OperationalError):
        _value(wrong.render_as_string(hide_password=False), "SELECT 1")
    with pytest.raises(sa.exc.DBAPIError):
        _value(server.new_login(one), "SELECT a FROM t")


@pytest.mark.parametrize("name", ["postgres", "mariadb"])
def test_connections_can_be_cut(name: str, request: pytest.FixtureRequest) -> None:
    """After a cut the open session fails, and a new one works."""
    server = request.getfixturevalue(name)
    url = server.new_database()
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT 1"))
        assert server.drop_connections(url) == 1
        with pytest.raises(sa.exc.OperationalError):
            connection.execute(sa.text("SELECT 1"))
        connection.invalidate()
    assert _value(url, "SELECT 1") == 1


def test_mail_keeps_its_internal_date_either_way(dovecot: Dovecot) -> None:
    """Appended over IMAP or written into the Maildir, the internal date is the one given."""
    mailbox = dovecot.user()
    assert mailbox.append("Customers/Åse", message(), received=RECEIVED) == [1]
    assert mailbox.write("Customers/Åse", [(message(), RECEIVED)] * 2) == 2
    with mailbox.client() as client:
        client.normalise_times = False
        client.select_folder("Customers/Åse", readonly=True)
        found = client.fetch([1, 2, 3], ["INTERNALDATE"])
    assert {item[b"INTERNALDATE"] for item in found.values()} == {RECEIVED}
    assert len(found) == 3


def test_mail_passwords_are_what_was_set(dovecot: Dovecot) -> None:
    """Password and app password both open the mailbox until the password changes; no other does."""
    mailbox = dovecot.user(app_password="second")
    assert mailbox.uids("INBOX") == []
    assert mailbox.with_password("second").uids("INBOX") == []
    with pytest.raises(LoginError):
        mailbox.with_password("wrong").uids("INBOX")
    dovecot.set_password(mailbox.username, "changed")
    assert mailbox.with_password("changed").uids("INBOX") == []
    for gone in (mailbox, mailbox.with_password("second")):
        with pytest.raises(LoginError):
            gone.uids("INBOX")


def test_mail_over_tls_checks_the_certificate(dovecot: Dovecot) -> None:
    """Both ways of TLS work for a client that trusts the server's authority, and for no other."""
    mailbox = dovecot.user()
    trusting = ssl.create_default_context(cafile=str(dovecot.ca_file))
    with IMAPClient("localhost", dovecot.tls_port, ssl_context=trusting) as implicit:
        implicit.login(mailbox.username, mailbox.password)
    with IMAPClient("127.0.0.1", dovecot.port, ssl=False) as explicit:
        explicit.starttls(trusting)
        explicit.login(mailbox.username, mailbox.password)
    with pytest.raises(ssl.SSLCertVerificationError):
        IMAPClient("localhost", dovecot.tls_port)


@pytest.mark.parametrize("storage", ["mdbox", "sdbox"])
def test_other_storages_and_capabilities(storage: str) -> None:
    """A server can be told to store otherwise and to admit to fewer capabilities."""
    with Dovecot.start(storage=storage, capability="IMAP4rev1 UIDPLUS", separator=".") as server:
        mailbox = server.user()
        assert mailbox.append("A.B", message()) == [1]
        with mailbox.client() as client:
            assert set(client.capabilities()) == {b"IMAP4REV1", b"UIDPLUS"}


def test_redis_databases_are_apart(redis_server: Redis) -> None:
    """Each test's database has a number of its own."""
    assert redis_server.new_database() != redis_server.new_database()
    assert redis_server.answers()
