"""WebDAV beyond the contract: bins, versions, locks, hostile answers, where it may connect."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from retention.connectors.base import Connector, Level, Outcome, Record, Ref, Result, Target
from retention.connectors.webdav import walking
from retention.connectors.webdav.settings import WebdavLocation, WebdavSystem
from retention.errors import ConnectorError, PermanentFailure, TemporaryFailure
from tests.connectors.webdav_world import (
    NUMBERS,
    location,
    open_webdav,
    put_file,
)
from tests.servers.webdav import WebDav


class Account:
    """A folder of its own of the account, in Nextcloud's shape or plain."""

    def __init__(self, server: WebDav, *, cloud: bool = True) -> None:
        self.server = server
        self.home = f"f{next(NUMBERS)}"
        self.url = f"{server.cloud if cloud else server.plain}/{self.home}"
        self.root = server.files / self.home
        self.root.mkdir()

    def put(self, *names: str, data: bytes = b"x", when: datetime | None = None) -> None:
        for name in names:
            put_file(self.root / name, data, when)

    def open(self, **more: Any) -> Connector:
        return open_webdav(self.server, self.url, **more)

    def found(self, target: Target | None = None, **more: Any) -> dict[str, Record]:
        connector = self.open(**more)
        try:
            pages = list(connector.find(target or location()))
        finally:
            connector.close()
        return {r.ref.key: r for page in pages for r in page.records}

    def erase(
        self, refs: Sequence[Ref], target: Target | None = None, **more: Any
    ) -> dict[str, Outcome]:
        connector = self.open(**more)
        try:
            return {o.key: o for o in connector.erase(target or location(), refs)}
        finally:
            connector.close()

    def proofs(self, refs: Sequence[Ref]) -> dict[str, Level]:
        connector = self.open()
        try:
            return {p.key: p.level for p in connector.verify(location(), refs, None)}
        finally:
            connector.close()

    @property
    def binned(self) -> list[str]:
        """Names in the bin, without the time of deletion."""
        return sorted(p.name.rpartition(".d")[0] for p in self.server.trash.iterdir())


@pytest.fixture
def account(webdav_server: WebDav) -> Account:
    for left in webdav_server.trash.iterdir():
        left.unlink() if left.is_file() else None
    return Account(webdav_server)


@pytest.fixture
def plain(webdav_server: WebDav) -> Account:
    return Account(webdav_server, cloud=False)


# --- the bin ------------------------------------------------------------------------------------


def test_a_new_nextcloud_leaves_the_bin_out(account: Account) -> None:
    """It is asked to, so that no moment exists in which a due file lies in the bin."""
    account.put("a.txt", "b.txt")
    refs = account.found()["a.txt"].ref
    assert account.erase([refs])["a.txt"].result is Result.DISPOSED
    assert account.binned == []
    assert account.proofs([refs]) == {"a.txt": Level.GONE}


def test_of_the_bin_exactly_the_deleted_files_are_purged(account: Account) -> None:
    """What others threw away stays, also a file that lay at the very place before."""
    with account.server.trouble(bin={"skip": False}):
        account.put("a.txt", "other.txt")
        for name in ("a.txt", "other.txt"):
            assert account.server.request("DELETE", f"{account.url}/{name}")[0] == 204
        account.put("a.txt", data=b"newer")
        ref = account.found()["a.txt"].ref
        assert account.erase([ref])["a.txt"] == Outcome("a.txt", Result.DISPOSED)
        assert account.binned == ["a.txt", "other.txt"]
        assert account.proofs([ref]) == {"a.txt": Level.GONE}
        kept = [p for p in account.server.trash.iterdir() if p.name.startswith("a.txt")]
        assert [p.read_bytes() for p in kept] == [b"x"]


