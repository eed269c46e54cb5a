"""The registry: kinds, plugins that break, settings and secrets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel, SecretStr

from retention.connectors import memory, registry
from retention.connectors.base import Cap, Connector, Manifest
from retention.connectors.secrets import (
    SecretField,
    resolve_secrets,
    resolver,
    reveal,
)
from retention.errors import CredentialsRefused, ExitCode, UsageError
from retention.policy.model import LocationModel, Secret, SystemModel


class Settings(BaseModel):
    password: SecretField
    host: str = "h"


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path with an installed package that registers connectors."""
    info = tmp_path / "thirdparty-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: thirdparty\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[retention.connectors]\n"
        "good = thirdparty_good\nbroken = thirdparty_broken\nempty = thirdparty_empty\n"
        "memory = thirdparty_broken\n"
    )
    (tmp_path / "thirdparty_good.py").write_text(
        "from retention.connectors.memory import connect, manifest\n"
    )
    (tmp_path / "thirdparty_broken.py").write_text("raise RuntimeError('hunter2')\n")
    (tmp_path / "thirdparty_empty.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    registry.forget()
    yield tmp_path
    registry.forget()


def test_every_built_in_kind_is_described() -> None:
    """Each line of the table leads to a manifest of that kind, or says which extra is missing."""
    for kind, fact in registry.facts().items():
        if fact.manifest is None:
            assert "lacks the library" in fact.broken
        else:
            assert fact.manifest.kind == kind
            assert Cap.DELETE in fact.capabilities
            assert isinstance(fact.manifest, Manifest)


def test_an_unknown_kind_is_a_usage_error() -> None:
    """With the kinds that there are."""
    with pytest.raises(UsageError) as caught:
        registry.manifest("nope")
    assert "memory" in caught.value.hint
    assert caught.value.exit_code is ExitCode.USAGE


def test_plugins_are_found_and_broken_ones_named(plugins: Path) -> None:
    """A package outside adds a kind; a broken one is skipped with its name, the rest works."""
    assert registry.manifest("good") is memory.manifest
    broken = registry.broken()
    assert {"broken", "empty"} <= broken.keys()
    assert "thirdparty" in broken["broken"]
    assert "RuntimeError" in broken["broken"]
    assert "hunter2" not in str(broken)
    with pytest.raises(UsageError):
        registry.manifest("broken")


def test_a_plugin_never_replaces_a_built_in_kind(plugins: Path) -> None:
    """Whoever installs a package must not thereby change what deletes."""
    assert registry.manifest("memory") is memory.manifest


def test_open_connector_checks_settings_and_wraps() -> None:
    """Good settings give a session; bad ones an error with the place and without the value."""
    good = SystemModel.model_validate({"connector": "memory", "store": "reg", "rate": "9/s"})
    connector = registry.open_connector("crm", good, ".", resolver({}, "."))
    assert isinstance(connector, Connector)
    assert connector.describe().kind == "memory"
    bad = SystemModel.model_validate({"connector": "memory", "page": "hunter2", "extra": 1})
    with pytest.raises(UsageError) as caught:
        registry.open_connector("crm", bad, ".", resolver({}, "."))
    told = str(caught.value)
    assert "systems.crm" in told
    assert "page" in told
    assert "extra" in told
    assert "hunter2" not in told


def test_location_settings_are_checked() -> None:
    """A field that the connector does not know is an error with the location's name."""
    location = LocationModel.model_validate({"system": "crm", "table": "t", "tabel": "t"})
    with pytest.raises(UsageError, match="tabel"):
        registry.location_settings("memory", "c/t", location)


def test_secrets_come_from_environment_and_files(tmp_path: Path) -> None:
    """By name or by path; the line end of a file is no part of the secret."""
    (tmp_path / "pw").write_text("hunter2\n")
    resolve = resolver({"PW": "hunter3"}, str(tmp_path))
    for secret, text in ((Secret(env="PW"), "hunter3"), (Secret(file="pw"), "hunter2")):
        settings = resolve_secrets(Settings(password=secret), resolve)
        assert isinstance(settings.password, SecretStr)
        assert reveal(settings.password) == text
        assert "hunter" not in str(settings) + repr(settings)


@pytest.mark.parametrize("secret", [Secret(env="NONE"), Secret(file="none"), Secret(file="empty")])
def test_a_missing_secret_says_where_it_was_looked_for(tmp_path: Path, secret: Secret) -> None:
    """With the name and a hint; its own exit code."""
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(CredentialsRefused) as caught:
        resolve_secrets(Settings(password=secret), resolver({}, str(tmp_path)))
    assert (secret.env or secret.file or "") in caught.value.message
    assert caught.value.hint
    assert caught.value.exit_code is ExitCode.REFUSED


def test_a_secret_written_into_a_file_is_refused_without_repeating_it() -> None:
    """`password: hunter2` is an error whose text does not hold the password."""
    system = SystemModel.model_validate({"connector": "sql", "url": "mysql://u:hunter2@h/d"})
    with pytest.raises(UsageError) as caught:
        registry.system_settings("db", system)
    assert "hunter2" not in str(caught.value)
    system = SystemModel.model_validate(
        {"connector": "sql", "url": "mysql://u@h/d", "password": "hunter2"}
    )
    with pytest.raises(UsageError) as caught:
        registry.system_settings("db", system)
    assert "never stands in a file" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_an_unresolved_secret_never_reaches_a_driver() -> None:
    """Forgetting to resolve is an error, not an empty password."""
    with pytest.raises(CredentialsRefused):
        reveal(Secret(env="X"))
