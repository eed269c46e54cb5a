"""The lean reader of FETCH and SEARCH answers, and the pure mail modules that connectors share."""

from __future__ import annotations

import imaplib
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retention.connectors import mail_headers
from retention.connectors.imap.answers import Response, instant, parse_any_fetch, parse_fetch
from retention.connectors.imap.asking import quoted
from retention.connectors.imap.failures import LostError
from retention.connectors.imap.sets import expand, uid_sets
from retention.connectors.mail_folders import MailFolder, decode_utf7, encode_utf7, resolve
from retention.connectors.mail_index import Sightings
from retention.errors import PermanentFailure

quick = settings(deadline=None, max_examples=150)
printable = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)


@st.composite
def fetch_answers(draw: st.DrawFn) -> tuple[Response, dict[bytes, object]]:
    """A FETCH response in any order and notation, and what it says."""
    uid = draw(st.integers(1, 4_294_967_295))
    flags = draw(st.lists(st.sampled_from([b"\\Seen", b"\\Deleted", b"$Label1", b"NIL"])))
    body = draw(st.binary(max_size=40))
    text = draw(printable).encode()
    says: dict[bytes, object] = {
        b"UID": str(uid).encode(),
        b"FLAGS": flags,
        b"INTERNALDATE": text,
        b"BODY[HEADER.FIELDS (A B)]": body,
    }
    pieces, literals, line = [], [], b"* 7 FETCH ("
    for number, name in enumerate(draw(st.permutations(list(says)))):
        line += b" " * bool(number) + name + b" "
        value = says[name]
        if isinstance(value, list):
            line += b"(" + b" ".join(value) + b")"
        elif name == b"UID":
            line += str(uid).encode()
        elif name == b"INTERNALDATE" and draw(st.booleans()):
            line += quoted(text)
        else:
            assert isinstance(value, bytes)
            pieces.append(line)
            literals.append(value)
            line = b""
    return Response([*pieces, line + b")\r\n"], literals), says


@quick
@given(fetch_answers())
def test_any_order_and_notation_says_the_same(case: tuple[Response, dict[bytes, object]]) -> None:
    """Literals, quoted strings and lists are read exactly, in whatever order a server likes."""
    answer, says = case
    assert parse_fetch(answer) == parse_any_fetch(answer) == says


@pytest.mark.parametrize(
    "line",
    [
        rb'* 1 FETCH (UID 3 INTERNALDATE "10-Jan-2024 08:30:00 +0000" FLAGS (\Seen $x))',
        rb"* 1 FETCH (UID 3 FLAGS ())",
        rb"* 1 FETCH (UID 3)",
        rb'* 1 FETCH (UID 3 INTERNALDATE "10-Jan-2024 08:30:00 +0000" FLAGS () RFC822.SIZE 7 ',
        rb"* 1 FETCH (UID 3 ",
    ],
)
def test_the_quick_way_reads_as_the_thorough_one(line: bytes) -> None:
    """Dovecot's usual shape has a way of its own; both say the same."""
    answer = Response((line + b"\r\n",), ())
    if line.endswith(b" "):
        header = line + b"BODY[HEADER.FIELDS (CC FROM)] "
        answer = Response((header, b")\r\n"), (b"From: a@b.example\r\n\r\n",))
    quick_one, thorough = parse_fetch(answer), parse_any_fetch(answer)
    assert quick_one == thorough
    assert quick_one is not None
    assert quick_one[b"UID"] == b"3"


@quick
@given(st.sets(st.integers(1, 4_294_967_295)), st.sets(st.integers(1, 5_000), max_size=3_000))
def test_sets_name_exactly_these_uids(sparse: set[int], dense: set[int]) -> None:
    """No UID too many, none too few, and no command too long for a server."""
    uids = sparse | dense
    sets = list(uid_sets(uids))
    assert sorted(uid for part in sets for uid in expand(part)) == sorted(uids)
    assert all(len(part) <= 7_600 for part in sets)


def test_an_absurd_range_is_no_answer() -> None:
    """A hostile server cannot make us count to four billion."""
    with pytest.raises(LostError):
        expand(b"1:4294967295")


@quick
@given(st.integers(31_536_000, 4_102_444_800), st.integers(-14 * 60, 14 * 60))
def test_internal_dates_are_read_as_imaplib_reads_them(seconds: int, offset: int) -> None:
    """Our quick reader agrees with the standard library's, zone and all."""
    when = datetime.fromtimestamp(seconds, UTC)
    sign, minutes = "-" if offset < 0 else "+", abs(offset)
    text = f"{when:%d-%b-%Y %H:%M:%S} {sign}{minutes // 60:02}{minutes % 60:02}".encode()
    told = imaplib.Internaldate2tuple(b'1 (INTERNALDATE "' + text + b'")')
    assert told is not None
    ours = instant(text)
    assert ours is not None
    assert ours.astimezone().timetuple()[:6] == told[:6]


@pytest.mark.parametrize("text", [b"", b"NIL", b"1-Foo-2024 00:00:00 +0000", b"32-Jan-2024 x y"])
def test_no_date_is_none(text: bytes) -> None:
    """What is no date is unknown, never a guess."""
    assert instant(text) is None


# --- headers --------------------------------------------------------------------------------