def test_where_files_have_no_numbers_the_latest_of_that_place_is_purged(account: Account) -> None:
    """By place, size and time of deletion; an earlier one of that place stays, and is told."""
    with account.server.trouble(bin={"skip": False}, numbers=False):
        account.put("a.txt", "b.txt", data=b"earlier")
        assert account.server.request("DELETE", f"{account.url}/a.txt")[0] == 204
        account.put("a.txt", data=b"of now")
        refs = [r.ref for r in account.found().values()]
        assert {o.result for o in account.erase(refs).values()} == {Result.DISPOSED}
        assert [p.read_bytes() for p in account.server.trash.iterdir()] == [b"earlier"]
        assert account.proofs(refs) == {"a.txt": Level.BIN, "b.txt": Level.GONE}


def test_a_bin_that_refuses_is_told_in_the_proof(account: Account) -> None:
    """Deleted but not purged is `in the bin`, never `gone`."""
    account.put("a.txt")
    ref = account.found()["a.txt"].ref
    with account.server.trouble(bin={"skip": False, "status": 403}):
        assert account.erase([ref])["a.txt"].code == "left_in_bin"
        assert account.proofs([ref]) == {"a.txt": Level.BIN}


def test_a_purge_that_failed_is_taken_up_again(account: Account) -> None:
    """The session knows what it deleted: the record is not absent while its bin holds it."""
    account.put("a.txt")
    before = account.found()["a.txt"]
    connector = account.open()
    server = account.server
    busy = {"status": {"DELETE": 503}, "where": "/trashbin/"}
    with server.trouble(bin={"skip": False}, **busy):
        (outcome,) = connector.erase(location(), [before.ref])
        assert (outcome.result, outcome.code) == (Result.FAILED_TEMPORARY, "left_in_bin")
    assert list(connector.recheck(location(), ["a.txt"])) == [before]
    (outcome,) = connector.erase(location(), [before.ref])
    assert outcome == Outcome("a.txt", Result.DISPOSED)
    assert account.binned == []
    assert list(connector.recheck(location(), ["a.txt"])) == []
    connector.close()


def test_a_crash_before_the_purge_can_be_redone(account: Account) -> None:
    """The same ref, in a new process: what it names is found in the bin and purged."""
    account.put("2024-03-01 a.txt", "2024-03-01 b.txt")
    target = location(dates=("name_date",), pattern="{YYYY}-{MM}-{DD}*")
    refs = [r.ref for r in account.found(target).values()]
    with account.server.trouble(bin={"skip": False}):
        for name in ("2024-03-01%20a.txt", "2024-03-01%20b.txt"):
            assert account.server.request("DELETE", f"{account.url}/{name}")[0] == 204
    connector = account.open()
    assert {r.ref.key for r in connector.recheck(target, [r.key for r in refs])} == {
        r.key for r in refs
    }
    connector.close()
    assert set(account.proofs(refs).values()) == {Level.BIN}
    assert {o.result for o in account.erase(refs, target).values()} == {Result.DISPOSED}
    assert account.binned == []
    assert set(account.proofs(refs).values()) == {Level.GONE}


def test_a_file_that_went_with_its_folder_is_in_the_bin(account: Account) -> None:
    """Somebody threw the whole folder away: the file is not gone, and only it is purged."""
    account.put("Kunder/a.txt", "Kunder/b.txt")
    ref = account.found()["Kunder/a.txt"].ref
    assert account.server.request("DELETE", f"{account.url}/Kunder")[0] in (200, 204)
    assert account.proofs([ref]) == {"Kunder/a.txt": Level.BIN}
    assert account.erase([ref])["Kunder/a.txt"].result is Result.DISPOSED
    assert account.proofs([ref]) == {"Kunder/a.txt": Level.GONE}
    (folder,) = [p for p in account.server.trash.iterdir() if p.name.startswith("Kunder")]
    assert [p.name for p in folder.iterdir()] == ["b.txt"]


def test_old_versions_that_stay_are_told(account: Account) -> None:
    """A server that keeps former contents, and lets nobody delete them, keeps the record."""
    account.put("a.txt")
    assert account.server.request("PUT", f"{account.url}/a.txt", b"second")[0] in (200, 204)
    ref = account.found()["a.txt"].ref
    with account.server.trouble(versions={"keep": True, "status": 403}):
        assert account.erase([ref])["a.txt"].code == "versions_left"
        assert account.proofs([ref]) == {"a.txt": Level.VENDOR}
    with account.server.trouble(versions={"keep": True}):
        assert account.erase([ref])["a.txt"].result is Result.ALREADY_ABSENT
        assert account.proofs([ref]) == {"a.txt": Level.GONE}


