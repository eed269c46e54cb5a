"""audit: the evidence can be read, proved, exported, and shows every change."""

from __future__ import annotations

import json

from tests.acceptance.shop import Shop


def worked(shop: Shop) -> Shop:
    """A shop with a run behind it."""
    shop.questions(1, 2, 50)
    shop("approve", "form-monthly")
    shop("run", "form-monthly")
    return shop


def test_list_prints_the_exact_lines(shop: Shop) -> None:
    """`audit list --json`: one line an entry, filtered by type, policy and day."""
    worked(shop)
    lines = shop("audit", "list", "--json").out.splitlines()
    entries = [json.loads(line) for line in lines]
    assert [e["seq"] for e in entries] == list(range(len(entries)))
    rows = [line.decode() for (line,) in shop.ledger("SELECT line FROM audit_entry ORDER BY seq")]
    assert rows == lines
    done = shop("audit", "list", "--type", "batch.*", "--policy", "form-monthly", "--json").out
    assert [json.loads(x)["type"] for x in done.splitlines()] == [
        *("batch.intended", "batch.done", "batch.verified")
    ]
    assert shop("audit", "list", "--since", "2090-01-01", "--json").out == ""
    assert "times in UTC" in shop("audit", "list").err
    shop("audit", "list", "--type", "nonsense", code=2)
    assert json.loads(shop("audit", "show", "0").out)["type"] == "log.opened"
    assert shop("audit", "show", "0", "--json").out.rstrip("\n") == lines[0]
    shop("audit", "show", "9999", code=2)


def test_verify_prints_its_contract(shop: Shop) -> None:
    """`{"ok", "size", "root", "problems"}` for the ledger and for an export alike."""
    worked(shop)
    shop("audit", "export", "out")
    for where in ((), ("out",)):
        found = shop("audit", "verify", *where, "--json").json
        assert found.keys() == {"ok", "size", "root", "problems"}
        assert (found["ok"], found["problems"]) == (True, [])
    shop("audit", "verify", "nowhere", code=2)
    shop("audit", "verify", "--against", "nowhere", code=2)


def test_a_changed_export_is_noticed(shop: Shop) -> None:
    """One edited letter: 1, and where."""
    worked(shop)
    shop("audit", "export", "out")
    path = shop.folder / "out" / "entries.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"disposed"', b'"verified"', 1))
    found = shop("audit", "verify", "out", "--json", code=1).json
    assert found["ok"] is False
    assert found["problems"]
    assert "NOT OK" in shop("audit", "verify", "out", code=1).out


def test_an_older_checkpoint_kept_elsewhere_fits(shop: Shop) -> None:
    """`checkpoint --out`, more work, `verify --against`; another log's does not fit."""
    worked(shop)
    shop("audit", "checkpoint", "--out", "kept")
    assert shop("audit", "checkpoint").out == (shop.folder / "kept").read_text(encoding="utf-8")
    shop.questions(60)
    shop("run", "form-monthly")
    shop("audit", "verify", "--against", "kept")
    shop("audit", "export", "out")
    shop("audit", "verify", "out", "--against", "kept")
    other = ("--home", "other")
    shop(*other, "plan", "--json")
    shop(*other, "audit", "verify", "--against", "kept", code=1)


def test_proofs_of_an_entry_and_of_a_record(shop: Shop) -> None:
    """By number, or by a record's key: its entries are found though the log holds no key."""
    worked(shop)
    proof = shop("audit", "proof", "2").json
    assert proof.keys() == {"index", "size", "hashes"}
    found = shop("audit", "proof", "--record", "enquiries/form", "3").json
    assert [json.loads(p["entry"])["type"] for p in found] == [
        *("batch.intended", "batch.done", "batch.verified")
    ]
    assert shop("audit", "proof", "--record", "enquiries/form", "1", code=1).json == []
    shop("audit", "proof", "--record", "nowhere", "1", code=2)
    shop("audit", "proof", code=2)
    shop("audit", "proof", "9999", code=2)


def test_nothing_is_disposed_of_over_a_changed_log(shop: Shop) -> None:
    """13 for the run, 1 for verify and doctor; the records stay."""
    worked(shop)
    shop.questions(60)
    shop.ledger("UPDATE audit_entry SET line = replace(line, 'system', 'systen') WHERE seq = 1")
    assert "does not fit" in shop("run", "form-monthly", code=13).err
    shop("daemon", "--once", code=13)
    assert len(shop.ids()) == 3
    assert shop("audit", "verify", "--json", code=1).json["ok"] is False
    checks = shop("doctor", "--json", code=1).json
    assert [c["ok"] for c in checks if (c["where"], c["check"]) == ("log", "integrity")] == [False]


def test_the_log_is_there_without_policies(shop: Shop) -> None:
    """Evidence outlives the files: list, verify and export work when they are gone."""
    worked(shop)
    shop.policies.unlink()
    shop("audit", "verify")
    shop("audit", "list")
    shop("audit", "export", "out")
    shop("--home", "empty", "audit", "export", "out2", code=2)