@quick
@given(st.binary(max_size=400))
def test_any_bytes_are_headers(block: bytes) -> None:
    """Nothing that a sender wrote makes reading fail."""
    headers = mail_headers.split(block)
    for values in headers.values():
        mail_headers.addresses(values)
        mail_headers.date(values)
        mail_headers.message_id(values)
        mail_headers.subject(values)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("kari@example.com", ["kari@example.com"]),
        ("Kari <KARI@Example.COM>", ["kari@example.com"]),
        ('"Hansen, Kari" <k@example.com>, o@example.com', ["k@example.com", "o@example.com"]),
        ('"kari@old.example" <kari@example.com>', ["kari@example.com"]),
        ("kari@example.com (was kari@old.example)", ["kari@example.com"]),
        ("Team: a@example.com, b@example.com;", ["a@example.com", "b@example.com"]),
        ("undisclosed-recipients:;", []),
        ('"j d"@example.com', ['"j d"@example.com']),
        ('"Kari <kari@example.com>, "Bo" <bo@example.com>', ["kari@example.com", "bo@example.com"]),
        ('"Kari <kari@example.com>', ["kari@example.com"]),
        ("=?utf-8?q?Kari_=3Ckari=40example=2Ecom=3E?=", ["kari@example.com"]),
        ("=?utf-8?b?S8OlcmU=?= <kare@example.com>", ["kare@example.com"]),
        ("<mailto:kari@example.com>", ["kari@example.com"]),
        ("kåre@exämple.com", ["kåre@exämple.com"]),
        ("@", []),
        ("", []),
    ],
)  # fmt: skip
def test_addresses(value: str, expected: list[str]) -> None:
    """Names, quotes, comments, groups, encodings; in malformed headers all that looks like one."""
    assert list(mail_headers.addresses([value.encode()])) == expected


def test_hostile_headers_take_no_time() -> None:
    """A megabyte of quotes, brackets or commas is read in one pass."""
    for piece in ('"\\', "<", "(a", "a@", "=?utf-8?q?", ",", '"@'):
        mail_headers.addresses([(piece * 100_000).encode()])


@quick
@given(st.datetimes(timezones=st.just(UTC)).map(lambda d: d.replace(microsecond=0)))
def test_dates_are_read_as_the_standard_library_reads_them(when: datetime) -> None:
    """The quick way and email.utils agree."""
    text = format_datetime(when)
    if when.year >= 1000:
        assert mail_headers.date([text.encode()]) == parsedate_to_datetime(text) == when


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], None),
        (["yesterday"], None),
        (["Wed, 10 Jan 2024 08:30:00 +0100 (CET)"], datetime(2024, 1, 10, 7, 30, tzinfo=UTC)),
        (["10 Jan 24 08:30 GMT"], datetime(2024, 1, 10, 8, 30, tzinfo=UTC)),
        (["Wed, 10 Jan 2024 08:30:00 -0000"], datetime(2024, 1, 10, 8, 30, tzinfo=UTC)),
        (["Wed, 10 Jan 2024 08:30:60 +0000"], datetime(2024, 1, 10, 8, 30, 59, tzinfo=UTC)),
        (["Wed, 10 Jan 2024 08:30:00 +9999"], None),
        (["Wed, 31 Feb 2024 08:30:00 +0000"], None),
        (["1 Jan 2024 00:00:00 +0000", "1 Jan 2018 00:00:00 +0000"], None),
        (["1 Jan 2024 00:00:00 +0000"] * 2, datetime(2024, 1, 1, tzinfo=UTC)),
    ],
)
def test_date_headers(values: list[str], expected: datetime | None) -> None:
    """Missing, unreadable or contradictory: no date, so never due by it."""
    assert mail_headers.date([v.encode() for v in values]) == expected


def test_message_ids_are_compared_without_folding() -> None:
    """Folding and text around the brackets do not hide a copy."""
    spellings = [b"<a@b.example>", b" <a@b.example> (c)", b"<a@\r\n b.example>", b"x <a@b.example>"]
    assert {mail_headers.message_id([s]) for s in spellings} == {"<a@b.example>"}
    assert mail_headers.message_id([b"", b"<>"]) == ""


# --- folders and index ----------------------------------------------------------------------


@quick
@given(st.text(st.characters(blacklist_categories=["Cs"]), max_size=20))
def test_folder_names_go_round(name: str) -> None:
    """Every name survives modified UTF-7, and is ASCII on the wire."""
    raw = encode_utf7(name)
    assert raw.isascii()
    assert decode_utf7(raw) == name


@quick
@given(st.binary(max_size=20))
def test_any_bytes_are_a_folder_name(raw: bytes) -> None:
    """A server's or disk's odd spelling is shown somehow, never an error."""
    assert isinstance(decode_utf7(raw), str)


def test_patterns_do_not_reach_into_other_peoples_mail() -> None:
    """`*` is the own mailbox; a shared namespace must be named."""
    folders = [
        MailFolder("INBOX", b"INBOX"),
        MailFolder("user/anna/INBOX", b"", foreign="user/"),
        MailFolder("user", b"", selectable=False),
    ]

    def names(*wanted: str) -> list[str]:
        return [f.name for f in resolve(wanted, folders, "x/y")]

    assert names("*") == ["INBOX"]
    assert names("user/*") == ["user/anna/INBOX"]
    assert names("user/anna/INBOX", "inbox") == ["INBOX", "user/anna/INBOX"]
    with pytest.raises(PermanentFailure):
        names("user")


@quick
@given(st.sets(st.text(max_size=5)), st.sets(st.text(max_size=5)))
def test_what_was_seen_is_known(seen: set[str], other: set[str]) -> None:
    """No sighting is lost; what was never seen is not known."""
    sightings = Sightings()
    for text in seen:
        sightings.add(text)
    assert all(text in sightings for text in seen)
    assert not any(text in sightings for text in other - seen)


def test_many_sightings_are_small() -> None:
    """Eight bytes each once a segment is full, and still exact."""
    sightings = Sightings()
    for number in range(150_000):
        sightings.add(f"<{number}@example.com>")
    assert len(sightings._hashes._sealed) == 2
    assert all(f"<{n}@example.com>" in sightings for n in range(0, 150_000, 777))
    assert "<150000@example.com>" not in sightings
