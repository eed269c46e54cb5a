"""Entries: canonical, within the table, and free of personal data."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from retention.audit.entries import MAX_LINE, TYPES, Entry, grammar, line, type_of
from retention.audit.facts import COMMON, FACTS, KIND_WORDS, Kind
from retention.audit.pseudonym import Pseudonymiser
from retention.errors import AuditUnwritable

AT = datetime(2026, 3, 1, 9, 30, 0, 250_999, tzinfo=UTC)
NAMES = Pseudonymiser(bytes(32), "website", "enquiries/form")
BATCH: dict[str, Any] = {
    "policy": "contact-form-monthly",
    "digest": "sha256:" + "0f" * 32,
    "run": 7,
    "system": "website",
    "location": "enquiries/form",
    "action": "delete",
    "outcome": "disposed",
    "records": [NAMES.of("1")],
}
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "audit-entries.md"

_text = st.text(max_size=30).filter(lambda t: "@" not in t)
_pseudonym = st.text(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", min_size=22, max_size=22
)
_word = st.text("abcdefghijklmnopqrstuvwxyz0123456789_", min_size=1, max_size=12)
_number = st.integers(0, 10**15 - 1)
_values: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.TEXT: _text,
    Kind.TEXTS: st.lists(_text, min_size=1, max_size=5),
    Kind.NUMBER: _number,
    Kind.FLAG: st.booleans(),
    Kind.TIME: st.integers(0, 4_000_000_000).map(lambda s: datetime.fromtimestamp(s, UTC)),
    Kind.PSEUDONYM: _pseudonym,
    Kind.PSEUDONYMS: st.lists(_pseudonym, min_size=1, max_size=5),
    Kind.TOKEN: _pseudonym,
    Kind.TOKENS: st.lists(_pseudonym, min_size=1, max_size=3),
    Kind.COUNTS: st.dictionaries(_word, _number, max_size=5),
}


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    """Any entry that the table allows."""
    name = draw(st.sampled_from(sorted(TYPES)))
    row = TYPES[name]
    chosen = [*row.required, *(f for f in row.optional if draw(st.booleans()))]
    facts = {fact: draw(_values[FACTS[fact][0]]) for fact in chosen}
    account = draw(st.text(max_size=10))
    actor = draw(st.sampled_from(["system", "scheduler", "worker", f"user:{account}"]))
    return Entry(name.replace("*", "opened"), actor, None, facts)


def _encodes(entry: Entry) -> bool:
    try:
        repr(entry).encode()
        json.dumps([dict(entry.facts), entry.actor], ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        return False
    return True


@settings(deadline=None, max_examples=300)
@given(entries().filter(_encodes), _number)
def test_a_line_is_canonical_as_rfc8785_says(entry: Entry, seq: int) -> None:
    """Our encoder writes the bytes of the rfc8785 package for everything the table allows."""
    data = line(seq, AT, entry)
    fields = json.loads(data)
    assert rfc8785.dumps(fields) == data
    assert (fields["v"], fields["seq"], fields["type"]) == (1, seq, entry.type)
    assert fields["at"] == "2026-03-01T09:30:00.250Z"


@settings(deadline=None, max_examples=200)
@given(entries().filter(_encodes), st.data())
def test_the_grammar_takes_no_other_spelling(entry: Entry, data: st.DataObject) -> None:
    """A line with a space, other order, escaped letter or doubled field is not in the grammar."""
    good = line(3, AT, entry).decode()
    pattern = grammar(entry.type)
    assert pattern is not None
    assert pattern.fullmatch(good.encode())
    fields = json.loads(good)
    shuffled = data.draw(st.permutations(list(fields.items())))
    wrong = [
        good.replace(":", ": ", 1),
        good + " ",
        good.replace('"seq":3', '"seq":03'),
        good.replace('"seq":3', '"seq":3.0'),
        good.replace('"seq":3', '"seq":3,"seq":3'),
        good.replace('"type"', '"t\\u0079pe"'),
        good.replace('"v":1', '"v":1,"z":1'),
    ]
    if [k for k, _ in shuffled] != sorted(fields):
        wrong.append(json.dumps(dict(shuffled), ensure_ascii=False, separators=(",", ":")))
    for text in wrong:
        assert pattern.fullmatch(text.encode()) is None


@pytest.mark.parametrize(
    ("fact", "value"),
    [
        ("because", ["mail of kari@example.org"]),
        ("because", ["rule@deadbeef.example.org"]),
        ("because", ["rule@deadbeefkari"]),
        ("outcome", "@"),
        ("location", "kari@example.org"),
        ("records", ["kari@example.org"]),
        ("records", ["+4790000000"]),
        ("records", ["12345"]),
    ],
)
def test_what_looks_personal_is_refused(fact: str, value: object) -> None:
    """An address, or a native key where a pseudonym belongs, never enters; nor the message."""
    with pytest.raises(AuditUnwritable) as caught:
        line(0, AT, Entry("batch.done", "worker", None, {**BATCH, fact: value}))
    assert fact in str(caught.value)
    assert "kari" not in str(caught.value)


def test_a_rule_at_its_digest_is_no_address() -> None:
    """The one "@" that belongs in a reason: policy@digest."""
    facts = {**BATCH, "because": ["contact-form-monthly@sha256:" + "0f" * 32, "p@0f0f0f0f: due"]}
    assert b"@sha256:" in line(0, AT, Entry("batch.done", "worker", None, facts))


def test_an_account_may_be_an_address() -> None:
    """Who acted is named as the program knows the account."""
    entry = Entry("freeze", "user:kari@example.org", None, {})
    assert b'"actor":"user:kari@example.org"' in line(0, AT, entry)


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (Entry("batch.erased", "worker", None, BATCH), "not a type"),
        (Entry("request.*", "worker", None, {"request": 1}), "not a type"),
        (Entry("batch.done", "nobody", None, BATCH), "actor"),
        (Entry("batch.done", "worker", None, {**BATCH, "name": "x"}), "name"),
        (Entry("batch.done", "worker", None, {**BATCH, "run": -1}), "run"),
        (Entry("batch.done", "worker", None, {**BATCH, "run": 1.0}), "run"),
        (Entry("batch.done", "worker", None, {**BATCH, "run": 10**15}), "run"),
        (Entry("batch.done", "worker", None, {**BATCH, "run": True}), "run"),
        (Entry("batch.done", "worker", None, {**BATCH, "records": []}), "records"),
        (Entry("batch.done", "worker", None, {**BATCH, "records": None}), "no records"),
        (Entry("batch.done", "worker", None, {**BATCH, "seq": 4}), "common"),
        (Entry("batch.done", "worker", None, {**BATCH, "system": "\ud800"}), "encode"),
        (Entry("batch.done", "worker", None, {**BATCH, "system": object()}), "encode"),
        (
            Entry("batch.done", "worker", None, {**BATCH, "records": [NAMES.of("1")] * 501}),
            "records",
        ),
    ],
)
def test_what_is_not_in_the_table_is_refused(entry: Entry, why: str) -> None:
    """Unknown types, facts and values stop the act instead of entering the log."""
    with pytest.raises(AuditUnwritable, match=why):
        line(0, AT, entry)


def test_five_hundred_records_fit_and_a_longer_line_is_refused() -> None:
    """A full batch is one entry; no line is ever longer than 65,535 bytes."""
    full = {**BATCH, "records": NAMES.of_each(map(str, range(500)))}
    assert len(line(10**14, AT, Entry("batch.done", "worker", None, full))) < MAX_LINE
    with pytest.raises(AuditUnwritable, match="65535"):
        line(0, AT, Entry("batch.done", "worker", None, {**BATCH, "because": ["x" * 70_000]}))


def test_instants_are_written_in_utc_with_milliseconds() -> None:
    """Another zone's instant is the same instant in the log."""
    local = AT.astimezone(timezone(timedelta(hours=2)))
    facts = {**BATCH, "firing": local}
    data = line(0, local, Entry("batch.done", "worker", None, facts))
    assert data.count(b'"2026-03-01T09:30:00.250Z"') == 2


