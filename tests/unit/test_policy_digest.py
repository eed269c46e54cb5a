"""A digest changes with whatever decides, and with nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from retention.policy.digest import digest, extract, from_json, to_json
from retention.policy.load import load
from tests.unit.policy_samples import DESIGN, RICH, bundle

RULES = [
    (DESIGN, "contact-form-monthly"),
    (DESIGN, "mail-quarterly"),
    (DESIGN, "bookkeeping-five-years"),
    (DESIGN, "newsletter-consent"),
    (RICH, "orders-thin"),
    (RICH, "orders-away"),
    (RICH, "orders-note"),
    (RICH, "orders-claims"),
]


@pytest.mark.parametrize(("text", "name"), RULES)
def test_an_extract_stands_alone(tmp_path: Path, text: str, name: str) -> None:
    """What an approval stores decides as the whole did, after JSON too."""
    whole = bundle(tmp_path, text)
    part = extract(whole, name)
    again = from_json(json.loads(json.dumps(to_json(part))))
    assert again == part
    assert digest(whole, name) == digest(part, name) == digest(again, name)
    assert again.locations_of(again.policies[name]) == whole.locations_of(whole.policies[name])
    assert digest(whole, name).startswith("sha256:")


@pytest.mark.parametrize("text", [DESIGN, RICH])
def test_a_bundle_survives_json(tmp_path: Path, text: str) -> None:
    """Nothing is lost or invented on the way through JSON."""
    whole = bundle(tmp_path, text)
    assert from_json(json.loads(json.dumps(to_json(whole)))) == whole


COSMETIC = [
    ("title: Invoices are kept five years after the accounting year", "title: Something else"),
    ("name: Fjordro Coaching", "name: Fjordro Coaching AS"),
    ("by: accountant@example.org", "by: auditor@example.org"),
    ("then: review", "then: review\n    owner: me\n    source: a page\n    law: a law"),
    (
        "  invoices:\n    basis",
        "  invoices:\n    title: Bills\n    law: x\n    data: [a]\n    basis",
    ),
    ("website:  {connector: sql,", "website:  {connector: sql, title: Site, rate: 4/s,"),
    ("table: contact_form", "table: another_form"),
    ("applies_to: invoices", "applies_to: [invoices]"),
    ("starting_point: invoice_date", "starting_point: {date: invoice_date}"),
    (
        "mandate: no/bokforingsloven-13-primary",
        "mandate: no/bokforingsloven-13-primary\n    keep_at_least: P5Y",
    ),
    ("then: review", "then: review\n    cutoff: accounting_year"),
    ('schedule: "0 9 1 8 *"', 'schedule: "0 9 1 8 *"\n    approval: change\n    cap: false'),
]


@pytest.mark.parametrize(("before", "after"), COSMETIC)
def test_wording_needs_no_new_approval(tmp_path: Path, before: str, after: str) -> None:
    """Titles, owners, sources, names of reviewers, other policies' parts, and said defaults."""
    whole = DESIGN
    changed = whole.replace(before, after)
    assert changed != whole
    (tmp_path / "new").mkdir()
    name = "bookkeeping-five-years"
    assert digest(bundle(tmp_path, changed), name) == digest(bundle(tmp_path, whole), name)


DECIDING = [
    ("starting_point: invoice_date", "starting_point: {event: contract_ended}"),
    ("mandate: no/bokforingsloven-13-primary", "mandate: no/regnskapsforerloven-5-3"),
    ("then: review", "then: delete"),
    ('"0 9 1 8 *"', '"0 9 1 9 *"'),
    ("within: 31 days", "within: 30 days"),
    ("table: invoices", "table: bills"),
    ("dates: {invoice_date: dated}", "dates: {invoice_date: created}"),
    ("{file: /run/secrets/accounts_db}", "{file: /run/secrets/other_db}"),
    ("basis: legal_obligation", "basis: contract"),
    ("country: NO", "country: SE"),
    ("timezone: Europe/Oslo", "timezone: UTC"),
    ("accounting_year_ends: 12-31", "accounting_year_ends: 06-30"),
    ("accounting_year_ends: 12-31", "accounting_year_ends: 12-31, limits: {records: 5}"),
    ("key: id\n        dates: {inv", "key: id\n        where: {paid: true}\n        dates: {inv"),
    ("applies_to: invoices", "applies_to: [invoices, customers]"),
]


@pytest.mark.parametrize(("before", "after"), DECIDING)
def test_whatever_decides_asks_again(tmp_path: Path, before: str, after: str) -> None:
    """Place, period, start, action, schedule, basis, zone, year end, limits."""
    changed = DESIGN.replace(before, after)
    assert changed != DESIGN
    name = "bookkeeping-five-years"
    assert digest(bundle(tmp_path, changed), name) != digest(bundle(tmp_path, DESIGN), name)


def test_a_linked_cluster_decides_too(tmp_path: Path) -> None:
    """The customers' end date starts the clock of their mail, so its place is part of the rule."""
    changed = DESIGN.replace("ended: ended_on", "ended: closed_on")
    name = "mail-quarterly"
    assert digest(bundle(tmp_path, changed), name) != digest(bundle(tmp_path, DESIGN), name)
    assert set(extract(bundle(tmp_path, DESIGN), name).clusters) == {"customers", "correspondence"}


def test_the_order_of_the_files_does_not_matter(tmp_path: Path) -> None:
    """The same rules in other files and another order are the same rules."""
    organisation, rest = DESIGN.split("systems:", 1)
    systems, rest = rest.split("clusters:", 1)
    clusters, policies = rest.split("policies:", 1)
    (tmp_path / "new").mkdir()
    parts = {"a": "policies:" + policies, "b": "clusters:" + clusters, "c": "systems:" + systems}
    for name, text in {**parts, "d": organisation}.items():
        (tmp_path / "new" / f"{name}.yaml").write_text(text)
    split = load(tmp_path / "new").bundle
    assert split is not None
    whole = bundle(tmp_path, DESIGN)
    assert {n: digest(split, n) for n in split.policies} == {
        n: digest(whole, n) for n in whole.policies
    }


def test_a_digest_never_rests_on_a_password() -> None:
    """Even where a bundle made elsewhere holds one, it does not enter the digest."""
    data = {
        "organisation": {"name": "X", "country": "NO", "timezone": "UTC"},
        "systems": {"s": {"connector": "sql", "url": "postgresql://me:one@h/d", "big": 2**60}},
        "clusters": {"c": {"locations": {"l": {"system": "s"}}}},
        "policies": {"p": {"applies_to": "c", "then": "review"}},
    }
    one = from_json(data)
    data["systems"]["s"]["url"] = "postgresql://me:two@h/d"  # type: ignore[index] # plain JSON
    assert digest(one, "p") == digest(from_json(data), "p")
