"""Loading: every mistake with its place, all at once, and nothing guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from retention.policy.document import DEEPEST, LARGEST_FILE, plain, read
from retention.policy.findings import Severity
from retention.policy.load import load
from retention.policy.model import Cutoff
from retention.policy.periods import Period
from tests.unit.policy_samples import DESIGN, ORGANISATION, RICH, codes, loaded

BASE = (
    ORGANISATION
    + """
systems: {web: {connector: sql, url: {env: DB}}}
clusters:
  forms:
    basis: contract
    locations:
      inbox: {system: web, table: t, key: id, dates: {received: at}, subject: {email: mail}}
"""
)
RULE = "applies_to: forms, starting_point: received, delete_at_latest: 1 month, then: delete"


def with_policy(fields: str) -> str:
    return f"{BASE}policies:\n  p: {{{fields}}}\n"


@pytest.mark.parametrize("text", [DESIGN, RICH])
def test_the_examples_load(tmp_path: Path, text: str) -> None:
    """What the design writes, and every field of the grammar, loads without a finding."""
    found = loaded(tmp_path, policies=text)
    assert found.bundle is not None
    assert found.findings == ()


def test_a_mandate_fills_cutoff_and_minimum(tmp_path: Path) -> None:
    """The statute's closing point and period stand in the policy after loading."""
    found = loaded(tmp_path, policies=DESIGN)
    assert found.bundle is not None
    policy = found.bundle.policies["bookkeeping-five-years"]
    assert policy.cutoff is Cutoff.ACCOUNTING_YEAR
    assert policy.keep_at_least == Period(years=5)


def test_files_are_merged_in_order_and_hidden_ones_skipped(tmp_path: Path) -> None:
    """Every *.yaml and *.yml below the folder counts, sorted; what starts with a dot does not."""
    (tmp_path / "b").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "x.yaml").write_text("nonsense: [")
    (tmp_path / ".draft.yaml").write_text("nonsense: [")
    (tmp_path / "notes.txt").write_text("nonsense: [")
    (tmp_path / "b" / "systems.yml").write_text("systems: {s: {connector: sql}}")
    (tmp_path / "a.yaml").write_text(ORGANISATION)
    found = load(tmp_path)
    assert [p.relative_to(tmp_path).as_posix() for p in found.files] == ["a.yaml", "b/systems.yml"]
    assert found.bundle is not None
    assert list(found.bundle.systems) == ["s"]


def test_a_link_that_leaves_the_folder_is_not_followed(tmp_path: Path) -> None:
    """Nobody can make the service read files elsewhere; a link inside is read once."""
    folder = tmp_path / "policies"
    folder.mkdir()
    (tmp_path / "outside.yaml").write_text("systems: {stolen: {connector: sql}}")
    (folder / "away.yaml").symlink_to(tmp_path / "outside.yaml")
    (folder / "real.yaml").write_text(ORGANISATION)
    (folder / "zlink.yaml").symlink_to(folder / "real.yaml")
    found = load(folder)
    assert codes(found) == ["skipped-link"]
    assert found.bundle is not None
    assert not found.bundle.systems


def test_a_missing_folder_and_an_empty_one_are_errors(tmp_path: Path) -> None:
    """No files never means "nothing to keep"."""
    assert "no-folder" in codes(load(tmp_path / "nowhere"))
    assert "no-files" in codes(load(tmp_path))
    assert load(tmp_path).bundle is None


def test_a_file_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    """With its line, and without its text."""
    (tmp_path / "a.yaml").write_bytes(b"a: 1\nb: \xff\n")
    found = load(tmp_path)
    assert (found.findings[0].code, found.findings[0].line) == ("no-organisation", 0)
    assert [(f.code, f.line) for f in found.findings][1:] == [("unreadable", 2)]


