"""Dates that cannot matter: read, checked for being there and not in the future, then forgotten.

A general rule that a more specific one outranks has no say in when a record goes. Its date
differs from record to record all the same, and would make each decision a new one.
"""

from __future__ import annotations

from datetime import date

from retention.decide.rules import Clause, View, all_of

SOME_DAY = date(2000, 1, 1)
"""Stands for any date that is there."""


def idle_dates(view: View, answers: tuple[bool | None, ...]) -> frozenset[str]:
    """Sources whose exact date changes no verdict of records with these filter answers.

    None at all where generations or supersession make it less than plain to see.
    """
    found = [
        (clause, certain is True)
        for clause in view.approved
        if (certain := all_of(answers, clause.claim.where, clause.where)) is not False
    ]
    if view.two_generations or any(clause.said.supersedes for clause, _ in found):
        return frozenset()
    tiers: dict[str, int] = {}
    for clause, certain in found:
        if certain and clause.disposes and _rules_whole(clause):
            purpose = clause.claim.purpose
            tiers[purpose] = max(clause.tier, tiers.get(purpose, 0))
    read = {source for clause, _ in found for source in clause.date_sources}
    counts = {
        source
        for clause, _ in found
        if not (_outranked(clause, tiers))
        for source in (*clause.date_sources, *clause.backstop_dates)
    }
    return frozenset(read - counts)


def _rules_whole(clause: Clause) -> bool:
    return clause.has_maximum and not clause.said.cap and not clause.sources


def _outranked(clause: Clause, tiers: dict[str, int]) -> bool:
    """Whether it neither protects nor can act, whatever its date."""
    protects = clause.minimum is not None or clause.keeps_forever
    below = clause.tier < tiers.get(clause.claim.purpose, 0)
    return _rules_whole(clause) and not protects and below and not clause.backstop_dates
