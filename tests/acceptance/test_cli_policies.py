"""validate, schema, compile, diff, init: the policy files and nothing else."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.acceptance.shop import Shop


def test_validate_finds_everything_at_once_in_every_form(shop: Shop) -> None:
    """1 where there are errors, each with file:line:col and a code; json, sarif, github too."""
    shop.change("delete_at_latest: 1 month", "delete_at_latest: 1 mnth")
    shop.change("applies_to: letters", "applies_to: leters")
    text = shop("validate", code=1).out
    assert text.count(": error: ") >= 2
    assert "policies/shop.yaml:" in text
    findings = shop("validate", "--format", "json", code=1).json
    assert {"file", "line", "col", "severity", "code", "message", "hint"} <= findings[0].keys()
    assert shop("validate", "--json", code=1).json == findings
    sarif = shop("validate", "--format", "sarif", code=1).json
    assert sarif["version"] == "2.1.0"
    assert shop("validate", "--format", "github", code=1).out.startswith("::")
    shop("validate", "--format", "xml", code=2)


def test_validate_takes_a_folder_and_ends_with_0_on_warnings(shop: Shop) -> None:
    """A folder by argument wins over the settings; warnings alone are no failure."""
    shop("validate", "policies")
    assert "no such folder" in shop("validate", "elsewhere", code=1).out
    shop("--policies", "elsewhere", "validate", code=1)
    shop("validate", "--policies", "elsewhere", code=1)
    shop("--policies", "elsewhere", "validate", "policies")


def test_broken_yaml_is_one_clear_error_for_every_command(shop: Shop) -> None:
    """A file that is no YAML: 1, its place, one line; nothing runs."""
    shop.write("organisation: {name: X\npolicies:\n")
    for command in (("plan",), ("status",), ("run", "form-monthly"), ("compile",)):
        ended = shop(*command, code=1)
        assert "shop.yaml:" in ended.err
        assert ended.err.startswith("error: ")


def test_a_broken_policy_does_not_run_and_is_named(shop: Shop) -> None:
    """Its neighbours for other records go on; plan ends with 1, run with 2."""
    shop.questions(1, 2, 50)
    shop.change("starting_point: {event: consent_withdrawn}", "starting_point: {evnt: x}")
    ended = shop("plan", "--json", code=1)
    assert "letters-consent" in ended.err
    assert [i["key"] for i in ended.json["items"]] == ["3"]
    shop("plan", "letters-consent", code=1)
    shop("run", "letters-consent", code=2)


def test_schema_is_json_schema(shop: Shop) -> None:
    """The whole file's schema, or one part; an unknown part is a usage error."""
    assert shop("schema").json["$schema"].startswith("https://json-schema.org/")
    assert shop("schema", "policy").json["title"] == "policy"
    assert "did you mean" in shop("schema", "polcy", code=2).err


def test_compile_prints_its_contract(shop: Shop) -> None:
    """`compile --json` has exactly the documented fields; a table and a crontab for people."""
    rows = shop("compile", "--json").json
    assert [row["policy"] for row in rows] == ["form-monthly", "letters-consent"]
    for row in rows:
        assert row.keys() == {
            *("policy", "digest", "cron", "timezone", "next", "worst_case_age_days")
        }
    assert (rows[0]["cron"], rows[0]["worst_case_age_days"]) == ("0 3 * * *", 31)
    assert shop("compile", "--format", "json").json == rows
    assert "0 3 * * * retention run form-monthly" in shop("compile", "--format", "crontab").out
    shop.change("delete_at_latest: 1 month", "delete_at_latest: 6 months")
    shop.change('"0 3 * * *"', '{last_of: ["every 3 months", "0 3 1 1,4,7,10 *"]}')
    table = shop("compile").out
    assert "per record: 92 days" in table
    assert "first fire on or after: 183 days" in table
    assert all("readings" not in row for row in shop("compile", "--json").json)


def _git(folder: Path, *command: str) -> None:
    name = ("-c", "user.name=Tester", "-c", "user.email=tester@example.org")
    subprocess.run(("git", *name, *command), cwd=folder, check=True, capture_output=True)


def test_diff_says_what_changes_for_whom(shop: Shop) -> None:
    """Between revisions of git, or one and the files as they are; 8 only with --exit-code."""
    _git(shop.folder, "init", "-q")
    _git(shop.folder, "add", "policies")
    _git(shop.folder, "commit", "-qm", "first")
    assert "nothing changes" in shop("diff", "HEAD", "--exit-code").err
    shop.change("delete_at_latest: 1 month", "delete_at_latest: 2 weeks")
    changes = shop("diff", "HEAD", "--json").json
    assert [(c["policy"], c["kind"]) for c in changes] == [("form-monthly", "weakening")]
    text = shop("diff", "HEAD", "--exit-code", code=8).out
    assert "enquirers" in text
    assert "weakening" in text
    _git(shop.folder, "commit", "-qam", "second")
    shop("diff", "HEAD~1", "HEAD", "--exit-code", code=8)
    assert "no revision `v9`" in shop("diff", "v9", code=2).err
    shop("diff", "--", "--output=x", code=2)
    shop.write("organisation: 1\n")
    assert "do not load" in shop("diff", "HEAD", code=1).err


def test_init_makes_a_folder_that_runs_as_it_is(shop: Shop) -> None:
    """init, validate, plan, approve, run: without a finding and without anything else."""
    shop("init", "fresh")
    inside = ("--policies", "fresh/policies")
    assert shop(*inside, "validate").out == "no findings\n"
    assert shop(*inside, "plan", "--json").json["totals"]["delete"] == 4
    shop(*inside, "approve", "contact-form-monthly")
    shop(*inside, "run", "contact-form-monthly")
    assert (shop.folder / "fresh" / ".retention").is_dir()


def test_init_overwrites_nothing(shop: Shop) -> None:
    """A file that is there stays as it is, and nothing is written beside it."""
    (shop.folder / "README.md").write_text("mine", encoding="utf-8")
    assert "nothing is overwritten" in shop("init", code=2).err
    assert (shop.folder / "README.md").read_text(encoding="utf-8") == "mine"
    assert not (shop.folder / "data").exists()


def test_json_errors_of_compile_are_json(shop: Shop) -> None:
    """`--format json` counts as asking for JSON."""
    shop.write("organisation: [")
    ended = shop("compile", "--format", "json", code=1)
    assert json.loads(ended.err.splitlines()[-1])["error"]["code"] == "yaml"
