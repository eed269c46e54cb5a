"""What only files do: renames by flags, links, layouts, other programs' files, Dovecot."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from retention.connectors.base import Bound, Condition, Level, Op, Record, Ref, Result, Target
from retention.connectors.imap.settings import ImapLocation
from retention.connectors.maildir import store
from retention.errors import PermanentFailure
from tests.connectors.imap_world import open_imap, plain
from tests.connectors.maildir_world import deliver, folder_path, location, open_maildir
from tests.servers.dovecot import Dovecot

OLD = datetime(2024, 1, 10, 8, 30, tzinfo=UTC)
INBOX = location("INBOX")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A Maildir with an empty inbox."""
    return folder_path(tmp_path / "Maildir", "INBOX")


def found(root: Path, target: Target = INBOX, page: int = 500) -> list[Record]:
    connector = open_maildir(root, page=page)
    return [record for pages in connector.find(target) for record in pages.records]


def refs(root: Path, target: Target = INBOX) -> list[Ref]:
    return [record.ref for record in found(root, target)]


def erased(root: Path, given: list[Ref], target: Target = INBOX) -> list[tuple[Result, str]]:
    return [(o.result, o.code) for o in open_maildir(root).erase(target, given)]


def levels(root: Path, given: list[Ref], target: Target = INBOX) -> list[Level]:
    return [p.level for p in open_maildir(root).verify(target, given, None)]


# --- names ----------------------------------------------------------------------------------


def test_flags_and_new_do_not_change_who_a_message_is(root: Path) -> None:
    """Reading a message moves and renames its file; it is the same record, and still erasable."""
    file = deliver(root, "1.a.host", plain(), OLD, info="")
    given = refs(root)
    session = open_maildir(root)
    assert [r.ref for page in session.find(INBOX) for r in page.records] == given
    file.rename(root / "cur" / "1.a.host:2,FS")
    assert [r.ref for r in session.recheck(INBOX, [given[0].key])] == given
    (root / "cur" / "1.a.host:2,FS").rename(root / "cur" / "1.a.host:2,RS")
    assert [o.result for o in session.erase(INBOX, given)] == [Result.DISPOSED]
    assert list((root / "cur").iterdir()) == []


def test_flags_count_only_where_a_filter_uses_them(root: Path) -> None:
    """As on a server: a star set in between blocks only a policy that asks for it."""
    target = location("INBOX", where=(Condition("flags", Op.NOT_IN, ("\\Flagged",)),))
    file = deliver(root, "1.a.host", plain(), OLD)
    given = refs(root, target)
    file.rename(root / "cur" / "1.a.host:2,FS")
    assert erased(root, given, target) == [(Result.CHANGED, "")]


def test_other_programs_files_are_left_alone(root: Path) -> None:
    """tmp, index files, directories, pipes and hidden files are no messages."""
    deliver(root, "1.a.host", plain(), OLD)
    (root / "tmp" / "2.b.host").write_bytes(plain())
    (root / "dovecot-uidlist").write_text("3 V1 N2 G0\n")
    (root / "cur" / ".hidden").write_bytes(plain())
    (root / "cur" / "sub").mkdir()
    os.mkfifo(root / "cur" / "pipe:2,S")
    before = sorted(p.name for p in root.rglob("*"))
    given = refs(root)
    assert [r.key for r in given] == ["INBOX/1.a.host"]
    assert erased(root, given) == [(Result.DISPOSED, "")]
    assert sorted(p.name for p in root.rglob("*")) == [n for n in before if n != "1.a.host:2,S"]


# --- links ----------------------------------------------------------------------------------


def test_symbolic_links_are_never_followed(root: Path, tmp_path: Path) -> None:
    """Neither a linked message nor a linked folder is ours to delete."""
    elsewhere = folder_path(tmp_path / "other", "INBOX")
    letter = deliver(elsewhere, "1.a.host", plain(), OLD)
    (root / "cur" / "2.b.host:2,S").symlink_to(letter)
    (root / ".Linked").symlink_to(elsewhere)
    assert refs(root) == []
    with pytest.raises(PermanentFailure):
        refs(root, location("Linked"))
    given = [Ref("INBOX", "INBOX/2.b.host", "1.1.1")]
    assert erased(root, given) == [(Result.CHANGED, "")]
    assert letter.exists()


