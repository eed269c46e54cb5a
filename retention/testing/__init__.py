"""Shipped for people who write connectors: the contract suite. Needs pytest.

Subclass `retention.testing.contract.ConnectorContract` in your tests; see
docs/how-to/write-a-connector.md.
"""

from __future__ import annotations

import pytest

# So that a broken rule shows the values on both sides, although the suite is no test module.
pytest.register_assert_rewrite("retention.testing.contract")
