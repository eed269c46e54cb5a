"""Reference pages that are written from the tables, so that they cannot say anything else."""

from __future__ import annotations

from collections.abc import Mapping

from retention.policy.codes import (
    CONNECTORS,
    FORM,
    LAW,
    PERIODS,
    READING,
    REFERENCES,
    SCHEDULES,
    SCOPE,
    Code,
)
from retention.policy.statutes import Mark, Statute, catalogue

_PARTS: Mapping[str, Mapping[str, Code]] = {
    "Reading files": READING,
    "Form": FORM,
    "Names that are used": REFERENCES,
    "Periods and starting points": PERIODS,
    "Reach": SCOPE,
    "Law and people": LAW,
    "Systems and connectors": CONNECTORS,
    "Schedules": SCHEDULES,
}
_MARKS = {Mark.PRIMARY: "text read", Mark.SECONDARY: "secondary source", Mark.GENERAL: "unverified"}


def findings_page() -> str:
    """docs/reference/findings.md."""
    lines = [
        "# Findings of `retention validate`",
        "",
        "An error keeps the policies it is about from running; while files do not load at all,",
        "nothing new takes effect. A warning asks a question. An info tells something worth",
        "knowing. Codes are never renamed.",
    ]
    for title, codes in _PARTS.items():
        lines += ["", f"## {title}", "", "| code | severity | meaning | what helps |"]
        lines.append("|---|---|---|---|")
        lines += [
            f"| `{code}` | {known.severity} | {_cell(known.meaning)} | {_cell(known.hint)} |"
            for code, known in codes.items()
        ]
    return "\n".join(lines) + "\n"


def statutes_page() -> str:
    """docs/reference/statutes.md."""
    lines = [
        "# Statute catalogue",
        "",
        "What a policy's `mandate` can name. A mandate fills in `cutoff` and `keep_at_least`; a",
        "policy may ask for more, never for less. This is not legal advice: check the text that",
        "applies to you. Where no closing point is given, the policy's own starting point and",
        "cutoff decide.",
        "",
        "| id | country | statute | documents | period | counted from | source | checked |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [_row(statute) for statute in catalogue().values()]
    return "\n".join(lines) + "\n"


def _row(statute: Statute) -> str:
    start = f"end of the {str(statute.cutoff).replace('_', ' ')}" if statute.cutoff else "—"
    if statute.cutoff == "year_of_accounting_year":
        start = "end of the calendar year in which the accounting year closed"
    notes = [statute.note or ""]
    if statute.in_force_from:
        notes.append(f"In force from {statute.in_force_from}.")
    if statute.in_force_to:
        notes.append(f"In force to {statute.in_force_to}.")
    if statute.superseded_by:
        notes.append(f"Replaced by `{statute.superseded_by}`.")
    documents = " ".join(n for n in (f"{statute.documents}.", *notes) if n)
    source = f"{statute.source} ({_MARKS[statute.mark]})"
    cells = [
        f"`{statute.id}`",
        statute.country,
        f"{statute.statute}, {statute.section}",
        documents,
        str(statute.period),
        start,
        source,
        str(statute.checked),
    ]
    return f"| {' | '.join(_cell(c) for c in cells)} |"


def _cell(words: str) -> str:
    return words.replace("|", "\\|")