def test_a_message_swapped_for_a_link_is_left_alone(root: Path, tmp_path: Path) -> None:
    """Between finding and erasing somebody puts a link in its place: changed."""
    file = deliver(root, "1.a.host", plain(), OLD)
    given = refs(root)
    file.unlink()
    other = tmp_path / "precious"
    other.write_bytes(b"x")
    file.symlink_to(other)
    assert erased(root, given) == [(Result.CHANGED, "")]
    assert other.exists()
    assert file.is_symlink()


def test_hard_links_are_told(root: Path) -> None:
    """A copy by hard link keeps the content readable: the act says so, verification finds it."""
    file = deliver(root, "1.a.host", plain(message_id="<a@example.com>"), OLD)
    copy = folder_path(root, "Archive") / "cur" / "9.z.host:2,S"
    copy.hardlink_to(file)
    given = refs(root)
    assert erased(root, given) == [(Result.DISPOSED, "linked")]
    assert levels(root, given) == [Level.PRESENT]
    assert levels(root, given, location("*")) == [Level.GONE]
    copy.unlink()
    assert levels(root, given) == [Level.GONE]


# --- copies ---------------------------------------------------------------------------------


def test_copies_elsewhere_in_one_session(root: Path) -> None:
    """A copy that comes or goes between two looks of one session is noticed."""
    for n in range(3):
        deliver(root, f"{n}.a.host", plain(message_id=f"<{n}@example.com>" if n else ""), OLD)
    archive = folder_path(root, "Archive")
    given = refs(root)
    erased(root, given)
    session = open_maildir(root)

    def present() -> list[str]:
        proofs = session.verify(INBOX, given, None)
        return [p.key for p in proofs if p.level is Level.PRESENT]

    assert present() == []
    copy = deliver(archive, "7.q.host", plain(message_id="<1@example.com>"), OLD)
    assert present() == [given[1].key]
    deliver(archive, "8.q.host", plain(), OLD)
    assert present() == [given[0].key, given[1].key]
    copy.unlink()
    assert present() == [given[0].key]


def test_a_vanished_folder_proves_nothing(root: Path) -> None:
    """A folder that is not there may have been moved: unknown, never gone."""
    folder = folder_path(root, "Letters")
    deliver(folder, "1.a.host", plain(), OLD)
    given = refs(root, location("Letters"))
    folder.rename(root.parent / "moved away")
    assert levels(root, given) == [Level.UNKNOWN]
    assert erased(root, given) == [(Result.FAILED_PERMANENT, "folder_missing")]


# --- folders --------------------------------------------------------------------------------


def test_both_layouts(root: Path) -> None:
    """Maildir++ and nested directories are shown alike; the same name twice is refused."""
    for name in ("Customers/Anna", "R&D", "Sent"):
        folder_path(root, name)
    folder_path(root, "Invoices/2024/Åse", nested=True)
    session = open_maildir(root)
    assert session.containers(location("*")) == (
        "Customers/Anna",
        "INBOX",
        "Invoices/2024/Åse",
        "R&D",
        "Sent",
    )
    assert session.containers(location("\\Sent", "inbox")) == ("INBOX", "Sent")
    with pytest.raises(PermanentFailure):
        session.containers(location("\\Trash"))
    folder_path(root, "Sent", nested=True)
    with pytest.raises(PermanentFailure, match="one name"):
        session.containers(location("*"))


@pytest.mark.parametrize("path", ["nowhere", "file", "empty"])
def test_a_path_that_is_no_maildir(tmp_path: Path, path: str) -> None:
    """Refused with a hint, and `doctor` says it too."""
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    session = open_maildir(tmp_path / path)
    with pytest.raises(PermanentFailure) as caught:
        session.containers(INBOX)
    assert caught.value.hint
    assert str(tmp_path) not in str(caught.value)
    assert [p.ok for p in session.probe([INBOX])] == [False]


