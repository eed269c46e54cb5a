"""The program as a subprocess, in a fresh folder for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.shop import Shop, Zygote


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """The server that forks the program."""
    server = Zygote()
    yield server
    server.close()


@pytest.fixture
def shop(tmp_path: Path, zygote: Zygote) -> Shop:
    """An organisation with two policies and empty tables."""
    return Shop(tmp_path / "shop", zygote)