def test_what_others_shared_goes_to_their_bin(account: Account) -> None:
    """The owner's bin is out of sight, and the proof does not pretend otherwise."""
    account.put("shared/a.txt")
    ref = account.found()["shared/a.txt"].ref
    assert account.erase([ref])["shared/a.txt"].result is Result.DISPOSED
    assert account.proofs([ref]) == {"shared/a.txt": Level.VENDOR}


# --- the act ------------------------------------------------------------------------------------


def test_a_folder_is_never_deleted(plain: Account) -> None:
    """A key that has become a folder meanwhile is a change; what is in it stays."""
    plain.put("a")
    ref = plain.found()["a"].ref
    (plain.root / "a").unlink()
    plain.put("a/inside.txt")
    assert plain.erase([ref])["a"].result is Result.CHANGED
    assert (plain.root / "a" / "inside.txt").exists()


def test_the_server_checks_the_precondition_too(plain: Account) -> None:
    """Every DELETE names the tag of what was looked at; a 412 is a change."""
    plain.put("a")
    ref = plain.found()["a"].ref
    with plain.server.trouble(status={"DELETE": 412}):
        assert plain.erase([ref])["a"].result is Result.CHANGED
    assert (plain.root / "a").exists()


@pytest.mark.parametrize(
    ("code", "result"),
    [
        (423, Result.FAILED_TEMPORARY),
        (403, Result.FAILED_PERMANENT),
        (405, Result.FAILED_PERMANENT),
        (207, Result.UNKNOWN),
        (202, Result.UNKNOWN),
    ],
)
def test_answers_to_a_deletion_have_their_meaning(
    plain: Account, code: int, result: Result
) -> None:
    """Nothing but a plain success counts as done."""
    plain.put("a")
    ref = plain.found()["a"].ref
    with plain.server.trouble(status={"DELETE": code}):
        assert plain.erase([ref])["a"].result is result


def test_a_failure_in_the_middle_tells_what_was_done_first(account: Account) -> None:
    """Outcomes of the files before it arrive, and they are purged; then the failure."""
    account.put("a", "b")
    refs = [r.ref for r in account.found().values()]
    with account.server.trouble(status={"DELETE": 500}, where=f"{account.home}/b"):
        connector = account.open()
        told = connector.erase(location(), refs)
        assert next(told) == Outcome("a", Result.DISPOSED)
        with pytest.raises(TemporaryFailure):
            next(told)
        connector.close()


def test_a_vanished_folder_is_not_an_empty_one(plain: Account) -> None:
    """An unmounted disk must not read as deleted: a named folder that is gone stops all."""
    plain.put("Kunder/a")
    target = location("Kunder")
    ref = plain.found(target)["Kunder/a"].ref
    (plain.root / "Kunder").rename(plain.root / "Elsewhere")
    connector = plain.open()
    with pytest.raises(PermanentFailure):
        list(connector.recheck(target, ["Kunder/a"]))
    assert [p.level for p in connector.verify(target, [ref], None)] == [Level.UNKNOWN]
    connector.close()


# --- walking ------------------------------------------------------------------------------------


