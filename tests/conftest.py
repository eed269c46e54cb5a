"""Which plugins the tests use; fixtures stand with their subject."""

from __future__ import annotations

import pytest

pytest_plugins = ["tests.servers.fixtures", "tests.servers.cloud"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--update-golden` rewrites golden files; a reviewer reads what changed."""
    parser.addoption("--update-golden", action="store_true", help="rewrite golden files")
