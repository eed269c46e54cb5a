"""The types of entries, and the one way to write an entry as a line.

A line is canonical JSON (RFC 8785) without its newline. What is not in the table is refused, and
so is any text that holds an "@" (except the actor's account): no audit, no act, and never an
address in the log.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

from retention.audit.facts import COMMON, FACTS
from retention.errors import AuditUnwritable
from retention.ledger.store import stamp

MAX_LINE = 65_535
VERSION = 1


@dataclass(frozen=True, slots=True)
class EntryType:
    """What a type means, the facts it must have and those it may have."""

    meaning: str
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry to be appended. Facts that are None are left out; aware instants are stamped."""

    type: str
    actor: str
    policy: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


_BATCH = ("policy", "digest", "run", "system", "location", "action", "records")
_BATCH_MAY = ("commit", "firing", "because", "batch", "attempt", "kind", "findings", "count")

TYPES: dict[str, EntryType] = {
    "log.opened": EntryType(
        "a log begins; it names the log of the year before and its last root",
        ("log", "vkey"),
        ("previous", "previous_size", "previous_root"),
    ),
    "policies.loaded": EntryType(
        "the policy files were read and differ from those known before",
        ("count",),
        ("commit", "digest", "added", "changed", "removed", "findings"),
    ),
    "policy.approved": EntryType(
        "a person let this version of a policy act",
        ("policy", "digest"),
        ("commit", "plan", "previous", "kind", "counts", "run"),
    ),
    "policy.weakening_refused": EntryType(
        "a change that protects less was not put in force",
        ("policy", "digest"),
        ("commit", "previous", "because"),
    ),
    "firing.missed": EntryType(
        "a due moment passed while nothing ran",
        ("policy", "firing"),
        ("digest", "because", "count", "run", "until", "kind"),
    ),
    "run.planned": EntryType(
        "a run has decided every record",
        ("policy", "digest", "run"),
        (
            *("firing", "commit", "counts", "kind", "late", "plan", "locations", "findings"),
            *("because", "holds", "state"),
        ),
    ),
    "run.stopped": EntryType(
        "a run ended before its first act, or between two batches",
        ("policy", "run", "because"),
        ("digest", "commit", "firing", "counts", "kind", "location", "system", "state"),
    ),
    "batch.intended": EntryType(
        "these records are about to be acted upon", _BATCH, (*_BATCH_MAY, "plan", "into")
    ),
    "batch.done": EntryType(
        "what the system answered, records with the same outcome together",
        (*_BATCH, "outcome"),
        (*_BATCH_MAY, "until"),
    ),
    "batch.verified": EntryType(
        "what a second look found, records with the same finding together",
        (*_BATCH, "outcome"),
        (*_BATCH_MAY, "proof", "until"),
    ),
    "run.finished": EntryType(
        "a run ended",
        ("policy", "run", "state"),
        ("digest", "commit", "firing", "counts", "kind", "late", "because", "findings"),
    ),
    "alarm.raised": EntryType(
        "something needs a person",
        ("kind",),
        ("policy", "run", "system", "location", "because", "count", "since", "firing", "records"),
    ),
    "hold.added": EntryType(
        "disposal of what matches is suspended",
        ("hold",),
        ("case", "scope", "subject", "cluster", "location", "record", "review_by"),
    ),
    "hold.released": EntryType(
        "a hold ended",
        ("hold",),
        ("case", "scope", "subject", "cluster", "location", "record", "grace_until"),
    ),
    "event.fired": EntryType(
        "an event of a person happened",
        ("event",),
        ("subject", "scope", "cluster", "happened"),
    ),
    "event.revoked": EntryType(
        "an event was recorded in error",
        ("event",),
        ("subject", "scope", "cluster", "happened"),
    ),
    "consent.given": EntryType(
        "a person consented to a purpose",
        ("subject", "purpose"),
        ("happened", "scope", "kind"),
    ),
    "consent.withdrawn": EntryType(
        "a person withdrew consent, or objected",
        ("subject", "purpose"),
        ("happened", "scope", "kind"),
    ),
    "request.*": EntryType(
        "a request of a person took a step: opened, verified, extended, exported, closed, …",
        ("request",),
        (
            *("subject", "subjects", "kind", "state", "deadline", "outcome", "because", "counts"),
            *("count", "records", "system", "location", "policies", "happened"),
        ),
    ),
    "task.*": EntryType(
        "work for a person took a step: opened, done, failed, …",
        ("task",),
        (
            *("policy", "digest", "run", "batch", "system", "location", "kind", "outcome"),
            *("because", "deadline", "evidence", "records", "count", "state", "action"),
        ),
    ),
    "suppression.added": EntryType(
        "contact keys must not be contacted or imported again",
        ("scope",),
        ("subject", "subjects", "count", "policy", "run", "request"),
    ),
    "freeze": EntryType("every disposal stops", (), ("freeze", "kind")),
    "thaw": EntryType("disposal goes on", (), ("freeze", "kind")),
    "restore.replayed": EntryType(
        "records that came back with a backup were disposed of again",
        ("since",),
        ("counts", "count", "system", "location", "locations", "records", "policy", "run"),
    ),
    "review.signed_off": EntryType(
        "a person has looked at the log, or at records under review",
        (),
        (
            *("log", "size", "root", "since", "until", "policy", "digest", "run", "location"),
            *("system", "records", "outcome", "count", "task"),
        ),
    ),
    "key.rotated": EntryType("checkpoints are signed by a new key", ("vkey", "previous"), ()),
    "log.closed": EntryType(
        "the last entry of a log; it names the log that follows and its key",
        ("next", "next_vkey"),
        (),
    ),
    "log.dropped": EntryType(
        "a closed log's own period ended; its entries and its pseudonym key are gone",
        ("log", "size", "root"),
        ("because",),
    ),
}


