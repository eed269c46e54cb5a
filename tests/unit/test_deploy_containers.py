"""Container files: read by docker-compose itself, by Kubernetes' schemas, and by their rules."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from ruamel.yaml import YAML

from retention.policy.load import load

ROOT = Path(__file__).resolve().parents[2]
MANY, SINGLE = ROOT / "docker-compose.yml", ROOT / "deploy" / "compose.single.yml"
OURS = {MANY: {"upgrade", "scheduler", "worker"}, SINGLE: {"retention"}}
KUBERNETES = ROOT / "deploy" / "kubernetes"
VERSIONS = ("1.29", "1.37")


def compose(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = YAML(typ="safe").load(path)
    return found


def manifests() -> list[dict[str, Any]]:
    files = sorted(KUBERNETES.glob("*.yaml"))
    return [d for path in files for d in YAML(typ="safe").load_all(path.read_text("utf-8"))]


def of_kind(kind: str) -> dict[str, dict[str, Any]]:
    return {m["metadata"]["name"]: m for m in manifests() if m["kind"] == kind}


def pods() -> dict[str, dict[str, Any]]:
    owners = {**of_kind("Deployment"), **of_kind("Job")}
    return {name: owner["spec"]["template"]["spec"] for name, owner in owners.items()}


@pytest.mark.parametrize("path", [MANY, SINGLE], ids=lambda path: path.name)
def test_docker_compose_reads_the_file(path: Path) -> None:
    """Its own check, with nothing set: every variable has a default."""
    tool = shutil.which("docker-compose")
    assert tool, "docker-compose is not installed; run tests/install-servers"
    plain = {k: v for k, v in os.environ.items() if k not in ("POLICIES", "SECRETS", "ORIGIN")}
    words = [tool, "--file", str(path), "config", "--quiet"]
    ended = subprocess.run(words, env=plain, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("path", [MANY, SINGLE], ids=lambda path: path.name)
def test_services_hang_together(path: Path) -> None:
    """Each has an image; files, volumes, networks, secrets and needs are there."""
    found = compose(path)
    for name, service in found["services"].items():
        if "build" in service:
            build = service["build"]
            assert (path.parent / build["context"] / build["dockerfile"]).is_file(), name
        else:
            assert re.fullmatch(r"[a-z/]+:[\w.-]+", service["image"]), name
        assert set(service.get("depends_on", {})) <= set(found["services"])
        named = {v.partition(":")[0] for v in service.get("volumes", []) if v[0].isalpha()}
        assert named <= set(found["volumes"])
        assert set(service.get("networks", [])) <= set(found.get("networks", {}))
        assert set(service.get("secrets", [])) <= set(found.get("secrets", {}))


@pytest.mark.parametrize("path", [MANY, SINGLE], ids=lambda path: path.name)
def test_no_container_has_power_it_does_not_need(path: Path) -> None:
    """Read-only, no new privileges; capabilities none for ours, few for a server's first step."""
    for name, service in compose(path)["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        if name in OURS[path]:
            assert "cap_add" not in service
            assert "user" not in service, "the image says who it runs as"
        if service.get("restart") != "no":
            assert int(service["stop_grace_period"].removesuffix("s")) >= 30
            assert "healthcheck" in service


def test_the_ledger_is_upgraded_before_anything_runs() -> None:
    """Once, to its end; and what works waits for that and for the broker."""
    services = compose(MANY)["services"]
    assert services["upgrade"]["command"] == ["upgrade"]
    assert services["upgrade"]["restart"] == "no"
    for name in ("scheduler", "worker"):
        needs = services[name]["depends_on"]
        assert needs["upgrade"]["condition"] == "service_completed_successfully"
        assert needs["broker"]["condition"] == "service_healthy"
        assert int(services[name]["stop_grace_period"].removesuffix("s")) > 60
    assert services["scheduler"]["scale"] == 2


def test_the_broker_keeps_what_it_has_and_refuses_rather_than_forgets() -> None:
    """Append-only file, flushed each second, and no eviction."""
    words = compose(MANY)["services"]["broker"]["command"]
    pairs = dict(zip(words[1::2], words[2::2], strict=True))
    assert pairs["--appendonly"] == "yes"
    assert pairs["--appendfsync"] == "everysec"
    assert pairs["--maxmemory-policy"] == "noeviction"


@pytest.mark.parametrize("path", [MANY, SINGLE], ids=lambda path: path.name)
def test_no_secret_stands_in_the_environment(path: Path) -> None:
    """Passwords are files: an environment is shown by `docker inspect` and inherited."""
    for service in compose(path)["services"].values():
        for key, value in service.get("environment", {}).items():
            assert "PASSWORD" not in key or key.endswith("_FILE")
            assert "://" not in value


def test_the_image_runs_as_an_account_that_is_not_root() -> None:
    """Built in two steps; its one user has no shell; nothing secret is an argument of the build."""
    steps = (ROOT / "deploy" / "Containerfile").read_text(encoding="utf-8")
    assert steps.count("\nFROM ") == 2
    assert "\nUSER retention\n" in steps
    assert "/usr/sbin/nologin" in steps
    assert "\nARG " not in steps
    assert "\nHEALTHCHECK " in steps
    assert '".[all]"' in steps


def test_the_image_has_what_its_commands_need() -> None:
    """It installs `all`: worker, watch and the drivers must be in it."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    (everything,) = extras["all"]
    named = set(everything.partition("[")[2].rstrip("]").split(","))
    assert {"worker", "watch", "postgresql", "mysql", "mail", "spreadsheet"} <= named <= set(extras)


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_knows_every_field(version: str) -> None:
    """Each manifest against that version's own schema, unknown fields refused."""
    for manifest in manifests():
        kubernetes_validate.validate(manifest, version, strict=True)


def test_pods_are_restricted() -> None:
    """What the Pod Security Standard `restricted` asks for, and a root file system to read only."""
    assert len(pods()) == 3
    for spec in pods().values():
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch"
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert "memory" in container["resources"]["limits"]


def test_manifests_hang_together() -> None:
    """Volumes, claims and config maps that are named are there; secrets are named, never held."""
    claims, maps = of_kind("PersistentVolumeClaim"), of_kind("ConfigMap")
    assert of_kind("Secret") == {}
    readme = (KUBERNETES / "README.md").read_text(encoding="utf-8")
    for spec in pods().values():
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        for volume in volumes.values():
            if "persistentVolumeClaim" in volume:
                assert volume["persistentVolumeClaim"]["claimName"] in claims
            if "configMap" in volume:
                assert volume["configMap"]["name"] in maps
            if "secret" in volume:
                assert volume["secret"]["secretName"] in readme
                assert volume["secret"]["defaultMode"] == 0o440
        (container,) = spec["containers"]
        assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
        (source,) = container["envFrom"]
        assert source["configMapRef"]["name"] in maps
        paths = {mount["mountPath"] for mount in container["volumeMounts"]}
        settings = maps["retention-settings"]["data"]
        for key, value in settings.items():
            if value.startswith("/"):
                assert value in paths or str(Path(value).parent) in paths, key
    assert all("namespace" not in m["metadata"] for m in manifests())


def test_a_drained_node_stops_no_schedule() -> None:
    """Two schedulers, of which one stays; each kind of pod has a budget and time to end."""
    deployments, budgets = of_kind("Deployment"), of_kind("PodDisruptionBudget")
    assert set(deployments) == set(budgets) == {"retention-scheduler", "retention-worker"}
    assert deployments["retention-scheduler"]["spec"]["replicas"] == 2
    assert budgets["retention-scheduler"]["spec"]["minAvailable"] == 1
    for name, deployment in deployments.items():
        spec = deployment["spec"]
        labels = spec["template"]["metadata"]["labels"]
        assert spec["selector"]["matchLabels"] == labels
        assert budgets[name]["spec"]["selector"]["matchLabels"] == labels
        assert spec["template"]["spec"]["terminationGracePeriodSeconds"] > 60
        assert "readinessProbe" in spec["template"]["spec"]["containers"][0]


def test_the_policies_of_the_example_load(tmp_path: Path) -> None:
    """As the cluster mounts a config map: links to a hidden folder. Each file is read once."""
    hidden = tmp_path / "..2026_11_22"
    hidden.mkdir()
    (tmp_path / "..data").symlink_to(hidden.name)
    for name, text in of_kind("ConfigMap")["retention-policies"]["data"].items():
        (hidden / name).write_text(text, encoding="utf-8")
        (tmp_path / name).symlink_to(f"..data/{name}")
    loaded = load(tmp_path)
    assert loaded.bundle is not None
    assert set(loaded.bundle.policies) == {"contact-form-monthly"}


def test_credentials_are_found_by_the_variable(tmp_path: Path) -> None:
    """`{file: $CREDENTIALS_DIRECTORY/…}`: one policy file for systemd, containers and clusters."""
    from retention.connectors.secrets import resolver
    from retention.errors import CredentialsRefused
    from retention.policy.model import Secret

    (tmp_path / "website_db").write_text("sqlite:///x\n", encoding="utf-8")
    given = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    for path in ("$CREDENTIALS_DIRECTORY/website_db", "${CREDENTIALS_DIRECTORY}/website_db"):
        assert resolver(given, "/elsewhere")(Secret(file=path)) == "sqlite:///x"
        with pytest.raises(CredentialsRefused, match="not set"):
            resolver({}, "/elsewhere")(Secret(file=path))


def test_a_setting_may_lie_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RETENTION_DATABASE_URL_FILE; a file that is named must be there, and only one may speak."""
    from retention.errors import UsageError
    from retention.settings import load as settings

    file = tmp_path / "database_url"
    monkeypatch.setenv("RETENTION_DATABASE_URL_FILE", str(file))
    with pytest.raises(UsageError, match="cannot be read"):
        settings()
    file.write_text("\n", encoding="utf-8")
    with pytest.raises(UsageError, match="is empty"):
        settings()
    file.write_text("sqlite:///there.db\n", encoding="utf-8")
    assert settings().ledger_url == "sqlite:///there.db"
    assert settings(database_url="sqlite:///x.db").ledger_url == "sqlite:///x.db"
    monkeypatch.setenv("RETENTION_DATABASE_URL", "sqlite:///y.db")
    with pytest.raises(UsageError, match="both set"):
        settings()