# --- many and large -------------------------------------------------------------------------


def test_large_folders_are_read_in_parts(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However large, a bounded number of names is held; each message once, from any cursor."""
    monkeypatch.setattr(store, "_BUCKET", 40)
    for n in range(200):
        deliver(root, f"{n}.a.host", plain(), OLD)
    session = open_maildir(root, page=15)
    pages = list(session.find(INBOX))
    keys = [r.ref.key for page in pages for r in page.records]
    assert len(set(keys)) == len(keys) == 200
    at = len(pages) // 2
    rest = [r.ref.key for p in session.find(INBOX, pages[at].cursor) for r in p.records]
    assert rest == [r.ref.key for page in pages[at + 1 :] for r in page.records]


def test_bounds_leave_new_mail_unopened(root: Path) -> None:
    """Old and new are told apart by the file's time alone."""
    deliver(root, "1.a.host", plain(), OLD)
    file = deliver(root, "2.b.host", plain(), OLD + timedelta(days=100))
    target = location("INBOX", bounds=(Bound("internal_date", OLD + timedelta(days=1)),))
    assert [r.ref.key for r in found(root, target)] == ["INBOX/1.a.host"]
    assert file.exists()


def test_long_headers_are_read_to_their_end(root: Path) -> None:
    """Three megabytes of recipients before the Message-ID, and a message without any body."""
    many = ",\r\n ".join(f"Person {n} <p{n}@example.com>" for n in range(60_000))
    data = f"To: {many}\r\nMessage-ID: <huge@example.com>\r\n\r\nx".encode()
    deliver(root, "1.a.host", data, OLD)
    deliver(root, "2.b.host", b"Message-ID: <bare@example.com>\n", OLD)
    deliver(root, "3.c.host", b"", OLD)
    records = found(root, location("INBOX", fields=("to",)))
    recipients = records[0].fields["to"]
    assert isinstance(recipients, tuple)
    assert len(recipients) == 60_000
    assert [r.ref.trace for r in records[:2]] == ["<huge@example.com>", "<bare@example.com>"]
    assert records[2].ref.trace.startswith("#0@")


# --- beside a mail server -------------------------------------------------------------------


def test_dovecot_and_files_agree(dovecot: Dovecot) -> None:
    """Both connectors see the same dates, people and folders; Dovecot notices what we deleted."""
    mailbox = dovecot.user()
    fields = ("from", "to", "cc", "reply_to", "subject", "message_id")
    for n in range(4):
        letter = plain(sender=f"Kari <k{n}@example.com>", message_id=f"<{n}@example.com>", date=OLD)
        mailbox.append("Kunder/Åse & Co", letter, received=OLD + timedelta(days=n))
    server = open_imap(mailbox)
    wanted = Target(
        "post/mail",
        ImapLocation(folders=("Kunder/*",)),
        ("internal_date", "date_header"),
        fields,
    )
    theirs = [r for page in server.find(wanted) for r in page.records]
    target = location("Kunder/*", dates=wanted.dates, fields=fields)
    ours = found(mailbox.maildir, target)
    assert [(r.ref.container, r.ref.trace, r.dates, r.fields) for r in theirs] == [
        (r.ref.container, r.ref.trace, r.dates, r.fields)
        for r in sorted(ours, key=lambda r: str(r.ref.trace))
    ]
    gone = [r.ref for r in ours if r.ref.trace in ("<1@example.com>", "<2@example.com>")]
    assert erased(mailbox.maildir, gone, target) == [(Result.DISPOSED, "")] * 2
    assert mailbox.uids("Kunder/Åse & Co") == [1, 4]
    proofs = server.verify(wanted, [r.ref for r in theirs], None)
    assert [p.level for p in proofs if p.level is Level.GONE] == [Level.GONE] * 2
    server.close()
