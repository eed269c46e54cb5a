"""Every metric: its name, its meaning, and how it follows from what the ledger says.

docs/reference/metrics.md lists the same; a test compares them. Labels hold names of policies,
systems, kinds and roles, never anything of a person.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from threading import Lock
from typing import NamedTuple

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from retention import __version__
from retention.errors import LedgerUnreachable
from retention.ledger.store import instant
from retention.run.home import Home
from retention.run.status import STATES, PolicyStatus
from retention.watch.reading import Reading, read

Samples = Iterable[tuple[tuple[str, ...], float | None]]
"""Values of labels and the number; None where there is nothing to say."""

SLOW = 0.5
AT_MOST = 20
"""A reading that took longer than SLOW seconds is shown again for so many times as long."""


class Gauge(NamedTuple):
    """One metric. All are gauges: they say how things stand, and the ledger forgets old runs."""

    name: str
    help: str
    labels: tuple[str, ...]
    samples: Callable[[Reading], Samples]


def _policy(name: str, text: str, value: Callable[[PolicyStatus], float | None]) -> Gauge:
    return Gauge(name, text, ("policy",), lambda r: (((p.policy,), value(p)) for p in r.policies))


def _one(name: str, text: str, value: Callable[[Reading], float | None]) -> Gauge:
    return Gauge(name, text, (), lambda r: [((), value(r))])


def _seconds(text: str | datetime | None) -> float | None:
    at = instant(text) if isinstance(text, str) else text
    return at.timestamp() if at else None


def _states(reading: Reading) -> Samples:
    counts = dict.fromkeys(STATES, 0)
    for policy in reading.policies:
        counts[policy.state] = counts.get(policy.state, 0) + 1
    return (((state,), number) for state, number in counts.items())


def _roles(reading: Reading) -> Samples:
    live = [node.role for node in reading.service.nodes if node.live(reading.at)]
    roles = sorted({node.role for node in reading.service.nodes})
    return (((role,), live.count(role)) for role in roles)


def _seen(reading: Reading) -> Samples:
    last: dict[str, datetime] = {}
    for node in reading.service.nodes:
        last[node.role] = max(last.get(node.role, node.seen_at), node.seen_at)
    return (((role,), at.timestamp()) for role, at in last.items())


def _written(reading: Reading) -> float | None:
    """The slowest write of a live process's last sign of life."""
    took = [
        node.facts["write_seconds"]
        for node in reading.service.nodes
        if node.live(reading.at) and isinstance(node.facts.get("write_seconds"), int | float)
    ]
    return max(took, default=None)


