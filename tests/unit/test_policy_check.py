"""Every static finding: what is found, where, and what is left alone."""

from __future__ import annotations

import ast
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, SecretStr

import retention.policy
from retention.connectors import registry
from retention.policy.check import ConnectorFacts, affected, broken, check, connector_facts
from retention.policy.codes import CODES, SCHEDULES
from retention.policy.findings import Severity
from retention.policy.model import Scalar, Secret
from retention.schedule.findings import facts_for_bundle
from tests.unit.policy_samples import DESIGN, ORGANISATION, RICH, loaded
from tests.unit.test_policy_load import CASES as LOADING


class SqlSystem(BaseModel):
    model_config = ConfigDict(extra="forbid")
    url: Secret | str
    pool: int = 2


class SqlLocation(BaseModel):
    model_config = ConfigDict(extra="forbid")
    table: str
    key: str
    match: dict[str, Scalar] = {}


class MailSystem(BaseModel):
    model_config = ConfigDict(extra="forbid")
    host: str
    password: SecretStr


class MailLocation(BaseModel):
    model_config = ConfigDict(extra="forbid")
    folders: list[str]


SQL = ConnectorFacts("sql", frozenset({"delete", "mask", "read"}), SqlSystem, SqlLocation)
CONNECTORS = {
    "sql": SQL,
    "mail": ConnectorFacts("mail", frozenset({"delete"}), MailSystem, MailLocation),
    "sad": ConnectorFacts("sad", broken="it lacks a library"),
}

BASE = """\
organisation: {name: X, country: NO, timezone: Europe/Oslo}
systems:
  db: {connector: sql, url: {env: DB}}
  box: {connector: mail, host: imap.example.org, password: {env: BOX}}
clusters:
  forms:
    basis: contract
    purpose: answering
    locations:
      inbox:
        system: db
        table: forms
        key: id
        dates: {received: at, seen: seen}
        subject: {email: mail}
        fields: {note: remark}
  people:
    basis: contract
    locations:
      card: {system: db, table: people, key: id, dates: {ended: at}, subject: {email: mail}}
  letters:
    basis: contract
    locations:
      mail: {system: box, folders: [Sent], dates: {received: date}, subject: {phone: tel}}
  anon:
    basis: contract
    locations:
      log: {system: db, table: log, key: id, dates: {at: at}}
  news:
    basis: consent
    locations:
      list: {system: db, table: news, key: id, dates: {since: at}, subject: {email: mail}}
policies:
  forms: {applies_to: forms, starting_point: received, delete_at_latest: 1 year, then: delete}
  people: {applies_to: people, starting_point: ended, delete_at_latest: 1 year, then: delete}
  letters: {applies_to: letters, starting_point: received, delete_at_latest: 1 year, then: delete}
  anon: {applies_to: anon, starting_point: at, delete_at_latest: 1 year, then: delete}
  news: {applies_to: news, starting_point: since, delete_at_latest: 1 year, then: delete}
"""


def rule(fields: str) -> str:
    return f"{BASE}  p: {{{fields}}}\n"


def instead(old: str, new: str) -> str:
    assert BASE.count(old) >= 1, old
    return BASE.replace(old, new, 1)


def named(fields: str) -> str:
    """The same, with the mark at the policy's name."""
    return rule(fields).replace("\n  p: ", "\n  ¦p: ")


F = "applies_to: forms, starting_point: received"
L = "applies_to: letters, starting_point: received, delete_at_latest: 1 year"
N = "applies_to: news, starting_point: since"
SLIDING = "starting_point: ¦{date: seen, sliding: true}"
YEAR = "delete_at_latest: 1 year"
NO_POLICY = (
    "  anon: {applies_to: anon, starting_point: at, delete_at_latest: 1 year, then: delete}\n"
)

LETTERS = "  letters:\n    basis: contract\n"
TEL = "subject: {phone: tel}}\n"
SENT = "      sent: {system: box, folders: [S], dates: {received: d}}\n"
COPY = "copy_to: {location: people/card, values: {name: note}}"

