"""The whole program, watched: what a user sees, and what leaves the machine."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client.parser import text_string_to_metric_families

from retention.errors import UsageError
from retention.watch import traces
from tests.acceptance.shop import ROOT, Shop, Zygote
from tests.integration.test_watch_service import until
from tests.integration.watched import Web, free_port, mailbox, web


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    """The server that forks the program."""
    server = Zygote()
    yield server
    server.close()


@pytest.fixture
def shop(tmp_path: Path, zygote: Zygote) -> Shop:
    """An organisation with two policies, one of them approved, and a few questions."""
    made = Shop(tmp_path / "shop", zygote)
    made.questions(1, 2, 50)
    made("approve", "form-monthly")
    return made


def test_metrics_are_printed_once(shop: Shop) -> None:
    """The text that the exporter serves, for a textfile collector; nothing on stderr."""
    ended = shop("metrics")
    names = {family.name for family in text_string_to_metric_families(ended.out)}
    assert {"retention_overdue_records", "retention_log_entries"} <= names
    assert ended.err == ""


def test_status_shows_the_freeze_the_log_and_alarms(shop: Shop) -> None:
    """Besides the policies: whatever a person must know before trusting them."""
    shop("daemon", "--once")
    shop("freeze", "--reason", "an incident")
    shop.ledger(
        "INSERT INTO alarm (policy, kind, detail, raised_at)"
        " VALUES ('form-monthly', 'limit', '300 records', '2026-06-15T12:00:00.000Z')",
        "INSERT INTO node (name, role, version, started_at, seen_at, facts) VALUES"
        " ('host1:77:ab', 'worker', '1.0', '2026-06-15T12:00:00.000Z',"
        " '2026-06-15T13:00:00.000Z', '{}')",
    )
    said = shop("status").out
    for words in ("an incident", "retention thaw", "300 records", "host1", "1 silent", "signed "):
        assert words in said
    found = shop("status", "--json").json
    assert found["frozen"]["reason"] == "an incident"
    assert found["alarms"][0]["kind"] == "limit"
    assert [(node["role"], node["live"]) for node in found["nodes"]] == [("worker", False)]
    assert found["log"]["checkpoint_size"] > 0
    assert found["last_tick"]
    assert shop("status", "--check", code=1).out.endswith("1 alarm; frozen\n")


def test_a_single_call_from_cron_tells_its_alarms(shop: Shop) -> None:
    """`daemon --once` waits for its mail to be delivered, and pings."""
    shop.ledger(
        "INSERT INTO alarm (policy, kind, detail, raised_at)"
        " VALUES ('form-monthly', 'limit', '300 records', '2026-06-15T12:00:00.000Z')"
    )
    with mailbox() as box, web() as server:
        shop.settings |= {
            "RETENTION_SMTP_URL": f"smtp://127.0.0.1:{box.port}?tls=none",
            "RETENTION_ALARM_MAIL_FROM": "retention@example.org",
            "RETENTION_ALARM_MAIL_TO": "admin@example.org",
            "RETENTION_PING_URL": f"{server.url}/alive",
        }
        ended = shop("daemon", "--once")
        assert "limit (form-monthly)" in str(box.messages[0]["Subject"])
        assert [path for _, path, _, _ in server.requests] == ["/alive"]
        assert "alarms told: channel=mail; alarms=1" in ended.err
        shop("daemon", "--once")
        assert len(box.messages) == 1
    for text in (str(box.messages[0]), ended.err):
        assert "person" not in text


def test_the_daemon_is_scraped_and_traced_and_shows_its_process(shop: Shop) -> None:
    """From outside, while it runs; nothing that leaves it holds anything of a person."""
    port = free_port()
    shop("daemon", "--once")
    with web() as collector:
        shop.settings |= {
            "RETENTION_METRICS_ADDRESS": f"127.0.0.1:{port}",
            "RETENTION_OTLP_ENDPOINT": collector.url,
            "RETENTION_LOG_FORMAT": "json",
        }
        shop.ledger("UPDATE schedule SET next_fire = '2026-01-01T00:00:00.000Z'")
        with subprocess.Popen(
            [sys.executable, "-m", "retention", "daemon", "--tick-seconds", "0.2"],
            cwd=shop.folder,
            env={**shop.environment(), "PYTHONPATH": str(ROOT)},
            stderr=subprocess.PIPE,
            text=True,
        ) as daemon:
            try:
                health = until(lambda: _get(port, "/health"))
                assert json.loads(health)["role"] == "daemon"
                until(lambda: shop.ids() == [1, 2])
                scraped = until(lambda: _get(port, "/metrics"))
                assert [row["role"] for row in shop("status", "--json").json["nodes"]] == ["daemon"]
            finally:
                daemon.send_signal(signal.SIGTERM)
                _, err = daemon.communicate(timeout=60)
        assert daemon.returncode == 0, err
    assert shop("status", "--json").json["nodes"] == []
    assert {json.loads(line)["event"] for line in err.splitlines()} >= {"started", "run", "ended"}
    spans = _spans(collector)
    assert {"tick", "slice"} <= spans.keys()
    assert spans["slice"]["retention.policy"] == "form-monthly"
    assert spans["slice"]["retention.state"] == "done"
    assert spans["slice"]["retention.counts.verified"] == "1"
    for text in (scraped, err, str(collector.bodies)):
        assert not re.search(r"person\d|@example", text)


def _get(port: int, page: str) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{page}", timeout=10) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


def _spans(collector: Web) -> dict[str, dict[str, Any]]:
    """Attributes of the spans that arrived, the last of each name."""
    found: dict[str, dict[str, Any]] = {}
    for method, path, _, body in collector.requests:
        assert (method, path) == ("POST", "/v1/traces")
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    found[span.name] = {
                        a.key: a.value.string_value or str(a.value.int_value)
                        for a in span.attributes
                    }
    return found


def test_spans_nest_and_hold_no_text_of_an_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what went wrong the class alone."""
    with web() as collector:
        traces.start(collector.url, "worker")
        with suppress(ValueError), traces.span("tick", policy="form") as span:
            span.set(counts={"due": 3}, ok=False)
            raise ValueError("ola.nordmann@example.com")
        traces.stop()
    assert _spans(collector)["tick"] == {
        "retention.policy": "form",
        "retention.counts.due": "3",
        "retention.ok": "0",
        "error.type": "ValueError",
    }
    assert b"nordmann" not in b"".join(collector.bodies)


def test_without_an_endpoint_nothing_is_traced_or_imported() -> None:
    """The small installation has no OpenTelemetry, and loses no time with it."""
    code = (
        "import sys; from retention.watch import traces\n"
        "traces.start(None, 'daemon')\n"
        "with traces.span('tick') as span: span.set(ok=True)\n"
        "traces.stop()\n"
        "assert not any(name.startswith('opentelemetry') for name in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_an_endpoint_without_its_packages_is_an_error_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Traces that silently go nowhere are refused."""
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(UsageError) as caught:
        traces.start("http://127.0.0.1:4318", "daemon")
    assert "retention[traces]" in caught.value.hint
