"""Access tokens: a real Dovecot asks a token server about them; refresh tokens are never lost."""

from __future__ import annotations

import json
import logging
import os
import socket
import stat
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from retention.connectors.base import Connector, Probe
from retention.connectors.imap.oauth_settings import OAuth
from retention.connectors.imap.settings import ImapSystem
from retention.connectors.registry import open_connector
from retention.connectors.secrets import resolver
from retention.errors import (
    ConnectorError,
    CredentialsRefused,
    PermanentFailure,
    TemporaryFailure,
)
from retention.policy.model import SystemModel
from tests.connectors.gmail_world import mail
from tests.connectors.imap_world import ScriptedServer, location, short_lived
from tests.servers.dovecot import Dovecot
from tests.servers.gmail import GmailServer
from tests.servers.gmail_store import Account
from tests.servers.oauth import CLIENT, SECRET, OAuthServer, dovecot_config

INBOX = location("INBOX")
CANARIES = ("canary-", SECRET)


@pytest.fixture
def provider() -> Iterator[OAuthServer]:
    with OAuthServer() as running:
        yield running


@pytest.fixture(scope="module")
def asked() -> Iterator[OAuthServer]:
    """The token server that the mail server asks."""
    with OAuthServer() as running:
        yield running


@pytest.fixture(scope="module")
def checking(asked: OAuthServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dovecot]:
    """A real mail server that looks every token up."""
    folder = tmp_path_factory.mktemp("dovecot")
    config, text = dovecot_config(asked, str(folder))
    (folder / "oauth2.conf.ext").write_text(text, encoding="utf-8")
    for path in (folder, folder.parent, folder.parent.parent):
        # The server's own accounts must be able to read it.
        path.chmod(0o755)
    (folder / "oauth2.conf.ext").chmod(0o644)
    with short_lived(config=config) as running:
        running.user(asked.user)
        yield running


def opened(
    port: int, base: Path, environ: Mapping[str, str] | None = None, **settings: Any
) -> Connector:
    """A session as the program opens one, secrets and all, without retries."""
    system = SystemModel.model_validate(
        {
            "connector": "imap",
            "host": "127.0.0.1",
            "port": port,
            "tls": "none",
            "username": "post@example.org",
            **settings,
        }
    )
    resolve = resolver(
        {"SECRET": SECRET, "REFRESH": "refresh-canary-0", **(environ or {})}, str(base)
    )
    return open_connector("mail", system, str(base), resolve, bare=True)


def oauth(provider: OAuthServer, **changes: Any) -> dict[str, Any]:
    """What stands in a policy file."""
    return {
        "token_url": provider.token_url,
        "client_id": CLIENT,
        "client_secret": {"env": "SECRET"},
        "refresh_token": {"env": "REFRESH"},
        **changes,
    }


def works(connector: Connector) -> None:
    assert "INBOX" in connector.containers(INBOX)


def failing(connector: Connector) -> ConnectorError:
    with pytest.raises(ConnectorError) as caught:
        connector.containers(INBOX)
    connector.close()
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value.__context__)
    assert not any(canary in shown for canary in CANARIES)
    return caught.value


def findings(connector: Connector) -> dict[str, Probe]:
    found = {p.check: p for p in connector.probe([INBOX])}
    connector.close()
    return found


# --- a real server's view -------------------------------------------------------------------


@pytest.mark.parametrize("mechanism", ["oauthbearer", "xoauth2", None])
def test_a_real_server_takes_the_token(
    checking: Dovecot, asked: OAuthServer, tmp_path: Path, mechanism: str | None
) -> None:
    """Fetched from the provider, presented by either mechanism, looked up by the server."""
    asked.refresh = {"refresh-canary-0"}
    connector = opened(checking.port, tmp_path, oauth=oauth(asked, mechanism=mechanism))
    works(connector)
    connector.close()
    assert asked.seen[-1] in asked.access
    assert asked.asked[-1]["grant_type"] == "refresh_token"