CASES: dict[str, tuple[str, str]] = {
    "copied into a place that is not there": (
        "unknown-copy-target",
        rule(f"{F}, {YEAR}, then: {{{COPY.replace('people/card', '¦people/cards')}}}"),
    ),
    "copied into what is emptied": (
        "copy-into-itself",
        rule(f"{F}, {YEAR}, then: {{{COPY.replace('people/card', '¦forms/inbox')}}}"),
    ),
    "copied from a field that is not there": (
        "unknown-copy-value",
        rule(f"{F}, {YEAR}, then: {{{COPY.replace('note', '¦notes')}}}"),
    ),
    "copied into a system that takes nothing in": (
        "cannot-act",
        rule(f"{F}, {YEAR}, then: {{{COPY.replace('people/card', '¦letters/mail')}}}"),
    ),
    "copies that nobody can match": (
        "copies-unmatched",
        instead(LETTERS, f"{LETTERS}    matched_on: ¦phone\n").replace(TEL, TEL + SENT),
    ),
    "copies matched on what no location has": (
        "missing-key",
        instead(LETTERS, f"{LETTERS}    matched_on: ¦number\n"),
    ),
    # name: code, file; ¦ stands where the finding must point, and is taken out
    "minimum above maximum": (
        "minimum-above-maximum",
        rule(f"{F}, keep_at_least: 5 years, delete_at_latest: ¦1 year, then: delete"),
    ),
    "mandate above maximum": (
        "minimum-above-maximum",
        rule(f"{F}, mandate: no/bokforingsloven-13b, delete_at_latest: ¦3 years, then: delete"),
    ),
    "days against months": (
        "minimum-may-pass-maximum",
        rule(f"{F}, keep_at_least: 30 days, delete_at_latest: ¦1 month, then: delete"),
    ),
    "up to, and at least": (
        "minimum-is-maximum",
        rule(f"{F}, mandate: nl/awr-52, delete_at_latest: ¦7 years, then: review"),
    ),
    "no period": ("no-period", named(f"{F}, then: delete")),
    "no period at all": (
        "no-period",
        named("applies_to: forms, then: {anonymise: {note: null}}"),
    ),
    "two years, since when": (
        "no-start",
        named("applies_to: forms, delete_at_latest: 2 years, then: delete"),
    ),
    "statute without start": (
        "no-start",
        named("applies_to: forms, mandate: nl/awr-52, then: review"),
    ),
    "at the earliest after": (
        "no-maximum",
        rule(f"{F}, keep_at_least: ¦5 years, then: delete"),
    ),
    "keep with maximum": ("keep-with-maximum", rule(f"{F}, delete_at_latest: ¦1 year, then: keep")),
    "keep without end": ("keep-without-minimum", rule("applies_to: forms, then: ¦keep")),
    "cutoff of nothing": ("unenforced", rule(f"{F}, ¦cutoff: year, then: review")),
    "cap of nothing": ("unenforced", rule(f"{F}, ¦cap: true, keep_at_least: 1 year, then: keep")),
    "grace of review": ("unenforced", rule(f"{F}, {YEAR}, ¦grace: 7 days, then: review")),
    "suppress of keep": (
        "unenforced",
        rule(f"{F}, keep_at_least: 1 year, ¦suppress: email, then: keep"),
    ),
    "fields of review": ("unenforced", rule(f"{F}, {YEAR}, ¦fields: [note], then: review")),
    "reviewer of deletion": ("unenforced", rule(f"{F}, {YEAR}, ¦review: {{by: x}}, then: delete")),
    "limits of keep": (
        "unenforced",
        rule(f"{F}, keep_at_least: 1 year, ¦limits: {{records: 1}}, then: keep"),
    ),
    "backstop of keep": (
        "unenforced",
        rule(f"{F}, keep_at_least: 1 year, ¦backstop: 2 years, then: keep"),
    ),
    "sliding": (
        "moves-for-ever",
        rule(f"applies_to: forms, {SLIDING}, {YEAR}, then: delete"),
    ),
    "sliding inside": (
        "moves-for-ever",
        rule(
            "applies_to: forms, "
            "starting_point: ¦{latest_of: [received, {date: seen, sliding: true}]}, "
            f"{YEAR}, then: delete"
        ),
    ),
    "missing date": (
        "missing-date",
        rule(f"applies_to: forms, starting_point: ¦recieved, {YEAR}, then: delete"),
    ),
    "missing date somewhere": (
        "missing-date",
        rule(f"applies_to: [forms, anon], starting_point: ¦received, {YEAR}, then: delete"),
    ),
    "missing linked date": (
        "missing-date",
        rule(
            "applies_to: forms, "
            f"starting_point: {{date: ¦people.gone, matched_on: email}}, {YEAR}, then: delete"
        ),
    ),
    "missing key": (
        "missing-key",
        rule(
            "applies_to: letters, "
            f"starting_point: {{date: people.ended, matched_on: ¦email}}, {YEAR}, then: delete"
        ),
    ),
    "event without people": (
        "missing-subject",
        rule(f"applies_to: anon, starting_point: ¦{{event: left}}, {YEAR}, then: delete"),
    ),
    "no policy": (
        "no-policy",
        instead(NO_POLICY, "").replace("      log:", "      ¦log:"),
    ),
    "only kept": (
        "no-policy",
        instead(
            NO_POLICY,
            "  anon: {applies_to: anon, starting_point: at, keep_at_least: 1 year, then: keep}\n",
        ).replace("      log:", "      ¦log:"),
    ),
    "no location": (
        "no-location",
        rule(f"applies_to: ¦void, starting_point: received, {YEAR}, then: delete").replace(
            "  anon:\n    basis", "  void: {basis: contract}\n  anon:\n    basis", 1
        ),
    ),
    "unknown field": (
        "unknown-record-field",
        rule(f"{F}, {YEAR}, then: {{anonymise: {{note: null, phone: ¦null}}}}"),
    ),
    "unknown single field": (
        "unknown-record-field",
        rule(f"{F}, {YEAR}, fields: [¦notes], then: delete"),
    ),
    "unmapped field": (
        "unmapped-record-field",
        rule(f"applies_to: people, starting_point: ended, {YEAR}, fields: [¦phone], then: delete"),
    ),
    "no basis": ("no-basis", instead("  people:\n    basis: contract\n", "  ¦people:\n")),
    "mixed bases": (
        "mixed-bases",
        instead(
            "  people:\n    basis: contract\n",
            "  people:\n    basis: ¦legal_claims\n    purpose: answering\n",
        ),
    ),
    "consent with minimum": (
        "consent-with-minimum",
        rule(f"{N}, keep_at_least: ¦1 year, {YEAR}, then: delete"),
    ),
    "consent with statute": (
        "consent-with-minimum",
        named(f"{N}, mandate: no/bokforingsloven-13b, then: review"),
    ),
    "outranked by the sooner": (
        "always-outranked",
        named(f"{F}, delete_at_latest: 2 years, then: delete"),
    ),
    "outranked by the nearer": (
        "always-outranked",
        named("applies_to: '*', starting_point: at, delete_at_latest: 1 month, then: delete"),
    ),
    "outranked by the newer": (
        "always-outranked",
        rule(f"{F}, {YEAR}, supersedes: forms, then: delete").replace("  forms: {", "  ¦forms: {"),
    ),
    "suppress of nothing": (
        "unused-suppress",
        rule(f"{F}, {YEAR}, suppress: [¦phone], then: delete"),
    ),
    "superseded": (
        "mandate-superseded",
        rule(f"{F}, mandate: ¦no/bokforingsloven-13-before-2015, then: review"),
    ),
    "unverified": (
        "mandate-unverified",
        rule(f"{F}, mandate: ¦no/bokforingsloven-13-before-2015, then: review"),
    ),
    "foreign": ("mandate-country", rule(f"{F}, mandate: ¦se/bokforingslagen-7-2, then: review")),
    "reviewer": ("review-without-reviewer", rule(f"{F}, {YEAR}, then: ¦review")),
    "nobody asked": ("approval-none", rule(f"{F}, {YEAR}, approval: ¦none, then: delete")),
    "no country": ("unknown-country", instead("country: NO", "country: ¦QQ")),
    "unknown connector": ("connector-unknown", instead("connector: sql", "connector: ¦sqll")),
    "broken connector": ("connector-broken", instead("connector: sql", "connector: ¦sad")),
    "later connector": (
        "connector-not-available",
        instead("connector: mail", "connector: manual").replace(
            "letters: {applies_to: ", "letters: {applies_to: ¦"
        ),
    ),
    "later connector unused": (
        "connector-not-available",
        instead("  box:", "  spare: {connector: ¦manual}\n  box:"),
    ),
    "unknown setting": ("connector-setting", instead("{env: DB}", "{env: DB}, ¦pol: 3")),
    "wrong setting": ("connector-setting", instead("{env: DB}", "{env: DB}, pool: ¦many")),
    "missing setting": (
        "connector-setting",
        instead("{connector: mail, host: imap.example.org,", "¦{connector: mail,"),
    ),
    "wrong location setting": ("connector-setting", instead("[Sent]", "¦Sent")),
    "unknown location setting": (
        "connector-setting",
        instead("key: id\n", "key: id\n        ¦kye: id\n"),
    ),
    "cannot mask": (
        "cannot-act",
        rule(
            f"{L}, then: ¦{{anonymise: {{tel: null}}}}"
        ),
    ),
    "cannot empty fields": (
        "cannot-act",
        rule(f"{L}, fields: [tel], then: ¦delete"),
    ),
    "cannot hand over": (
        "cannot-act",
        rule(f"{L}, then: ¦{{hand_over: {{to: x}}}}"),
    ),
    "no bin": ("no-bin", rule(f"{F}, {YEAR}, grace: ¦7 days, then: delete")),
    "mask of nothing": ("bad-mask", rule(f"{F}, {YEAR}, then: ¦{{anonymise: {{}}}}")),
    "mask by more": ("bad-mask", rule(f"{F}, {YEAR}, then: {{anonymise: {{note: ¦[x]}}}}")),
    "mask without value": (
        "bad-mask",
        rule(f"{F}, {YEAR}, fields: ¦[remark], then: {{anonymise: {{note: null}}}}"),
    ),
    "half a hand-over": (
        "cannot-hand-over-fields",
        rule(f"{F}, {YEAR}, ¦fields: [note], then: {{hand_over: {{to: x}}}}"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_each_finding_has_its_code_and_place(tmp_path: Path, case: str) -> None:
    """Every static finding is made, at the line and column it is about."""
    code, marked = CASES[case]
    before, mark, after = marked.partition("¦")
    assert mark
    found = loaded(tmp_path, policies=before + after)
    assert found.bundle is not None, [str(f) for f in found.findings]
    place = (before.count("\n") + 1, len(before.rpartition("\n")[2]) + 1)
    said = check(found, CONNECTORS)
    assert (code, place) in [(f.code, (f.line, f.col)) for f in said], [str(f) for f in said]


def test_the_base_of_these_cases_is_clean(tmp_path: Path) -> None:
    """Each case differs from a folder without any finding by one thing."""
    assert check(loaded(tmp_path, policies=BASE), CONNECTORS) == []


SILENT = {
    "equal minimum and maximum": rule(
        f"{F}, where: {{note: x}}, keep_at_least: 5 years, delete_at_latest: 5 years, then: delete"
    ),
    "minimum of a statute": rule(
        f"{F}, where: {{note: x}}, mandate: no/bokforingsloven-13b, then: delete"
    ),
    "sliding with backstop": rule(
        "applies_to: forms, where: {note: x}, starting_point: {date: seen, sliding: true}, "
        f"backstop: 5 years, {YEAR}, then: delete"
    ),
    "sliding beside a fixed date": rule(
        "applies_to: forms, where: {note: x}, "
        f"starting_point: {{earliest_of: [received, {{date: seen, sliding: true}}]}}, {YEAR}, "
        "then: delete"
    ),
    "where beats cluster": rule(
        f"{F}, where: {{note: x}}, delete_at_latest: 2 years, then: delete"
    ),
    "another clock": rule(
        "applies_to: forms, starting_point: seen, delete_at_latest: 2 years, then: delete"
    ),
    "a source as field": rule(
        f"{F}, where: {{note: x}}, {YEAR}, then: {{anonymise: {{mail: null}}}}"
    ),
    "null in a connector's field": instead("key: id\n", "key: id\n        match: {kind: null}\n"),
}  # fmt: skip


@pytest.mark.parametrize("case", SILENT)
def test_what_is_right_is_left_alone(tmp_path: Path, case: str) -> None:
    """Nothing cries wolf about what the engine can keep."""
    found = loaded(tmp_path, policies=SILENT[case])
    assert [str(f) for f in check(found, CONNECTORS)] == []


@pytest.mark.parametrize("code", SCHEDULES)
def test_facts_of_the_schedule_are_carried(tmp_path: Path, code: str) -> None:
    """The schedule's own codes arrive at the schedule's place with the table's severity."""
    found = loaded(
        tmp_path, policies=rule(f"{F}, where: {{note: x}}, {YEAR}, then: delete, schedule: x")
    )
    (said,) = check(found, CONNECTORS, [("p", code, "something", "a hint")])
    assert (said.code, said.severity, said.policy) == (code, CODES[code].severity, "p")
    assert said.hint == "a hint"


def test_an_unknown_fact_is_an_error(tmp_path: Path) -> None:
    """A code that nobody here knows is not lost."""
    found = loaded(tmp_path, policies=BASE)
    (said,) = check(found, CONNECTORS, [("forms", "brand-new", "something", "")])
    assert (said.code, said.severity) == ("bad-schedule", Severity.ERROR)


def test_the_examples_are_accepted_by_the_real_connectors(tmp_path: Path) -> None:
    """The design's own example has no error with the connectors and schedules of this version."""
    found = loaded(tmp_path, policies=DESIGN)
    assert found.bundle is not None
    facts = facts_for_bundle(found.bundle, datetime(2026, 11, 22, tzinfo=UTC))
    said = check(found, connector_facts(registry.facts()), facts)
    assert {f.code for f in said} == {"no-policy", "worst-case-age"}
    assert broken(found.bundle, said) == {}


def test_errors_stop_the_policies_they_are_about(tmp_path: Path) -> None:
    """A system's error stops those who use it, an organisation's all; others go on."""
    text = instead("{env: DB}", "{env: DB}, pol: 3")
    found = loaded(tmp_path / "a", policies=text)
    assert found.bundle is not None
    assert set(broken(found.bundle, check(found, CONNECTORS))) == {
        "forms",
        "people",
        "anon",
        "news",
    }
    found = loaded(tmp_path / "b", policies=instead("[Sent]", "Sent"))
    assert found.bundle is not None
    assert set(broken(found.bundle, check(found, CONNECTORS))) == {"letters"}
    found = loaded(tmp_path / "c", policies=instead("country: NO", "country: QQ"))
    assert found.bundle is not None
    (about,) = check(found, CONNECTORS)
    assert affected(found.bundle, about) == tuple(sorted(found.bundle.policies))


def test_a_linked_system_that_is_broken_stops_the_policy_too(tmp_path: Path) -> None:
    """A starting point in a system that cannot be read would never be known."""
    link = f"starting_point: {{date: letters.received, matched_on: phone}}, {YEAR}, then: delete"
    text = instead(
        "subject: {email: mail}\n        fields", "subject: {phone: tel}\n        fields"
    )
    text = text.replace("[Sent]", "Sent") + f"  p: {{applies_to: forms, {link}}}\n"
    found = loaded(tmp_path, policies=text)
    assert found.bundle is not None
    assert set(broken(found.bundle, check(found, CONNECTORS))) == {"letters", "p"}


def test_a_cluster_that_did_not_load_stops_who_names_it(tmp_path: Path) -> None:
    """It is in no bundle, but its policies are not free of it: those of others are."""
    text = instead("  people:\n    basis: contract", "  people:\n    basis: wish")
    found = loaded(tmp_path, policies=text + f"  p: {{applies_to: '*', {YEAR}, then: delete}}\n")
    assert found.partial is not None
    assert set(broken(found.partial, found.findings)) == {"people", "p"}


def test_a_secret_is_accepted_as_place_and_as_text(tmp_path: Path) -> None:
    """A connector may take the place of a secret or only its text; neither is known to be wrong."""
    assert check(loaded(tmp_path, policies=BASE), CONNECTORS) == []


def test_findings_of_loading_are_passed_on(tmp_path: Path) -> None:
    """`check` is the whole of `validate`, also where nothing could be loaded."""
    found = loaded(tmp_path, policies=ORGANISATION + "sytems: {}")
    assert [f.code for f in check(found, CONNECTORS)] == ["unknown-field"]


def test_every_field_of_the_grammar_is_enforced_or_named(tmp_path: Path) -> None:
    """The sample that uses every field is checked without an error of form."""
    found = loaded(tmp_path, policies=RICH)
    codes = {f.code for f in check(found, connector_facts(registry.facts()))}
    assert codes <= {"approval-none", "no-bin", "always-outranked", "no-maximum"}


ELSEWHERE = {
    "no-folder", "no-files", "unreadable", "skipped-link", "too-large", "duplicate-name",
    "no-organisation", "supersedes-circle",
}  # fmt: skip
"""Codes that test_policy_load proves with folders of their own."""


def test_every_code_has_a_case() -> None:
    """No code of the table is without a test that makes it appear."""
    cases = [code for code, _ in (*CASES.values(), *LOADING.values())]
    assert set(CODES) - set(SCHEDULES) == set(cases) | ELSEWHERE


def test_every_emitted_code_is_in_the_table() -> None:
    """What the code says as a finding is what the table lists, neither more nor less."""
    said: set[str] = set()
    for path in Path(retention.policy.__file__).parent.glob("*.py"):
        if path.name != "codes.py":
            said |= {text for text in _texts(ast.parse(path.read_text())) if text in CODES}
    assert set(CODES) - set(SCHEDULES) <= said


def _texts(tree: Any) -> set[str]:
    return {
        n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)
    }


@pytest.mark.parametrize("code", CODES)
def test_every_code_says_what_it_means(code: str) -> None:
    """One line of meaning, a hint, and a name that reads."""
    known = CODES[code]
    assert known.meaning
    assert known.hint or code == "worst-case-age"
    assert code == code.lower().replace("_", "-")