def type_of(name: str) -> EntryType | None:
    """The table's row for a type, families such as `request.*` included; None if unknown."""
    found = TYPES.get(name)
    if found is None and re.fullmatch(r"[a-z_]{1,16}\.[a-z_]{1,15}", name):
        found = TYPES.get(f"{name.partition('.')[0]}.*")
    return None if name.endswith("*") else found


@lru_cache(maxsize=256)
def grammar(name: str) -> re.Pattern[bytes] | None:
    """The pattern that every line of a type matches whole; group 1 is seq. None if unknown.

    Keys stand in the order of RFC 8785 (all are ASCII); a key cannot be there twice.
    """
    row = type_of(name)
    if row is None:
        return None
    kinds = {key: kind for key, (kind, _) in {**FACTS, **COMMON}.items()}
    required = sorted({*COMMON, *row.required})
    pattern = b""
    for key in sorted({*required, *row.optional}):
        value = kinds[key].value
        if key == "seq":
            value = b"(" + value + b")"
        elif key == "type":
            value = b'"' + re.escape(name.encode()) + b'"'
        pair = b'"' + key.encode() + b'":' + value
        if key in required:
            pattern += pair + (b"" if key == required[-1] else b",")
        else:
            pattern += b"(?:" + (b"," + pair if key > required[-1] else pair + b",") + b")?"
    return re.compile(rb"\{" + pattern + rb"\}")


_encode = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode


def line(seq: int, at: datetime, entry: Entry) -> bytes:
    """The entry as one line without its newline. Raises AuditUnwritable for what is not allowed.

    The encoder of the standard library gives the bytes of RFC 8785 for all that the grammar
    lets through (no fractions, no large numbers, ASCII keys); a test compares it with rfc8785.
    """
    facts = {
        key: stamp(value) if isinstance(value, datetime) else value
        for key, value in entry.facts.items()
        if value is not None
    }
    if entry.policy is not None:
        facts["policy"] = entry.policy
    if not COMMON.keys().isdisjoint(facts):
        raise AuditUnwritable(f"an entry of type {entry.type} sets a common field as a fact")
    facts.update(v=VERSION, seq=seq, at=stamp(at), type=entry.type, actor=entry.actor)
    pattern = grammar(entry.type)
    if pattern is None:
        raise AuditUnwritable(f"{entry.type!r} is not a type of entry")
    try:
        data = _encode(facts).encode("utf-8")
    except (TypeError, ValueError):
        raise AuditUnwritable(f"an entry of type {entry.type} does not encode") from None
    if len(data) > MAX_LINE:
        raise AuditUnwritable(
            f"an entry of type {entry.type} is longer than {MAX_LINE} bytes",
            hint="give its records in several entries, at most 500 in each",
        )
    if pattern.fullmatch(data) is None:
        raise AuditUnwritable(
            f"an entry of type {entry.type} is not allowed: {'; '.join(faults(facts))}",
            hint="docs/reference/audit-entries.md lists the facts of each type",
        )
    return data


def faults(facts: Mapping[str, Any]) -> list[str]:
    """Why these fields are no entry: names of fields only, never a value."""
    name = facts.get("type")
    row = type_of(name) if isinstance(name, str) else None
    if row is None:
        return ["unknown type"]
    kinds = {key: kind for key, (kind, _) in {**FACTS, **COMMON}.items()}
    allowed = {*COMMON, *row.required, *row.optional}
    found = [f"no {key}" for key in sorted({*COMMON, *row.required} - facts.keys())]
    if strange := facts.keys() - allowed:
        named = sorted(key for key in strange if re.fullmatch(r"[a-z_]{1,40}", key))
        found += [f"{key} does not belong here" for key in named]
        found += ["a field with no proper name"] * (len(strange) > len(named))
    for key in sorted(facts.keys() & allowed):
        if re.fullmatch(kinds[key].value, _encode(facts[key]).encode()) is None:
            personal = "@" in _encode(facts[key]) and key != "actor"
            found.append(f"{key} looks personal" if personal else f"{key} has a wrong value")
    return found or ["not in the canonical form of RFC 8785"]
