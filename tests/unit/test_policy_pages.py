"""The reference pages of findings and statutes are the tables themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from retention.policy.codes import CODES
from retention.policy.pages import findings_page, statutes_page
from retention.policy.statutes import catalogue

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


@pytest.mark.parametrize(
    ("name", "page"), [("findings.md", findings_page), ("statutes.md", statutes_page)]
)
def test_the_page_is_the_table(
    name: str, page: Callable[[], str], request: pytest.FixtureRequest
) -> None:
    """What is documented is what is there; `--update-golden` writes the page anew."""
    file = REFERENCE / name
    if request.config.getoption("--update-golden"):
        file.write_text(page(), encoding="utf-8")
    assert file.read_text(encoding="utf-8") == page()


def test_every_code_and_statute_is_on_its_page() -> None:
    """None is left out."""
    assert all(f"| `{code}` |" in findings_page() for code in CODES)
    assert all(f"| `{name}` |" in statutes_page() for name in catalogue())