@pytest.mark.parametrize("mechanism", ["oauthbearer", "xoauth2"])
def test_a_refused_token_is_fetched_anew_once(
    checking: Dovecot, asked: OAuthServer, tmp_path: Path, mechanism: str
) -> None:
    """The provider withdrew it before its time: a fresh one logs in, in the same call."""
    asked.refresh = {"refresh-canary-0"}
    settings = oauth(asked, mechanism=mechanism, scope="mail")
    first = opened(checking.port, tmp_path, oauth=settings)
    works(first)
    first.close()
    asked.expire()
    before = len(asked.asked)
    again = opened(checking.port, tmp_path, oauth=settings)
    works(again)
    again.close()
    assert len(asked.asked) == before + 1


@pytest.mark.parametrize("mechanism", ["oauthbearer", "xoauth2"])
def test_a_token_that_stays_refused_is_refused_credentials(
    checking: Dovecot, tmp_path: Path, mechanism: str
) -> None:
    """Another provider's token: told after one more try, with the server's status word."""
    with OAuthServer() as stranger:
        connector = opened(checking.port, tmp_path, oauth=oauth(stranger, mechanism=mechanism))
        error = failing(connector)
        assert isinstance(error, CredentialsRefused)
        assert error.place == "mail"
        assert len(stranger.asked) == 2
        word = {"oauthbearer": "invalid_token", "xoauth2": "401"}[mechanism]
        assert word in error.message


def test_an_application_logs_in_as_itself(
    checking: Dovecot, asked: OAuthServer, tmp_path: Path
) -> None:
    """Without a refresh token: client_credentials, as Microsoft has for daemons."""
    settings = oauth(asked, refresh_token=None, scope="https://outlook.office365.com/.default")
    connector = opened(checking.port, tmp_path, oauth=settings)
    works(connector)
    connector.close()
    assert asked.asked[-1]["grant_type"] == "client_credentials"
    assert asked.asked[-1]["scope"] == "https://outlook.office365.com/.default"


def test_a_token_that_another_program_keeps_fresh(
    checking: Dovecot, asked: OAuthServer, tmp_path: Path
) -> None:
    """The file is read again at each login of a session that lives long."""
    file = tmp_path / "token"
    file.write_text(asked.issue() + "\n")
    connector = opened(checking.port, tmp_path, access_token={"file": "token"})
    works(connector)
    connector.close()
    asked.expire()
    file.write_text(asked.issue() + "\n")
    works(connector)
    connector.close()
    asked.expire()
    error = failing(connector)
    assert isinstance(error, CredentialsRefused)


def test_the_old_spelling_of_an_access_token_still_works(
    checking: Dovecot, asked: OAuthServer, tmp_path: Path
) -> None:
    """`oauth: {file: …}` meant one access token."""
    (tmp_path / "token").write_text(asked.issue())
    connector = opened(checking.port, tmp_path, oauth={"file": "token"})
    works(connector)
    connector.close()


def test_a_session_that_outlives_its_token_logs_in_afresh(
    provider: OAuthServer, tmp_path: Path
) -> None:
    """The server hangs up when the token ends; the next call fetches another."""
    provider.life = 0
    with GmailServer() as server:
        account = server.user(provider.user, "unused")
        mail(account, "INBOX")
        server.tokens = Good(provider)  # type: ignore[assignment]  # asks the provider each time
        connector = opened(server.port, tmp_path, oauth=oauth(provider))
        works(connector)
        provider.expire()
        hang_up(server)
        with pytest.raises(TemporaryFailure):
            list(connector.find(INBOX))
        server.on_command = None
        assert [r for page in connector.find(INBOX) for r in page.records]
        connector.close()
    assert len(provider.asked) == 2


class Good:
    """The tokens that are good now."""

    def __init__(self, provider: OAuthServer) -> None:
        self._provider = provider

    def __contains__(self, token: object) -> bool:
        return token in self._provider.access


def hang_up(server: GmailServer) -> None:
    def cut(*_: Any) -> None:
        raise ConnectionError

    server.on_command = cut


# --- keeping tokens -------------------------------------------------------------------------


@pytest.fixture
def box(provider: OAuthServer) -> Iterator[GmailServer]:
    """A quick server that takes whatever tokens the provider calls good."""
    with GmailServer() as server:
        server.user(provider.user, "unused")
        server.tokens = Good(provider)  # type: ignore[assignment]  # asks the provider each time
        yield server