def test_every_folder_is_walked_and_resumed_wherever_it_stopped(
    plain: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nested folders, folders larger than what is kept at once: each file once, from any cursor."""
    monkeypatch.setattr(walking, "_BUCKET", 3)
    names = [f"{folder}f{n}" for folder in ("", "a/", "a/x/", "a b/", "b/") for n in range(5)]
    plain.put(*names)
    connector = plain.open(page=2)
    pages = list(connector.find(location()))
    found = [r.ref.key for page in pages for r in page.records]
    assert sorted(found) == sorted(names)
    for number, page in enumerate(pages):
        rest = connector.find(location(), page.cursor)
        keys = [r.ref.key for later in rest for r in later.records]
        assert keys == found[sum(len(p.records) for p in pages[: number + 1]) :]
    connector.close()


def test_a_location_covers_what_its_folders_say(plain: Account) -> None:
    """Patterns stay within a name; overlapping locations share containers."""
    plain.put("k/anna/tilbud/1", "k/anna/notes/2", "k/bo/tilbud/deep/3", "other/4")
    target = location("k/*/tilbud")
    assert set(plain.found(target)) == {"k/anna/tilbud/1", "k/bo/tilbud/deep/3"}
    connector = plain.open()
    inner, outer = (set(connector.containers(t)) for t in (target, location("k")))
    assert inner == {"k/anna/tilbud", "k/bo/tilbud", "k/bo/tilbud/deep"}
    assert inner < outer
    shallow = plain.open(levels=3)
    assert set(shallow.containers(target)) == {"k/anna/tilbud", "k/bo/tilbud"}
    containers = {r.ref.container for p in shallow.find(target) for r in p.records}
    assert containers == {"k/anna/tilbud", "k/bo/tilbud"}
    with pytest.raises(PermanentFailure, match="levels"):
        plain.found(target, levels=2)
    connector.close()
    shallow.close()


def test_fields_and_dates_have_names(plain: Account) -> None:
    """What a file tells about itself; an unknown source is refused, not read as empty."""
    when = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
    plain.put("k/2023-11-30 offer.pdf", data=b"12345", when=when)
    target = location(
        dates=("getlastmodified", "name_date"),
        fields=("name", "folder", "path", "size", "content_type"),
        pattern="{YYYY}-{MM}-{DD}*",
    )
    (record,) = plain.found(target).values()
    assert record.dates["getlastmodified"] == when
    assert str(record.dates["name_date"]) == "2023-11-30"
    assert record.fields["name"] == "2023-11-30 offer.pdf"
    assert (record.fields["folder"], record.fields["size"]) == ("k", 5)
    assert record.fields["content_type"] == "application/pdf"
    for wrong in (location(dates=("modified",)), location(fields=("colour",))):
        with pytest.raises(PermanentFailure):
            plain.found(wrong)


# --- hostile and broken servers -----------------------------------------------------------------

HEAD = '<?xml version="1.0"?><d:multistatus xmlns:d="DAV:">'
ITSELF = (
    "<d:response><d:href>{at}</d:href><d:propstat><d:prop><d:resourcetype><d:collection/>"
    "</d:resourcetype></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>"
)
FILE = ITSELF.replace("<d:collection/>", "")
BOMB = (
    '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">'
    '<!ENTITY f SYSTEM "file:///etc/passwd">]><d:multistatus xmlns:d="DAV:"><d:response>'
    "<d:href>{at}&b;&f;</d:href></d:response></d:multistatus>"
)


@pytest.mark.parametrize(
    "answer",
    [
        HEAD + ITSELF + FILE.replace("{at}", "{at}../other/x") + "</d:multistatus>",
        HEAD + ITSELF + FILE.replace("{at}", "{at}a/b") + "</d:multistatus>",
        HEAD + ITSELF + FILE.replace("{at}", "https://evil.example/x") + "</d:multistatus>",
        HEAD + ITSELF + FILE.replace("{at}", "{at}x"),
        HEAD + ITSELF.replace("200 OK", "403 No") + "</d:multistatus>",
        HEAD + "</d:multistatus>",
        HEAD + FILE + "</d:multistatus>",
        "<html><body>maintenance</body></html>",
        "not xml",
        " ",
        BOMB,
    ],
    ids=[
        *("upwards", "deeper", "other host", "cut short", "no types", "nothing"),
        *("a file", "html", "no xml", "empty", "entities"),
    ],
)
def test_an_answer_that_is_not_right_stops_the_reading(plain: Account, answer: str) -> None:
    """Half a listing, a foreign one or a trap is an error, never a folder with fewer files."""
    at = f"/files/{plain.home}/"
    told = {"PROPFIND": answer.replace("{at}", at)}
    with plain.server.trouble(answer=told), pytest.raises(ConnectorError) as caught:
        plain.found()
    assert plain.home not in str(caught.value)
    assert "root:" not in str(caught.value)


def test_a_redirect_is_not_followed(plain: Account) -> None:
    """The password goes to the host that the policy file names, and nowhere else."""
    told = {"status": {"PROPFIND": 302}, "headers": [["Location", "https://evil.example/"]]}
    with plain.server.trouble(**told), pytest.raises(PermanentFailure) as caught:
        plain.found()
    assert "evil" not in str(caught.value)


def test_a_busy_server_says_when(plain: Account) -> None:
    """Retry-After is passed on to whoever repeats."""
    told = {"status": {"PROPFIND": 503}, "headers": [["Retry-After", "7"]]}
    with plain.server.trouble(**told), pytest.raises(TemporaryFailure) as caught:
        plain.found()
    assert caught.value.retry_after == 7


# --- where it may connect -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://cloud.example.org/dav",
        "https://anna:secret@cloud.example.org/dav",
        "https://cloud.example.org/dav?x=1",
        "https://cloud.example.org/da v",
        "ftp://127.0.0.1/x",
        "file:///etc",
        "https://",
    ],
)
def test_a_url_that_is_not_safe_is_refused(url: str) -> None:
    """https, no secrets in it; http is for this machine."""
    with pytest.raises(ValidationError):
        WebdavSystem.model_validate({"url": url, "username": "a", "password": {"env": "X"}})


def test_the_bin_is_on_the_same_server() -> None:
    """The password would go to another host otherwise."""
    said = {"url": "https://a.example.org/x", "username": "a", "password": {"env": "X"}}
    with pytest.raises(ValidationError):
        WebdavSystem.model_validate({**said, "trash": "https://b.example.org/x"})


@pytest.mark.parametrize("folder", ["../x", "a/./b", "a//b", "", " ", "a\nb", "**/x"])
def test_a_folder_that_leads_elsewhere_is_refused(folder: str) -> None:
    """In the policy file already."""
    with pytest.raises(ValidationError):
        WebdavLocation.model_validate({"folders": folder})


def test_a_name_that_leads_into_a_private_network_is_refused(
    plain: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless the system says that it may."""

    def looked_up(*_: object, **__: object) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.7", 443))]

    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    connector = open_webdav(plain.server, "https://cloud.example.org/dav", timeout=0.2)
    with pytest.raises(PermanentFailure) as caught:
        list(connector.find(location()))
    assert caught.value.code == "private-address"


def test_a_certificate_that_nobody_vouches_for_is_refused(plain: Account, tmp_path: Path) -> None:
    """There is no way to switch the check off."""
    (tmp_path / "none.pem").write_text("nothing")
    connector = open_webdav(plain.server, plain.url, ca_file=str(tmp_path / "none.pem"))
    with pytest.raises(PermanentFailure) as caught:
        list(connector.find(location()))
    assert caught.value.code == "tls"


# --- doctor -------------------------------------------------------------------------------------


def _findings(connector: Connector, *targets: Target) -> dict[str, tuple[bool, str]]:
    found = {f.check: (f.ok, f.detail) for f in connector.probe(targets)}
    connector.close()
    return found


def test_doctor_tells_of_bin_preconditions_and_sharing(account: Account) -> None:
    """What decides how much a proof is worth is known before the first run."""
    account.put("a", "shared/b")
    found = _findings(account.open(), location(), location("shared"))
    assert found["credentials"][0]
    assert "purged" in found["bin"][1]
    assert "checks the precondition" in found["if-match"][1]
    assert not found["location files/cloud: shared"][0]
    with account.server.trouble(ignore_if_match=True):
        assert "ignores" in _findings(account.open(), location())["if-match"][1]


def test_doctor_names_a_folder_that_is_not_there(plain: Account) -> None:
    """And goes on with the rest."""
    found = _findings(plain.open(), location("Nowhere"), location())
    assert "no bin is known" in found["bin"][1]
    assert found["location files/cloud"][0]
