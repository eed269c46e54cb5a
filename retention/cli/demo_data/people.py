"""Who appears in the story. Nobody here exists."""

from __future__ import annotations

from typing import NamedTuple


class Person(NamedTuple):
    """A name and an address."""

    name: str
    email: str


def _person(name: str) -> Person:
    return Person(name, f"{name.lower().replace(' ', '.')}@example.com")


LEFT = _person("Ada Nordby")
"""Her customer relationship ended over a year ago."""
SUED = _person("Bo Fjellvik")
"""So did his, but a dispute is open: what concerns him must stay."""
STAYS = _person("Cia Strand")
"""A customer."""
LEAVES_LIST = _person("Dag Lunde")
"""Reads the newsletter, until he withdraws his consent."""
READERS = (LEAVES_LIST, STAYS, _person("Eli Haugen"), _person("Finn Moe"), _person("Gro Vik"))
ASKED_LONG_AGO = (_person("Hans Berge"), _person("Ida Solheim"), _person("Jon Dal"))
ASKED_NOW = (_person("Kari Lie"), _person("Leo Rud"), _person("Mia Aas"), _person("Nils Eng"))
EVERYBODY = (LEFT, SUED, *READERS, *ASKED_LONG_AGO, *ASKED_NOW)

POST = Person("Fjordro Coaching", "post@fjordro.example")
"""The organisation itself."""
