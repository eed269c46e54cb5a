"""What a record looks like after field-level disposal or anonymising: source → value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from retention.policy.model import LocationModel, Policy, Scalar, Then

_MISSING = object()


@dataclass(frozen=True, slots=True)
class Mask:
    """Values that replace a record's own, by source and sorted.

    `unsayable`: fields whose replacement is no plain value; such a mask is never applied.
    """

    values: tuple[tuple[str, Scalar], ...]
    unsayable: tuple[str, ...] = ()

    @property
    def sources(self) -> frozenset[str]:
        """What it overwrites."""
        return frozenset(source for source, _ in self.values)

    def worn_by(self, fields: Mapping[str, Any]) -> bool:
        """Whether the record looks like that already. A source that was not read: no."""
        return bool(self.values) and all(
            _same(fields.get(source, _MISSING), value) for source, value in self.values
        )


def _same(found: Any, wanted: Scalar) -> bool:
    if found is _MISSING:
        return False
    if wanted is None:
        # Spreadsheets and headers have no null: an emptied field reads as an empty text.
        return found is None or found in ("", ())
    return type(found) is type(wanted) and bool(found == wanted)


def mask_of(policy: Policy, location: LocationModel) -> Mask | None:
    """The mask of a policy in the sources of that location; None where it masks nothing."""
    said: dict[str, Any] = {}
    if policy.then.kind is Then.ANONYMISE:
        said = dict(policy.then.anonymise or {})
        if policy.fields:
            said = {f: said.get(f) for f in policy.fields}
    elif policy.fields and policy.then.kind is Then.DELETE:
        said = dict.fromkeys(policy.fields)
    elif policy.fields and policy.then.kind in (Then.HAND_OVER, Then.COPY_TO):
        # Handing over exports whole records: no field of one can be handed over alone.
        return Mask((), tuple(sorted(policy.fields)))
    if not said:
        return None
    plain = {f: v for f, v in said.items() if v is None or isinstance(v, str | int | float | bool)}
    return Mask(
        values=tuple(sorted((location.source(f), v) for f, v in plain.items())),
        unsayable=tuple(sorted(said.keys() - plain.keys())),
    )
