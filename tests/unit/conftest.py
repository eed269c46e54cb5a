"""What every unit test leaves behind: nothing open."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.audit_samples import close_all


@pytest.fixture(autouse=True)
def _nothing_stays_open() -> Iterator[None]:
    yield
    close_all()