def test_a_token_is_used_until_shortly_before_its_end(
    provider: OAuthServer, box: GmailServer, tmp_path: Path
) -> None:
    """The acting and the looking session share one; one that has ended is not even presented."""
    for life, times in ((3600, 1), (0, 3)):
        provider.life = life
        before = len(provider.asked)
        for _ in range(3):
            connector = opened(box.port, tmp_path, oauth=oauth(provider, scope=str(life)))
            works(connector)
            connector.close()
        assert len(provider.asked) - before == times


def test_a_replaced_refresh_token_is_kept_in_its_file(
    provider: OAuthServer, box: GmailServer, tmp_path: Path
) -> None:
    """The new one stands in the file before the session goes on; nobody else may read it."""
    provider.rotates, provider.life = True, 0
    file = tmp_path / "refresh"
    file.write_text("refresh-canary-0\n")
    file.chmod(0o644)
    settings = oauth(provider, refresh_token={"file": "refresh"})
    for _ in range(3):
        connector = opened(box.port, tmp_path, oauth=settings)
        works(connector)
        assert {file.read_text().strip()} == provider.refresh
        found = findings(connector)
        assert found["refresh token"].ok
        assert "kept" in found["refresh token"].detail
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir() if "refresh" not in p.name] == []
    assert not [
        p for p in tmp_path.iterdir() if p.name.startswith(".refresh.") and p.suffix != ".lock"
    ]


def test_a_symlink_to_a_secret_stays_one(
    provider: OAuthServer, box: GmailServer, tmp_path: Path
) -> None:
    """What it points to is replaced, not the link."""
    provider.rotates = True
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "real").write_text("refresh-canary-0")
    (tmp_path / "refresh").symlink_to("store/real")
    connector = opened(box.port, tmp_path, oauth=oauth(provider, refresh_token={"file": "refresh"}))
    works(connector)
    connector.close()
    assert (tmp_path / "refresh").is_symlink()
    assert {(tmp_path / "store" / "real").read_text().strip()} == provider.refresh


def test_a_token_from_the_environment_is_kept_where_it_was_said(
    provider: OAuthServer, box: GmailServer, tmp_path: Path
) -> None:
    """`keep`: the replaced one is used from then on, until somebody signs in anew."""
    provider.rotates, provider.life = True, 0
    settings = oauth(provider, keep="kept")
    for _ in range(2):
        connector = opened(box.port, tmp_path, oauth=settings)
        works(connector)
        connector.close()
    kept = (tmp_path / "kept").read_text().split("\n")
    assert {kept[1]} == provider.refresh
    assert "refresh-canary-0" not in kept[0]
    assert stat.S_IMODE((tmp_path / "kept").stat().st_mode) == 0o600
    provider.refresh = {"refresh-canary-new"}
    connector = opened(box.port, tmp_path, {"REFRESH": "refresh-canary-new"}, oauth=settings)
    works(connector)
    connector.close()


