"""Which plugins the tests use; fixtures stand with their subject."""

from __future__ import annotations

pytest_plugins = ["tests.servers.fixtures"]