def test_families_take_steps() -> None:
    """`request.*` and `task.*` stand for their steps; other types have no steps."""
    assert type_of("request.closed") is TYPES["request.*"]
    assert type_of("task.failed") is TYPES["task.*"]
    assert type_of("batch.sideways") is None
    assert type_of("task.*") is None


def test_a_pseudonym_is_what_the_format_says() -> None:
    """First 16 bytes of HMAC-SHA-256 over system, location and native key, base64url."""
    import base64
    import hashlib
    import hmac

    message = b"website\0enquiries/form\x00k\xc3\xa9y"
    digest = hmac.new(bytes(32), message, hashlib.sha256).digest()
    assert NAMES.of("kéy") == base64.urlsafe_b64encode(digest[:16]).rstrip(b"=").decode()
    assert len({NAMES.of(k) for k in ("", "a", "A", "\0", "\udc80", "ab")}) == 6
    assert Pseudonymiser(bytes(32), "website", "other").of("a") != NAMES.of("a")
    with pytest.raises(ValueError, match="NUL"):
        Pseudonymiser(bytes(32), "a\0b", "c")


def test_the_reference_page_is_the_table() -> None:
    """docs/reference/audit-entries.md lists exactly the types and facts that the program knows."""
    rows = re.findall(
        r"^\| (`[^|]+`) \| ([^|]*) \| ([^|]*) \|(?: ([^|]*) \|)?$", PAGE.read_text(), re.MULTILINE
    )

    def cell(names: tuple[str, ...]) -> str:
        return " ".join(f"`{name}`" for name in names)

    types = [
        (f"`{name}`", row.meaning, cell(row.required), cell(row.optional))
        for name, row in TYPES.items()
    ]
    facts = [
        (f"`{name}`", KIND_WORDS[kind], meaning, "")
        for name, (kind, meaning) in [*COMMON.items(), *FACTS.items()]
    ]
    assert [tuple(part.strip() for part in row) for row in rows] == [
        *facts[: len(COMMON)],
        *types,
        *facts[len(COMMON) :],
    ]


def test_every_fact_belongs_to_a_type() -> None:
    """The table holds no fact that no type has, and no type names a fact it does not hold."""
    used = {fact for row in TYPES.values() for fact in (*row.required, *row.optional)}
    assert used == set(FACTS)