def test_a_token_that_cannot_be_kept_is_told_and_used_meanwhile(
    provider: OAuthServer, box: GmailServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """This process goes on with the new one; log and doctor say that it will be lost."""
    provider.rotates, provider.life = True, 0
    for _ in range(2):
        connector = opened(box.port, tmp_path, oauth=oauth(provider))
        works(connector)
        connector.close()
    assert "cannot be kept" in caplog.text
    assert not any(canary in caplog.text for canary in CANARIES)
    found = findings(opened(box.port, tmp_path, oauth=oauth(provider)))
    assert not found["refresh token"].ok
    assert "keep" in found["refresh token"].hint


def test_another_process_replaced_it_first(
    provider: OAuthServer, box: GmailServer, tmp_path: Path
) -> None:
    """The old token is dead, the file holds a new one: that one is used."""
    provider.life = 0
    file = tmp_path / "refresh"
    file.write_text("refresh-canary-0")
    connector = opened(box.port, tmp_path, oauth=oauth(provider, refresh_token={"file": "refresh"}))
    works(connector)
    connector.close()
    provider.refresh = {"refresh-canary-9"}
    file.write_text("refresh-canary-9")
    works(connector)
    connector.close()


def test_a_new_sign_in_while_the_old_one_is_refused(
    provider: OAuthServer, box: GmailServer, tmp_path: Path
) -> None:
    """Somebody signs in anew in the very moment: the file is read once more before giving up."""
    file = tmp_path / "refresh"
    file.write_text("refresh-canary-0")
    provider.refresh = {"refresh-canary-5"}

    def sign_in(form: dict[str, str]) -> None:
        file.write_text("refresh-canary-5")

    provider.on_ask = sign_in
    connector = opened(box.port, tmp_path, oauth=oauth(provider, refresh_token={"file": "refresh"}))
    works(connector)
    connector.close()
    assert [form["refresh_token"][-1] for form in provider.asked] == ["0", "5"]


@pytest.mark.parametrize("mechanism", ["oauthbearer", "xoauth2"])
def test_an_error_challenge_is_answered_as_it_must_be(
    provider: OAuthServer, box: GmailServer, tmp_path: Path, mechanism: str
) -> None:
    """RFC 7628 wants %x01, XOAUTH2 an empty line; a strict server then says what it refused."""
    box.tokens = set()
    settings = oauth(provider, mechanism=mechanism, scope=mechanism)
    error = failing(opened(box.port, tmp_path, oauth=settings))
    assert isinstance(error, CredentialsRefused)
    assert "(400)" in error.message
    assert len(provider.asked) == 2


def test_systemd_credentials_are_never_written_to(
    provider: OAuthServer, box: GmailServer, tmp_path: Path
) -> None:
    """They are read-only copies: what is written there is gone at the next start."""
    (tmp_path / "refresh").write_text("refresh-canary-0")
    settings = oauth(provider, refresh_token={"file": "$CREDENTIALS_DIRECTORY/refresh"})
    provider.rotates = True
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    connector = opened(box.port, tmp_path, environ, oauth=settings)
    works(connector)
    connector.close()
    assert (tmp_path / "refresh").read_text() == "refresh-canary-0"


# --- what goes wrong ------------------------------------------------------------------------

_WORDS = "the vendor's words with canary-person@example.org"


@pytest.mark.parametrize(
    ("status", "body", "kind", "hint"),
    [
        (400, {"error": "invalid_grant"}, CredentialsRefused, "sign in anew"),
        (400, {"error": "interaction_required"}, CredentialsRefused, "sign in anew"),
        (401, {"error": "invalid_client"}, CredentialsRefused, "client_secret"),
        (403, {}, CredentialsRefused, "client_secret"),
        (400, {"error": "invalid_scope"}, PermanentFailure, "scope"),
        (400, {"error": ["odd"]}, PermanentFailure, "scope"),
        (404, {}, PermanentFailure, "token_url"),
        (429, {}, TemporaryFailure, ""),
        (503, {"error": "temporarily_unavailable"}, TemporaryFailure, ""),
        (200, {}, PermanentFailure, "token_url"),
        (200, {"access_token": "x\r\nA1 LOGOUT"}, PermanentFailure, "token_url"),
        (200, {"access_token": "x", "token_type": "mac"}, PermanentFailure, "token_url"),
        (200, {"access_token": "x", "expires_in": "soon"}, PermanentFailure, "token_url"),
        (200, ["x"], PermanentFailure, "token_url"),
    ],
)
def test_answers_of_a_token_server_are_told_apart(
    provider: OAuthServer,
    tmp_path: Path,
    status: int,
    body: Any,
    kind: type[ConnectorError],
    hint: str,
) -> None:
    """Signed out, wrong client, wrong request, busy: four things; none of the vendor's words."""
    if isinstance(body, dict):
        body = {**body, "error_description": _WORDS}
    provider.answer = (status, json.dumps(body).encode(), {})
    with GmailServer() as server:
        server.user(provider.user, "unused")
        error = failing(opened(server.port, tmp_path, oauth=oauth(provider)))
    assert type(error) is kind
    assert hint in error.hint
    assert error.place == "mail"


@pytest.mark.parametrize(
    "answer",
    [
        (200, b"<html>" + b"x" * 200_000, {}),
        (200, b"[" * 60_000, {}),
        (302, b"", {"Location": "http://127.0.0.1:1/elsewhere"}),
    ],
)
def test_odd_answers_end_it(
    provider: OAuthServer,
    box: GmailServer,
    tmp_path: Path,
    answer: tuple[int, bytes, dict[str, str]],
) -> None:
    """Not JSON, too much, nested without end, or a redirect: the secret goes nowhere else."""
    provider.answer = answer
    assert isinstance(failing(opened(box.port, tmp_path, oauth=oauth(provider))), PermanentFailure)
    assert len(provider.asked) == 1


def test_nobody_listens(provider: OAuthServer, box: GmailServer, tmp_path: Path) -> None:
    """A token server that is away is a passing trouble."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    settings = oauth(provider, token_url=f"http://127.0.0.1:{port}/token")
    assert isinstance(failing(opened(box.port, tmp_path, oauth=settings)), TemporaryFailure)


@pytest.mark.parametrize(
    "url",
    [
        "http://login.example.org/token",
        "https://user:canary-x@login.example.org/token",
        "ftp://login.example.org/token",
        "https://login.example.org/token?x=1",
        "https://login.example.org\\@evil.example/token",
    ],
)
def test_only_https_and_nothing_hidden_in_an_address(url: str) -> None:
    """Plain http is for this machine alone."""
    with pytest.raises(ValidationError):
        OAuth.model_validate({"token_url": url, "client_id": "x", "refresh_token": {"env": "X"}})


def test_a_name_that_leads_inside_is_refused_unless_said(
    box: GmailServer, provider: OAuthServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever answers for a name must not be able to point the client secret at a private host."""

    def inside(host: str, port: int, **_: Any) -> list[Any]:
        assert host == "login.example.org"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.7", port))]

    settings = oauth(provider, token_url="https://login.example.org/token")
    connector = opened(box.port, tmp_path, oauth=settings)
    list_of = socket.getaddrinfo

    def looked_up(host: Any, port: Any, *rest: Any, **more: Any) -> Any:
        return (
            inside(host, port)
            if host == "login.example.org"
            else list_of(host, port, *rest, **more)
        )

    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    error = failing(connector)
    assert error.code == "private-address"
    assert "private: true" in error.hint


@pytest.mark.parametrize(
    "broken",
    [
        {"password": {"env": "X"}, "access_token": {"env": "X"}},
        {},
        {"access_token": "canary-in-the-file"},
        {"oauth": {"token_url": "https://login.example.org/token", "client_id": "x"}},
        {
            "oauth": {
                "token_url": "https://login.example.org/token",
                "client_id": "x",
                "client_secret": {"env": "X"},
                "keep": "kept",
            }
        },
        {"access_token": {"env": "X"}, "oauth": {"env": "X"}},
    ],
)
def test_settings_that_make_no_sense(broken: dict[str, Any]) -> None:
    """One credential, whole, and never in the file."""
    with pytest.raises(ValidationError):
        ImapSystem.model_validate({"host": "mail.example.org", "username": "x", **broken})


def test_a_refusal_without_a_challenge() -> None:
    """Servers that say NO at once: refused credentials, without the server's words."""
    answers: dict[bytes, list[bytes] | bytes | None] = {
        b"CAPABILITY": [b"* CAPABILITY IMAP4rev1 UIDPLUS AUTH=XOAUTH2"],
        b"AUTHENTICATE": b"NO canary-words",
    }
    with ScriptedServer(answers) as running:
        connector = opened(running.port, Path(), {"T": "canary-token"}, access_token={"env": "T"})
        error = failing(connector)
    assert isinstance(error, CredentialsRefused)


def test_no_token_prints(
    provider: OAuthServer, box: GmailServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Not in str, repr, what vars shows, or any library's log."""
    caplog.set_level(logging.DEBUG)
    provider.rotates, provider.life = True, 0
    (tmp_path / "refresh").write_text("refresh-canary-0")
    settings = oauth(provider, refresh_token={"file": "refresh"})
    connector = opened(box.port, tmp_path, oauth=settings)
    works(connector)
    shown = [str(connector), repr(connector), repr(vars(connector)), caplog.text]
    shown += [repr(vars(connector._session)), repr(vars(connector._session.tokens))]  # type: ignore[attr-defined]  # the plain connector
    shown += [repr(p) for p in connector.probe([INBOX])]
    connector.close()
    provider.answer = (400, b'{"error": "invalid_grant"}', {})
    failing(opened(box.port, tmp_path, oauth=settings))
    told = "\n".join([*shown, caplog.text])
    assert not any(canary in told for canary in CANARIES)


# --- what a token may read ------------------------------------------------------------------


def gmail_with(provider: OAuthServer, server: GmailServer) -> Account:
    account = server.accounts[provider.user]
    for number in range(3):
        mail(account, "INBOX", number=number)
    return account


def api(provider: OAuthServer) -> dict[str, Any]:
    return {"api": provider.url}


def test_the_accounts_own_settings_are_read(
    provider: OAuthServer, box: GmailServer, tmp_path: Path
) -> None:
    """What expunging means for others, and that nothing is hidden, by Gmail's own word."""
    gmail_with(provider, box)
    provider.settings = {"enabled": True, "expungeBehavior": "trash", "autoExpunge": True}
    connector = opened(box.port, tmp_path, oauth=oauth(provider), gmail=api(provider))
    found = findings(connector)["gmail: imap settings"]
    assert found.ok
    assert "moved to the Trash" in found.detail
    assert "shown whole" in found.detail


def test_a_limit_that_gmail_tells_stops_discovery(
    provider: OAuthServer, box: GmailServer, tmp_path: Path
) -> None:
    """However many messages there are: a folder that is full may hide more."""
    account = gmail_with(provider, box)
    provider.settings = {"enabled": True, "maxFolderSize": 3}
    account.max_folder_size = 3
    connector = opened(box.port, tmp_path, oauth=oauth(provider), gmail=api(provider))
    with pytest.raises(PermanentFailure) as caught:
        list(connector.find(INBOX))
    assert caught.value.code == "gmail_folder_limit"
    assert not findings(connector)["gmail: imap settings"].ok


@pytest.mark.parametrize("settings", [None, {}])
def test_settings_that_cannot_be_read_are_unknown(
    provider: OAuthServer, box: GmailServer, tmp_path: Path, settings: dict[str, Any] | None
) -> None:
    """Without the right, numbers are guessed by, and doctor says so."""
    gmail_with(provider, box)
    provider.settings = settings
    connector = opened(box.port, tmp_path, oauth=oauth(provider), gmail=api(provider))
    found = findings(connector)["gmail: imap settings"]
    assert "HTTP" in found.detail
    assert "guessed" in found.detail


def test_rights_too_many_are_named(provider: OAuthServer, box: GmailServer, tmp_path: Path) -> None:
    """A token that also reads the calendar can do more than is needed."""
    provider.scope = "https://mail.google.com/ https://www.example.org/auth/calendar"
    connector = opened(box.port, tmp_path, oauth=oauth(provider))
    found = findings(connector)
    assert "calendar" in found["excess scopes"].detail
    assert "mail.google" not in found["excess scopes"].detail


def test_root_or_not_the_secret_keeps_its_owner(
    provider: OAuthServer, box: GmailServer, tmp_path: Path
) -> None:
    """A daemon's secret must stay readable by the daemon's account."""
    provider.rotates = True
    file = tmp_path / "refresh"
    file.write_text("refresh-canary-0")
    if os.geteuid() == 0:
        os.chown(file, 1, 1)
    owner = file.stat().st_uid
    connector = opened(box.port, tmp_path, oauth=oauth(provider, refresh_token={"file": "refresh"}))
    works(connector)
    connector.close()
    assert file.stat().st_uid == owner


_CHILD = """
import sys
from pydantic import SecretStr
from retention.connectors.imap.oauth import Tokens
from retention.connectors.imap.oauth_settings import OAuth
from retention.connectors.secrets import resolver
from types import SimpleNamespace

base, url, client = sys.argv[1:]
said = OAuth(token_url=url, client_id=client, refresh_token={"file": "refresh"})
resolve = resolver({}, base)
settings = said.model_copy(update={"refresh_token": SecretStr(resolve(said.refresh_token))})
said = SimpleNamespace(oauth=said, access_token=None)
tokens = Tokens("mail", base=base, oauth=settings, said=said, resolve=resolve)
for _ in range(6):
    tokens.access()
"""


def test_processes_do_not_take_each_others_refresh_token(
    provider: OAuthServer, tmp_path: Path
) -> None:
    """Each use replaces it and kills the old one: they take turns, and none is signed out."""
    provider.rotates, provider.life = True, 0
    (tmp_path / "refresh").write_text("refresh-canary-0")
    command = [sys.executable, "-c", _CHILD, str(tmp_path), provider.token_url, CLIENT]
    children = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(2)]
    told = [child.communicate(timeout=60)[1] for child in children]
    assert [child.returncode for child in children] == [0, 0], told
    assert {(tmp_path / "refresh").read_text().strip()} == provider.refresh
    assert len(provider.asked) == 12
