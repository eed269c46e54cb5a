"""A policy in plain English, for the person who approves it and is no programmer."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

from retention.policy.counting import due_by, earliest_after
from retention.policy.digest import referenced_cluster
from retention.policy.limits import effective
from retention.policy.model import (
    Approval,
    Basis,
    Bundle,
    Cluster,
    Cutoff,
    LastOf,
    LocationModel,
    Policy,
    Role,
    Start,
    Then,
)
from retention.policy.periods import Period
from retention.policy.schedule_words import schedule_words
from retention.policy.statutes import Mark, catalogue
from retention.policy.where import Filter, Op, WhereError, parse

_EXAMPLE = date(2026, 1, 31)
_BASES = {
    Basis.CONSENT: "consent",
    Basis.CONTRACT: "a contract",
    Basis.LEGAL_OBLIGATION: "a legal obligation",
    Basis.LEGITIMATE_INTEREST: "a legitimate interest",
    Basis.VITAL_INTEREST: "vital interests",
    Basis.PUBLIC_TASK: "a public task",
    Basis.LEGAL_CLAIMS: "legal claims",
}
_CUTOFFS = {
    Cutoff.MONTH: "the end of that month",
    Cutoff.QUARTER: "the end of that quarter",
    Cutoff.YEAR: "the end of that calendar year",
    Cutoff.ACCOUNTING_YEAR: "the end of that accounting year",
    Cutoff.YEAR_OF_ACCOUNTING_YEAR: "the end of the year in which that accounting year closed",
}
_MARKS = {
    Mark.PRIMARY: "the text itself was read",
    Mark.SECONDARY: "from secondary sources",
    Mark.GENERAL: "unverified general knowledge",
}
_ROLES = {Role.WORKING_COPY: "a working copy", Role.BACKUP: "a backup"}


def explain(bundle: Bundle, policy_name: str) -> str:
    """The policy in words, one matter a line. Raises KeyError for an unknown name."""
    policy = bundle.policies[policy_name]
    head = policy_name if policy.title is None else f"{policy_name}: {policy.title}"
    lines = [head]
    for label, said in _matters(policy, bundle):
        lines.append(f"  {label + ':':<12} {said}")
    return "\n".join(lines) + "\n"


def _matters(policy: Policy, bundle: Bundle) -> Iterator[tuple[str, str]]:
    names = bundle.locations_of(policy)
    for cluster in dict.fromkeys(name.partition("/")[0] for name in names):
        yield "What", _cluster(cluster, bundle.clusters[cluster])
    for name in names:
        yield "Where", _location(name, bundle)
    for cluster in dict.fromkeys(name.partition("/")[0] for name in names):
        if key := bundle.clusters[cluster].matched_on:
            said = f"those locations of {cluster} hold copies of the same records, found by {key}; "
            yield "Copies", said + "the latest date of all copies counts"
    if policy.where is not None:
        yield "Only", f"records where {_filters(policy.where)}"
    if policy.fields:
        yield "Fields", f"{_and(policy.fields)}; the rest of the record stays"
    yield "Counts from", _since(policy)
    yield from _periods(policy, bundle)
    yield "Then", _then(policy)
    yield "Runs", _runs(policy, bundle)
    yield from _safeguards(policy, bundle)
    yield from _authority(policy)


def _cluster(name: str, cluster: Cluster) -> str:
    said = f"{cluster.title} ({name})" if cluster.title else name
    if cluster.data:
        said += f"; {_and(tuple(d.replace('_', ' ') for d in cluster.data))}"
    if cluster.subjects:
        said += f" of {cluster.subjects}"
    if cluster.purpose:
        said += f"; kept for {cluster.purpose}"
    if cluster.basis:
        said += f", on the basis of {_BASES[cluster.basis]}"
    return said + ("; special category data" if cluster.special else "")


def _location(name: str, bundle: Bundle) -> str:
    location = bundle.location(name)
    system = bundle.systems[location.system]
    said = location.title or name
    what = _lies_in(location)
    said += f": {what} in" if what else ": in"
    said += f" the system {location.system} ({system.connector})"
    if location.role in _ROLES:
        said += f", {_ROLES[location.role]}"
    if location.where is not None:
        said += f", where {_filters(location.where)}"
    return said


def _lies_in(location: LocationModel) -> str:
    for word in ("table", "store", "sheet", "folders", "glob"):
        value = location.settings.get(word)
        if isinstance(value, str):
            return f"{word} {value}"
        if isinstance(value, list):
            return f"{word} {_and(tuple(map(str, value)))}"
    return ""


def _filters(where: dict[str, Any]) -> str:
    try:
        return " and ".join(_filter(f) for f in parse(where))
    except WhereError:
        return "a filter says so that cannot be understood"


def _filter(f: Filter) -> str:
    match f.op:
        case Op.IN:
            return f"{f.field} is {_or(f.value)}"
        case Op.NOT_IN:
            return f"{f.field} is not {_or(f.value)}"
        case Op.EMPTY:
            return f"{f.field} is {'' if f.value else 'not '}empty"
        case Op.MATCHES:
            return f"{f.field} matches `{f.value}`"
        case Op.BEFORE | Op.AFTER:
            return f"{f.field} is {f.op} {f.value}"


def _since(policy: Policy) -> str:
    if policy.starting_point is None:
        return "nothing: there is no starting point"
    said = _start(policy.starting_point)
    return f"{said}, moved to {_CUTOFFS[policy.cutoff]}" if policy.cutoff else said


def _start(start: Start) -> str:
    if members := start.latest_of or start.earliest_of:
        which = "latest" if start.latest_of else "earliest"
        return f"the {which} of: {'; '.join(_start(m) for m in members)}"
    if start.event is not None:
        return f"the day on which this happens to the person: {start.event.replace('_', ' ')}"
    if cluster := referenced_cluster(start):
        name = str(start.date).partition(".")[2]
        return (
            f"the date `{name}` of the same person in {cluster}, found by {start.matched_on} "
            "(several people: the latest; nobody may still be active)"
        )
    said = f"the record's date `{start.date}`"
    return said + (", which can move again" if start.sliding else "")


def _periods(policy: Policy, bundle: Bundle) -> Iterator[tuple[str, str]]:
    organisation, cutoff = bundle.organisation, policy.cutoff
    minimum, maximum = policy.keep_at_least, policy.delete_at_latest
    if minimum is not None:
        last = earliest_after(_EXAMPLE, cutoff, minimum, organisation) - timedelta(days=1)
        yield "At least", f"{minimum}{_example(minimum, 'kept through', last)}"
    if maximum is not None:
        last = due_by(_EXAMPLE, cutoff, maximum, organisation)
        cap = ", whatever other purposes say" if policy.cap else ""
        yield "At latest", f"{maximum}{_example(maximum, 'gone by the end of', last)}{cap}"
    elif minimum is not None and policy.then.kind is not Then.KEEP:
        yield "At latest", "at the first run after that"
    if policy.backstop is not None:
        yield "Backstop", f"at the latest {policy.backstop} after the first date that is known"


def _example(period: Period, words: str, last: date) -> str:
    """A worked example; none for hours, which count from an instant."""
    return "" if period.hours else f"; from {_EXAMPLE}, {words} {last}"


def _then(policy: Policy) -> str:
    if policy.fields and policy.then.kind is Then.DELETE:
        return "those fields are emptied; this cannot be undone"
    words = {
        Then.DELETE: "the record is deleted; this cannot be undone",
        Then.RESTRICT: "the record is only stored, no longer used",
        Then.REVIEW: "a person looks at the record and decides",
        Then.KEEP: "nothing: this rule only keeps",
    }
    if policy.then.anonymise is not None:
        parts = [
            f"{field} is emptied" if value is None else f"{field} becomes `{value}`"
            for field, value in policy.then.anonymise.items()
        ]
        return f"{_and(tuple(parts))}; this cannot be undone"
    if policy.then.hand_over is not None:
        return (
            f"the record is exported to {policy.then.hand_over.to}, the export is checked, "
            "and the record is deleted; this cannot be undone"
        )
    if policy.then.copy_to is not None:
        there = policy.then.copy_to
        return (
            f"{_and(tuple(there.values))} are copied into {there.location}, the copy is read again "
            "there, and the record is deleted here; this cannot be undone"
        )
    return words[policy.then.kind]


def _runs(policy: Policy, bundle: Bundle) -> str:
    zone = bundle.organisation.timezone
    if isinstance(policy.schedule, LastOf):
        parts = "; ".join(schedule_words(part) for part in policy.schedule.last_of)
        return f"not before all of these are reached: {parts} ({zone})"
    return f"{schedule_words(policy.schedule)} ({zone})"


def _safeguards(policy: Policy, bundle: Bundle) -> Iterator[tuple[str, str]]:
    if policy.destructive:
        limit = effective(policy, bundle.organisation)
        parts = []
        if limit.records is not None:
            parts.append(f"{limit.records} records")
        if limit.share is not None:
            parts.append(f"{limit.share * 100:g}% of a location")
        if limit.growth is not None:
            parts.append(f"{limit.growth:g} times the usual number")
        said = f"a run that would take more than {_or(parts)} stops before it starts"
        yield "Limits", said if parts else "none"
        yield (
            "Approval",
            {
                Approval.CHANGE: "a person approves a plan once, and again after each change",
                Approval.EACH_RUN: "a person approves the plan of every run",
                Approval.NONE: "nobody is asked",
            }[policy.approval],
        )
    if policy.grace is not None:
        yield "Grace", f"{policy.grace} in the system's bin first, where it has one"
    if policy.suppress:
        kinds = _and(tuple(policy.suppress))
        yield "Leaves", f"a keyed hash of {kinds}, so that nobody contacts the person again"
    if policy.review is not None:
        within = f", within {policy.review.within}" if policy.review.within else ""
        yield "Review", f"by {policy.review.by}{within}"
    if policy.supersedes:
        yield "Instead of", _and(policy.supersedes)


def _authority(policy: Policy) -> Iterator[tuple[str, str]]:
    if policy.mandate is not None:
        statute = catalogue().get(policy.mandate)
        if statute is None:
            yield "Law", f"{policy.mandate}, which is not in the catalogue"
        else:
            checked = f"{_MARKS[statute.mark]}, {statute.checked}; not legal advice"
            text = f"{statute.statute} {statute.section}: {statute.documents}"
            yield "Law", f"{text}, {statute.period} ({checked})"
    if policy.law is not None:
        yield "Law", policy.law
    if policy.source is not None:
        yield "Promised in", policy.source
    if policy.owner is not None:
        yield "Owner", policy.owner


def _and(words: tuple[str, ...]) -> str:
    return _listed(words, "and")


def _or(words: Any) -> str:
    return _listed(tuple(str(w) for w in words), "or")


def _listed(words: tuple[str, ...], last: str) -> str:
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"