P = "applies_to: forms, then: keep"
M = "applies_to: forms, then: review, mandate"
SYSTEM = ORGANISATION + "systems: {a: {connector: x, "
CASES: dict[str, tuple[str, str]] = {
    # name: code, file; the mark ¦ stands where the finding must point, and is taken out
    "syntax": ("yaml", ORGANISATION + "systems: [1\n¦"),
    "tab": ("yaml", ORGANISATION + "systems:\n¦\ta: 1\n"),
    "same key": ("duplicate-key", ORGANISATION + "systems: {a: {connector: x, ¦connector: y}}"),
    "same name": ("duplicate-key", ORGANISATION + "systems: {a: {connector: x}, ¦a: {}}"),
    "merge key": ("yaml", ORGANISATION + "systems: {¦<<: {a: {connector: x}}}"),
    "tag": ("tag", ORGANISATION + "systems: {a: ¦!!python/object {}}"),
    "deep": ("too-deep", "a: " + "[" * (DEEPEST - 1) + "¦[" + "]" * DEEPEST),
    "alias": ("alias", ORGANISATION + "systems: ¦*nothing"),
    "unknown section": ("unknown-field", ORGANISATION + "¦sytems: {}"),
    "section without value": ("empty-value", ORGANISATION + "¦systems:"),
    "section as list": ("wrong-type", ORGANISATION + "systems: ¦[a]"),
    "list at the top": ("wrong-type", "¦- a"),
    "unknown field": ("unknown-field", with_policy(RULE + ", ¦shedule: x")),
    "missing field": ("missing-field", with_policy("¦applies_to: forms").replace("{¦", "¦{")),
    "wrong type": ("wrong-type", with_policy(RULE + ", title: ¦[x]")),
    "wrong type inside": ("wrong-type", with_policy("applies_to: [forms, ¦5], then: keep")),
    "wrong word": ("invalid-value", with_policy(RULE + ", approval: ¦never")),
    "two starts": ("invalid-value", with_policy(P + ", starting_point: ¦{date: a, event: b}")),
    "not fields": ("wrong-type", BASE + "policies:\n  p: ¦delete\n"),
    "nothing": ("empty-value", BASE + "policies:\n  ¦p:\n"),
    "empty key": ("empty-value", with_policy(RULE + ", ¦limits: ")),
    "empty entry": ("empty-value", with_policy(RULE + ", fields: [a, ¦~]")),
    "bad name": ("bad-name", ORGANISATION + "systems: {¦a/b: {connector: x}}"),
    "bad location name": ("bad-name", BASE.replace("inbox:", "¦in box:")),
    "applies to nothing": ("empty-selector", with_policy("applies_to: ¦[], then: keep")),
    "applies to empty": ("empty-selector", with_policy("applies_to: [forms, ¦''], then: keep")),
    "empty where": ("empty-selector", with_policy(RULE + ", ¦where: {}")),
    "where without value": ("empty-selector", with_policy(RULE + ", ¦where: ")),
    "empty list": ("empty-selector", with_policy(RULE + ", where: {¦status: []}")),
    "empty in": ("empty-selector", with_policy(RULE + ", where: {status: {¦in: []}}")),
    "empty where there": ("empty-selector", BASE.replace("key: id", "key: id, ¦where: {}")),
    "bad where": ("bad-where", with_policy(RULE + ", where: {status: {¦lik: x}}")),
    "null in where": ("bad-where", with_policy(RULE + ", where: {¦status: null}")),
    "runaway": ("bad-where", with_policy(RULE + ", where: {status: {¦matches: '(a+)+'}}")),
    "zero": ("bad-period", with_policy(P + ", keep_at_least: ¦0 days")),
    "vague": ("bad-period", with_policy(P + ", keep_at_least: ¦a certain time")),
    "number as period": ("bad-period", with_policy(P + ", keep_at_least: ¦30")),
    "no limit": ("bad-limit", with_policy(RULE + ", limits: ¦{}")),
    "share above all": ("bad-limit", with_policy(RULE + ", limits: {share: ¦120%}")),
    "password": ("secret-in-file", SYSTEM + "password: ¦hunter2}}"),
    "number as password": ("secret-in-file", SYSTEM + "password: ¦12345}}"),
    "nested": ("secret-in-file", SYSTEM + "oauth: {client_secret: ¦hunter2}}}"),
    "in url": ("secret-in-file", SYSTEM + "url: ¦'sql://me:hunter2@h/d'}}"),
    "in query": ("secret-in-file", SYSTEM + "url: ¦'http://h/d?token=hunter2'}}"),
    "in a list": ("secret-in-file", SYSTEM + "hosts: [¦'imap://me:hunter2@h']}}"),
    "two places": ("secret-in-file", SYSTEM + "password: ¦{env: A, file: B}}}"),
    "zone": ("unknown-timezone", "organisation: {name: X, country: NO, timezone: ¦Europe/Olso}"),
    "year end": ("bad-accounting-year", ORGANISATION.replace("}", ", accounting_year_ends: ¦2-3}")),
    "unknown system": ("unknown-system", BASE.replace("system: web,", "system: ¦wbe,")),
    "unknown cluster": ("unknown-target", with_policy("applies_to: ¦form, then: keep")),
    "unknown location": ("unknown-target", with_policy("applies_to: [¦forms/out], then: keep")),
    "unknown start": (
        "unknown-cluster",
        with_policy(P + ", starting_point: {date: ¦cust.ended, matched_on: email}"),
    ),
    "unknown start inside": (
        "unknown-cluster",
        with_policy(P + ", starting_point: {latest_of: [a, {date: ¦c.x, matched_on: email}]}"),
    ),
    "unknown policy": ("unknown-policy", with_policy(RULE + ", supersedes: [¦q]")),
    "itself": ("unknown-policy", with_policy(RULE + ", supersedes: ¦p")),
    "unknown mandate": ("unknown-mandate", with_policy(M + ": ¦no/bokforingslovn")),
    "mandate shorter": (
        "mandate-shorter",
        with_policy(M + ": no/bokforingsloven-13b, keep_at_least: ¦3 years"),
    ),
    "mandate cutoff": (
        "mandate-cutoff",
        with_policy(M + ": no/bokforingsloven-13b, cutoff: ¦month"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_mistake_has_its_code_and_place(tmp_path: Path, case: str) -> None:
    """Every mistake is found at its line and column, and nothing of such a folder is used."""
    code, marked = CASES[case]
    before, _, after = marked.partition("¦")
    found = loaded(tmp_path, policies=before + after)
    place = (before.count("\n") + 1, len(before.rpartition("\n")[2]) + 1)
    said = [(f.code, (f.line, f.col)) for f in found.findings]
    assert (code, place) in said, [str(f) for f in found.findings]
    assert found.bundle is None


@pytest.mark.parametrize("case", CASES)
def test_no_message_repeats_a_secret(tmp_path: Path, case: str) -> None:
    """A secret that stands in a file by mistake is not spread further by saying so."""
    found = loaded(tmp_path, policies=CASES[case][1].replace("¦", ""))
    assert not any("hunter2" in f"{f} {f.to_json()}" for f in found.findings)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    """One mistake never hides the next, across files and sections."""
    found = loaded(
        tmp_path,
        a="organisation: {name: X, country: no, timezone: Nowhere}",
        b="systems: {s: {conector: sql}}\nclusters: {c: {basis: wish}}",
        c="policies: {p: {applies_to: x, then: burn, keep_at_least: soon}}",
    )
    assert len([f for f in found.findings if f.severity is Severity.ERROR]) >= 6
    assert {Path(f.file).name for f in found.findings} == {"a.yaml", "b.yaml", "c.yaml"}


def test_a_name_defined_in_two_files_is_an_error(tmp_path: Path) -> None:
    """Neither file wins; the organisation may stand once only, too."""
    found = loaded(
        tmp_path,
        a=ORGANISATION + "systems: {s: {connector: sql}}",
        b=ORGANISATION + "systems: {s: {connector: imap}}",
    )
    assert codes(found) == ["duplicate-name", "duplicate-name"]
    assert all("a.yaml:" in f.message for f in found.findings)
    assert found.bundle is None


def test_supersedes_in_a_circle_is_an_error(tmp_path: Path) -> None:
    """Two rules that replace each other would both be gone."""
    text = f"{BASE}policies:\n  p: {{{RULE}, supersedes: q}}\n  q: {{{RULE}, supersedes: [p]}}\n"
    assert codes(loaded(tmp_path, policies=text)) == ["supersedes-circle", "supersedes-circle"]


def test_a_literal_url_without_password_is_no_secret(tmp_path: Path) -> None:
    """`sqlite:///x.db` and a user name may stand in a file; a location may map a token column."""
    text = BASE.replace("{env: DB}", "'postgresql://me@db.example.org/x'").replace(
        "table: t,", "table: t, fields: {token: token, password: pw},"
    )
    assert loaded(tmp_path, policies=text).findings == ()


def test_a_mistyped_word_gets_a_suggestion(tmp_path: Path) -> None:
    """Unknown fields and names say what may have been meant."""
    found = loaded(tmp_path, policies=with_policy(RULE + ", shedule: x, supersedes: pp"))
    assert found.findings[0].hint == "did you mean `schedule`?"


def test_yaml_1_2_words_are_text(tmp_path: Path) -> None:
    """NO is Norway, off is a word, 12-31 and dates are text, 0o and 1_000 are not guessed at."""
    (root,) = read("a: NO\nb: off\nc: 12-31\nd: 2025-06-30\ne: 1_000\nf: 12:30\nNO: y\n").roots
    assert plain(root) == {
        "a": "NO",
        "b": "off",
        "c": "12-31",
        "d": "2025-06-30",
        "e": "1_000",
        "f": "12:30",
        "NO": "y",
    }
    text = ORGANISATION.replace("}", ", accounting_year_ends: {ends: [2025-06-30], then: 06-30}}")
    found = loaded(tmp_path, policies=text)
    assert found.bundle is not None
    assert found.bundle.organisation.country == "NO"


def test_numbers_and_null_keep_their_yaml_meaning() -> None:
    """Only what YAML 1.2 calls a number is one; quotes always make text."""
    (root,) = read("[7, -1, 0x1F, 0o17, 1.5, 1e3, ~, null, true, 'true', '7', 1.2.3, +]").roots
    assert plain(root) == [7, -1, 31, 15, 1.5, 1000.0, None, None, True, "true", "7", "1.2.3", "+"]


def test_a_large_file_is_refused(tmp_path: Path) -> None:
    """One file may not make the service read without end."""
    (tmp_path / "a.yaml").write_text("#" + "x" * LARGEST_FILE)
    assert "too-large" in codes(load(tmp_path))
    assert read("#" + "x" * LARGEST_FILE).problems[0].code == "too-large"


def test_deep_nesting_is_refused() -> None:
    """Ten thousand brackets cost no recursion."""
    assert read("a: " + "[" * 10_000).problems[0].code == "too-deep"
    assert read("a: " + "[" * (DEEPEST - 1) + "]" * (DEEPEST - 1)).problems == []


def test_aliases_cannot_blow_a_file_up() -> None:
    """Nine lines that stand for a billion values are refused before they are followed."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert read("\n".join(lines)).problems[0].code == "alias"
    assert read("a: &a [*a]").problems[0].code == "alias"
    assert read("a: &a {b: 1}\nc: *a").problems == []


def test_several_documents_in_one_file_are_merged(tmp_path: Path) -> None:
    """`---` divides a file; an empty document is nothing."""
    found = loaded(tmp_path, policies=ORGANISATION + "---\nsystems: {s: {connector: sql}}\n---\n")
    assert found.bundle is not None
    assert list(found.bundle.systems) == ["s"]


def test_positions_lead_back_into_the_files(tmp_path: Path) -> None:
    """Every key and value is found again, and what is missing leads to what is around it."""
    found = loaded(tmp_path, policies=with_policy(RULE))
    at = found.positions
    line = with_policy(RULE).splitlines()[-1]
    assert at.key(("policies", "p", "then"))[2] == line.index("then") + 1
    assert at.value(("policies", "p", "then"))[2] == line.index("delete}") + 1
    assert at.key(("policies", "p", "schedule")) == at.key(("policies", "p"))
    assert at[("nothing",)].file == str(tmp_path)


def test_a_finding_reads_as_one_line(tmp_path: Path) -> None:
    """`file:line:col: what [code] (hint)`; and it knows its policy."""
    text = with_policy(RULE + ", shedule: x")
    found = loaded(tmp_path, policies=text).findings[0]
    line, col = len(text.splitlines()), text.splitlines()[-1].index("shedule") + 1
    assert str(found) == (
        f"{tmp_path / 'policies.yaml'}:{line}:{col}: there is no field `shedule` here "
        "[unknown-field] (did you mean `schedule`?)"
    )
    assert found.policy == "p"
    assert found.to_json()["path"] == ["policies", "p", "shedule"]
