"""Mandates and the organisation's country."""

from __future__ import annotations

from collections.abc import Iterator

from babel import Locale

from retention.policy.codes import finding
from retention.policy.findings import Finding, Positions
from retention.policy.model import Bundle
from retention.policy.statutes import Statute, catalogue


def check(bundle: Bundle, positions: Positions) -> Iterator[Finding]:
    """All findings about mandates and country."""
    country = bundle.organisation.country
    if country not in Locale("en").territories:
        path = ("organisation", "country")
        message = f"`{country}` is no country code"
        yield finding("unknown-country", positions.value(path), message, path)
    for name, policy in bundle.policies.items():
        statute = catalogue().get(policy.mandate or "")
        if statute is not None:
            yield from _mandate(name, statute, country, positions)


def _mandate(name: str, statute: Statute, country: str, positions: Positions) -> Iterator[Finding]:
    path = ("policies", name, "mandate")
    place = positions.value(path)
    if statute.superseded():
        message = f"{statute.id} was replaced by {statute.superseded_by}"
        hint = f"name {statute.superseded_by}"
        yield finding("mandate-superseded", place, message, path, hint)
    if not statute.verified:
        message = f"nobody checked {statute.id} against its text"
        yield finding("mandate-unverified", place, message, path)
    if statute.country != country:
        message = f"{statute.id} is law in {statute.country}, the organisation is in {country}"
        yield finding("mandate-country", place, message, path)
