"""Every finding that loading and checking policy files can make: the one table of codes.

A code is a contract: it stands in CI configurations and in the documentation, so it is never
renamed. `Severity` here is the only place that decides whether a finding stops a policy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from retention.policy.findings import Finding, Path, Place, Severity


class Code(NamedTuple):
    """What a code means in one line, and what usually helps."""

    severity: Severity
    meaning: str
    hint: str


_E, _W, _I = Severity.ERROR, Severity.WARNING, Severity.INFO

READING: Mapping[str, Code] = {
    "no-folder": Code(_E, "the policy folder does not exist", "run `retention init`"),
    "no-files": Code(_E, "the folder holds no *.yaml", "run `retention init`"),
    "unreadable": Code(_E, "a file cannot be read or is not UTF-8", "check rights and encoding"),
    "skipped-link": Code(_W, "a link that leaves the folder is not followed", "copy the file here"),
    "too-large": Code(_E, "a file is too large", "split it"),
    "too-deep": Code(_E, "a file is nested too deeply", "write it flatter"),
    "alias": Code(_E, "an alias that is broken, or too many values", "write the value out"),
    "tag": Code(_E, "a YAML tag", "remove the word that starts with `!`"),
    "yaml": Code(_E, "a file is no YAML", "look at the line before it too"),
    "duplicate-key": Code(_E, "a key stands twice in one mapping", "remove one of them"),
    "duplicate-name": Code(_E, "a name is defined twice", "rename or remove one of them"),
}
"""Found while files are read and merged."""

FORM: Mapping[str, Code] = {
    "unknown-field": Code(_E, "a field that does not exist", "see `retention schema`"),
    "missing-field": Code(_E, "a field that is needed is missing", "see `retention schema`"),
    "wrong-type": Code(_E, "a value of the wrong type", "see `retention schema`"),
    "invalid-value": Code(_E, "a value that is not allowed", "see `retention schema`"),
    "empty-value": Code(_E, "a key without a value", "give a value, or remove the key"),
    "empty-selector": Code(
        _E, "a selector that selects nothing, which never means everything", "say what it selects"
    ),
    "bad-name": Code(
        _E, "a name with signs that names cannot have", "use letters, digits, `-` and `_`"
    ),
    "bad-period": Code(_E, "not a period, or a period of zero", "e.g. `1 month`, `5 years`, `P1M`"),
    "bad-limit": Code(_E, "a limit that limits nothing", "e.g. {records: 1000, share: 20%}"),
    "bad-where": Code(_E, "a filter that cannot be understood", "e.g. {status: [ended, lost]}"),
    "bad-accounting-year": Code(_E, "not a year end", "MM-DD, or {ends: […], then: MM-DD}"),
    "unknown-timezone": Code(_E, "no such time zone", "an IANA name, e.g. Europe/Oslo"),
    "secret-in-file": Code(
        _E, "a secret stands in a file", "say {env: NAME} or {file: PATH}, and change the secret"
    ),
    "no-organisation": Code(
        _E, "no file says who the organisation is", "add organisation: {name, country, timezone}"
    ),
}
"""Found while what files say is compared with the grammar."""

REFERENCES: Mapping[str, Code] = {
    "unknown-system": Code(_E, "a system that no file defines", "define it under `systems`"),
    "unknown-target": Code(
        _E, "applies_to names no cluster or location", 'say cluster, cluster/location or "*"'
    ),
    "unknown-cluster": Code(
        _E, "a starting point in a cluster that no file defines", "say cluster.date"
    ),
    "unknown-copy-target": Code(
        _E, "copy_to names no location", "say cluster/location of these files"
    ),
    "unknown-policy": Code(_E, "supersedes names no other policy", "name a policy of these files"),
    "supersedes-circle": Code(_E, "policies that supersede each other", "remove one of them"),
    "unknown-mandate": Code(
        _E, "a mandate that is not in the catalogue", "see docs/reference/statutes.md"
    ),
    "mandate-shorter": Code(_E, "a minimum shorter than its statute", "leave keep_at_least out"),
    "mandate-cutoff": Code(_E, "a closing point other than the statute's", "leave cutoff out"),
}
"""Found while names are looked up."""

PERIODS: Mapping[str, Code] = {
    "minimum-above-maximum": Code(
        _E, "a record would have to go before it may", "shorten one or lengthen the other"
    ),
    "minimum-may-pass-maximum": Code(
        _W, "on some days the minimum ends after the maximum", "write both in the same unit"
    ),
    "minimum-is-maximum": Code(
        _I,
        "a maximum that is also the statute's minimum",
        "it goes right after the minimum; `up to` is the wrong word for that in a statement",
    ),
    "no-period": Code(
        _E, "a destructive policy with neither minimum nor maximum", "add delete_at_latest"
    ),
    "no-start": Code(
        _E, "a period that counts from nothing", "add starting_point: a date, or {event: …}"
    ),
    "no-maximum": Code(_W, "a minimum without a maximum: when does it go?", "add delete_at_latest"),
    "keep-with-maximum": Code(_E, "`keep` with a maximum", "say `then: delete`, or remove it"),
    "keep-without-minimum": Code(_W, "kept for as long as the rule stands", "add keep_at_least"),
    "unenforced": Code(_E, "a field that this policy cannot enforce", "remove it"),
    "moves-for-ever": Code(_W, "a start that can move for ever", "add `backstop: 5 years`"),
}
"""Found about periods and starting points."""

SCOPE: Mapping[str, Code] = {
    "no-policy": Code(_W, "a location that no policy deletes from", "no period is a breach itself"),
    "no-location": Code(_E, "a policy that applies to no location", "add locations to the cluster"),
    "missing-date": Code(_E, "a date that a location does not have", "map it under `dates`"),
    "missing-key": Code(
        _E, "a subject key that one side does not have", "map it under `subject` on both sides"
    ),
    "missing-subject": Code(
        _E, "something about a person decides, but no person is known", "map `subject`"
    ),
    "unknown-record-field": Code(_E, "a field that a location does not map", "map it: `fields`"),
    "unmapped-record-field": Code(
        _W, "a field taken as the system's own name, which nobody checked", "map it: `fields`"
    ),
    "no-basis": Code(_I, "a cluster without a legal basis", "add `basis`"),
    "always-outranked": Code(_W, "another policy always decides instead", "remove or narrow it"),
    "consent-with-minimum": Code(
        _E, "consent cannot carry a minimum", "give the minimum its own purpose and basis"
    ),
    "mixed-bases": Code(
        _W, "one purpose on several legal bases", "give each basis a purpose of its own"
    ),
    "copies-unmatched": Code(
        _W, "a location without the key that copies are matched on", "map it under `subject`"
    ),
    "unused-suppress": Code(_E, "suppress names no subject key", "map it under `subject`"),
}
"""Found about which records a policy reaches."""

LAW: Mapping[str, Code] = {
    "mandate-superseded": Code(_E, "the statute was replaced by another", "name the new one"),
    "mandate-unverified": Code(_W, "nobody checked this statute against its text", "check it"),
    "mandate-country": Code(_W, "a statute of another country", "is it the law that applies?"),
    "review-without-reviewer": Code(_W, "a review that nobody is named for", "add review: {by: …}"),
    "approval-none": Code(_W, "disposes without anyone's approval", "say `approval: change`"),
    "unknown-country": Code(
        _W, "no known country; weekends only move deadlines", "ISO 3166, e.g. NO"
    ),
}
"""Found about mandates, reviewers and the organisation."""

CONNECTORS: Mapping[str, Code] = {
    "connector-unknown": Code(_E, "no such connector", "see docs/reference/connectors"),
    "connector-broken": Code(_E, "a connector that does not load", "install what it needs"),
    "connector-setting": Code(_E, "a connector's own field is wrong", "see the connector's page"),
    "cannot-act": Code(_E, "an action that the connector cannot do", "choose another `then`"),
    "connector-not-available": Code(
        _E, "a connector that this version does not have", "the policies that use it do not run"
    ),
    "no-bin": Code(_W, "grace, but the system has no bin", "it deletes at once there"),
    "copy-into-itself": Code(
        _E, "records would be copied into a place that the policy empties", "name another location"
    ),
    "unknown-copy-value": Code(
        _E, "a value to copy that a location does not have", "a date, a field or a subject key"
    ),
    "bad-mask": Code(_E, "a replacement that is not a plain value", "null, text or a number"),
    "cannot-hand-over-fields": Code(_E, "single fields cannot be handed over", "remove `fields`"),
}
"""Found about systems and what their connectors can do."""

SCHEDULES: Mapping[str, Code] = {
    "bad-cron": Code(_E, "not a schedule that cron can run", "five fields, or @daily"),
    "bad-schedule": Code(
        _E, "not a schedule", "cron, `every 3 months`, on_event or {last_of: […]}"
    ),
    "both-day-fields": Code(
        _E, "day of month with day of week: cron means or", "say `both_day_fields: true` if meant"
    ),
    "never-fires": Code(_E, "a schedule that never fires", "name a day that exists"),
    "timezone": Code(_E, "no such time zone", "an IANA name, e.g. Europe/Oslo"),
    "cadence-too-slow": Code(
        _E, "a cadence that cannot meet the maximum", "let it run more often, or promise longer"
    ),
    "day-missing-in-some-months": Code(_W, "a day that some months lack", "write `L`"),
    "worst-case-age": Code(_I, "how old a record can get", ""),
}
"""Found by the schedule and carried here by its facts."""

CODES: Mapping[str, Code] = {
    **READING,
    **FORM,
    **REFERENCES,
    **PERIODS,
    **SCOPE,
    **LAW,
    **CONNECTORS,
    **SCHEDULES,
}


def finding(code: str, place: Place, message: str, path: Path = (), hint: str = "") -> Finding:
    """A finding of that code; its severity, and its hint where none is given, from the table."""
    known = CODES[code]
    return Finding(*place, known.severity, code, message, hint or known.hint, path)