GAUGES: tuple[Gauge, ...] = (
    Gauge(
        "retention_build_info",
        "Always 1; the program's version and the revision of the ledger's schema.",
        ("version", "revision"),
        lambda r: [((__version__, r.service.revision or ""), 1)],
    ),
    _policy(
        "retention_overdue_records",
        "Records that were past their date when last looked at and are not gone since.",
        lambda p: p.overdue,
    ),
    _policy(
        "retention_oldest_overdue_days",
        "Days by which the most overdue record is late.",
        lambda p: p.oldest_overdue_days,
    ),
    _policy(
        "retention_held_records",
        "Records that a hold keeps, as the newest run counted them.",
        lambda p: p.held,
    ),
    _policy(
        "retention_review_records",
        "Records that wait for a person's decision, as the newest run counted them.",
        lambda p: p.review,
    ),
    _policy(
        "retention_unverified_records",
        "Records of the newest run of which no look could prove that they are gone.",
        lambda p: p.unverified,
    ),
    _policy(
        "retention_still_there_records",
        "Records of the newest run that were disposed of and can still be read.",
        lambda p: p.still_there,
    ),
    _policy(
        "retention_partly_disposed_people",
        "People of whom something is gone from one location and left in another.",
        lambda p: p.partly_disposed,
    ),
    Gauge(
        "retention_policy_state",
        "Always 1; the state that the policy is in stands in the label.",
        ("policy", "state"),
        lambda r: (((p.policy, p.state), 1) for p in r.policies),
    ),
    Gauge("retention_policies", "Policies in each state.", ("state",), _states),
    _policy(
        "retention_last_success_timestamp_seconds",
        "When a run of the policy last ended with nothing left undone.",
        lambda p: _seconds(p.last_success),
    ),
    _policy(
        "retention_next_firing_timestamp_seconds",
        "When the policy fires next.",
        lambda p: _seconds(p.next_fire),
    ),
    _policy(
        "retention_last_run_duration_seconds",
        "From the claim to the end of the policy's last finished run.",
        lambda p: p.last_seconds,
    ),
    Gauge(
        "retention_runs",
        "Runs that the ledger knows, by state. It forgets closed ones after a good year.",
        ("state",),
        lambda r: (((state,), number) for state, number in r.service.runs.items()),
    ),
    Gauge(
        "retention_open_alarms",
        "Alarms that are not over, by kind.",
        ("kind",),
        lambda r: (((kind,), number) for kind, number in sorted(r.service.alarms.items())),
    ),
    _one(
        "retention_frozen",
        "1 while `retention freeze` stops every disposal.",
        lambda r: float(r.service.frozen is not None),
    ),
    _one(
        "retention_log_entries",
        "Entries of the newest audit log.",
        lambda r: r.service.log.size,
    ),
    _one(
        "retention_log_unsigned_entries",
        "Entries of it that came after its last checkpoint.",
        lambda r: r.service.log.size - r.service.log.checkpoint_size,
    ),
    _one(
        "retention_log_checkpoint_timestamp_seconds",
        "When the audit log was last signed.",
        lambda r: _seconds(r.service.log.checkpoint_at),
    ),
    _one(
        "retention_log_verified_timestamp_seconds",
        "When the audit log was last compared with its checkpoints.",
        lambda r: _seconds(r.service.log.verified_at),
    ),
    _one(
        "retention_last_tick_timestamp_seconds",
        "When any process last wrote down what is owed.",
        lambda r: _seconds(r.service.last_tick),
    ),
    Gauge(
        "retention_waiting_runs",
        "Runs and parts of runs that could be worked on now and are not, by system.",
        ("system",),
        lambda r: (((name,), queue.waiting) for name, queue in r.service.queues.items()),
    ),
    Gauge(
        "retention_waiting_oldest_seconds",
        "For how long the oldest of them has waited.",
        ("system",),
        lambda r: (((name,), queue.oldest_seconds) for name, queue in r.service.queues.items()),
    ),
    _one(
        "retention_running_leases",
        "Runs and parts of runs that a process works on now.",
        lambda r: r.service.leases,
    ),
    Gauge("retention_nodes", "Processes that are alive, by role.", ("role",), _roles),
    Gauge(
        "retention_node_seen_timestamp_seconds",
        "When a process of the role last gave a sign of life.",
        ("role",),
        _seen,
    ),
    _one(
        "retention_ledger_read_seconds",
        "How long this scrape's reading of the service took.",
        lambda r: r.service.seconds,
    ),
    _one(
        "retention_ledger_write_seconds",
        "How long the last sign of life took to write, of the slowest process.",
        _written,
    ),
    Gauge(
        "retention_alarm_channel_failures",
        "Deliveries of alarms that failed in a row, by channel.",
        ("channel",),
        lambda r: (((name,), c.failures) for name, c in sorted(r.service.channels.items())),
    ),
    Gauge(
        "retention_alarm_channel_told_timestamp_seconds",
        "When the channel last took a message.",
        ("channel",),
        lambda r: (((name,), _seconds(c.last)) for name, c in sorted(r.service.channels.items())),
    ),
)
UP = Gauge("retention_ledger_up", "1 where the ledger's database answers.", (), lambda _: [((), 1)])


class LedgerCollector(Collector):
    """Reads the ledger at each scrape; one scrape at a time.

    With very many policies a reading takes its time: a slow one is shown again for a while, so
    that scrapes take a twentieth of the time at most.
    """

    def __init__(self, home: Callable[[], Home]) -> None:
        self._home = home
        self._lock = Lock()
        self._last: Reading | None = None
        self._until = 0.0

    def collect(self) -> Iterator[Metric]:
        """Every metric; only that the ledger does not answer where it does not."""
        try:
            reading = self._reading()
        except LedgerUnreachable:
            yield GaugeMetricFamily(UP.name, UP.help, value=0)
            return
        for gauge in (UP, *GAUGES):
            family = GaugeMetricFamily(gauge.name, gauge.help, labels=gauge.labels)
            for labels, value in gauge.samples(reading):
                if value is not None:
                    family.add_metric(labels, value)
            yield family

    def describe(self) -> Iterator[Metric]:
        """The names, without a look."""
        for gauge in (UP, *GAUGES):
            yield GaugeMetricFamily(gauge.name, gauge.help, labels=gauge.labels)

    def _reading(self) -> Reading:
        with self._lock:
            if self._last is None or time.monotonic() >= self._until:
                self._last = None
                began = time.monotonic()
                self._last = read(self._home())
                took = time.monotonic() - began
                self._until = time.monotonic() + (took * AT_MOST if took > SLOW else 0.0)
            return self._last


def registry(home: Callable[[], Home]) -> CollectorRegistry:
    """A registry of this service alone: nothing else of the process is in it.

    `home` is asked at each scrape: its policies may have been read again.
    """
    made = CollectorRegistry()
    made.register(LedgerCollector(home))
    return made


def text(home: Home) -> str:
    """All metrics in Prometheus' text format, read now."""
    return generate_latest(registry(lambda: home)).decode()
