"""docker-compose.yml without containers: its commands in its environment, as processes."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from sqlalchemy import Engine, create_engine, text

from tests.servers.postgres import Postgres
from tests.servers.process import HOST, Server, program

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = YAML(typ="safe").load(ROOT / "docker-compose.yml")
SERVICES = COMPOSE["services"]
POLICIES = """
organisation: {name: Fjellvik Verksted, country: "NO", timezone: Europe/Oslo}
systems:
  website: {connector: sql, url: {file: $CREDENTIALS_DIRECTORY/website_db}}
clusters:
  enquiries:
    purpose: answering enquiries
    basis: legitimate_interest
    locations:
      form: {system: website, table: contact_form, key: id, dates: {received: created_at},
             subject: {email: email}}
policies:
  form-monthly: {applies_to: enquiries, starting_point: received, delete_at_latest: 1 month,
                 then: delete, schedule: "* * * * *"}
"""


class Broker(Server):
    """Redis with the words of the compose file; only place and port are ours."""

    name = "broker"

    def command(self) -> list[str]:
        tool, *words = SERVICES["broker"]["command"]
        ours = ["--port", str(self.port), "--bind", HOST, "--dir", str(self.folder)]
        return [program(tool), *words, *ours]

    def answers(self) -> bool:
        with socket.create_connection((HOST, self.port), timeout=2) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")


@pytest.fixture
def broker() -> Iterator[Broker]:
    """The broker of the compose file."""
    with Broker().launch() as server:
        yield server


def image_environment() -> dict[str, str]:
    """What the image itself sets."""
    steps = (ROOT / "deploy" / "Containerfile").read_text(encoding="utf-8")
    (block,) = re.findall(r"^ENV ((?:.*\\\n)*.*)$", steps, re.MULTILINE)
    return dict(pair.split("=", 1) for pair in block.replace("\\\n", " ").split())


class Containers:
    """Services of the compose file as processes; what is mounted lies in folders of the test."""

    def __init__(self, folder: Path, secrets: dict[str, str], systems: dict[str, str]) -> None:
        self.folder = folder
        self.places = {
            "/var/lib/retention": folder / "state",
            "/etc/retention/policies": folder / "policies",
            "/run/credentials": folder / "credentials",
            "/run/secrets": folder / "secrets",
        }
        for place in self.places.values():
            place.mkdir()
        for name, value in secrets.items():
            (folder / "secrets" / name).write_text(value, encoding="utf-8")
        for name, value in systems.items():
            (folder / "credentials" / name).write_text(value, encoding="utf-8")
        (folder / "policies" / "all.yaml").write_text(POLICIES, encoding="utf-8")

    def here(self, value: str) -> str:
        """A value with the container's folders replaced, and variables by their defaults."""
        value = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)
        for inside, place in self.places.items():
            value = value.replace(inside, str(place))
        return value

    def environment(self, service: str) -> dict[str, str]:
        given = image_environment() | SERVICES[service]["environment"]
        inside = {k: self.here(v) for k, v in given.items() if k != "PATH"}
        return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8", **inside}

    def run(self, service: str, *words: str) -> subprocess.CompletedProcess[str]:
        """`docker compose exec SERVICE retention WORDS`."""
        return subprocess.run(
            [sys.executable, "-m", "retention", *words],
            cwd=self.folder,
            env=self.environment(service),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    @contextmanager
    def up(self, service: str, number: int) -> Iterator[subprocess.Popen[bytes]]:
        log = self.folder / f"{service}-{number}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "retention", *SERVICES[service]["command"]],
                cwd=self.folder,
                env=self.environment(service),
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def said(self) -> str:
        """Everything that the services wrote."""
        return "\n".join(
            f"{path.name}: {path.read_text(errors='replace')[-4000:]}"
            for path in sorted(self.folder.glob("*.log"))
        )


@pytest.fixture
def website(postgres: Postgres) -> Iterator[tuple[str, Engine]]:
    """The system: 40 questions, half of them due."""
    url = postgres.new_database()
    engine = create_engine(url)
    with engine.begin() as tx:
        tx.execute(
            text(
                "CREATE TABLE contact_form"
                " (id bigint PRIMARY KEY, created_at timestamptz, email text)"
            )
        )
        tx.execute(
            text(
                "INSERT INTO contact_form SELECT n, now() - (CASE WHEN n % 2 = 1 THEN 90 ELSE 1 END"
                " || ' days')::interval, 'p' || n || '@example.org' FROM generate_series(1, 40) n"
            )
        )
    yield url, engine
    engine.dispose()


def left(engine: Engine) -> list[int]:
    with engine.connect() as tx:
        return list(tx.execute(text("SELECT id FROM contact_form ORDER BY id")).scalars())


def seconds(service: str) -> float:
    return float(SERVICES[service]["stop_grace_period"].removesuffix("s"))


def test_the_services_of_the_compose_file_dispose_of_what_is_due(
    tmp_path: Path, postgres: Postgres, broker: Broker, website: tuple[str, Engine]
) -> None:
    """Upgrade, two schedulers and a worker: one run through all of them, then SIGTERM, and each is
    gone within its grace; secrets come from files alone."""
    url, engine = website
    ledger = postgres.new_database()
    containers = Containers(
        tmp_path,
        {"database_url": ledger, "broker_url": f"redis://{HOST}:{broker.port}/0"},
        {"website_db": url},
    )
    upgraded = containers.run("upgrade", *SERVICES["upgrade"]["command"])
    assert upgraded.returncode == 0, upgraded.stderr
    again = containers.run("upgrade", *SERVICES["upgrade"]["command"])
    assert again.returncode == 0, again.stderr
    approved = containers.run("scheduler", "approve", "form-monthly")
    assert approved.returncode == 0, approved.stderr

    with (
        containers.up("scheduler", 1) as first,
        containers.up("scheduler", 2) as second,
        containers.up("worker", 1) as worker,
    ):
        running = {"scheduler 1": first, "scheduler 2": second, "worker": worker}

        def alive() -> None:
            for name, process in running.items():
                assert process.poll() is None, f"{name} ended\n{containers.said()}"

        _until(lambda: len(left(engine)) == 20, alive, containers, 150)
        verified = "SELECT count(*) FROM run WHERE state = 'done' AND kind = 'schedule'"
        ledger_engine = create_engine(ledger)

        def done() -> bool:
            with ledger_engine.connect() as tx:
                return bool(tx.execute(text(verified)).scalar_one())

        _until(done, alive, containers, 60)
        ledger_engine.dispose()
        healthy = containers.run("worker", *SERVICES["worker"]["healthcheck"]["test"][2:])
        assert healthy.returncode == 0, healthy.stderr

        began = time.monotonic()
        for process in running.values():
            process.send_signal(signal.SIGTERM)
        for name, process in running.items():
            grace = seconds(name.split()[0]) - (time.monotonic() - began)
            assert process.wait(grace) == 0, f"{name}\n{containers.said()}"

    assert left(engine) == list(range(2, 41, 2))
    checked = containers.run("scheduler", "audit", "verify")
    assert checked.returncode == 0, checked.stdout
    for secret in (ledger, url):
        assert secret.split(":")[2].split("@")[0] not in containers.said()


def _until(
    true: Callable[[], bool], alive: Callable[[], None], containers: Containers, within: float
) -> None:
    deadline = time.monotonic() + within
    while not true():
        alive()
        assert time.monotonic() < deadline, containers.said()
        time.sleep(0.3)
