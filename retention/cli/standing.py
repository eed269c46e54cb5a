"""How `status` shows policies, the freeze, processes and alarms: as tables and as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from retention.cli.output import Cell, count, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retention.run.status import PolicyStatus
    from retention.watch.nodes import Node
    from retention.watch.reading import LogState, Service

    Alarms = Sequence[tuple[str, str, str, str]]
    """(policy or "", kind, detail, since)"""

_STYLES = {
    "ok": "green",
    "running": "green",
    "broken": "bold red",
    "failing": "bold red",
    "late": "bold red",
    "stopped": "bold red",
    "frozen": "cyan",
}


@dataclass(frozen=True, slots=True)
class Zone:
    """The organisation's time zone by name, and the present moment."""

    name: str
    now: datetime

    def when(self, at: datetime | str | None) -> str:
        """`2026-06-15 14:00` in the zone; empty for nothing."""
        from retention.ledger.store import instant
        from retention.policy.counting import zone_of

        if not at:
            return ""
        moment = instant(at) if isinstance(at, str) else at
        return f"{moment.astimezone(zone_of(self.name)):%Y-%m-%d %H:%M}"

    def ago(self, at: datetime | str) -> str:
        """`12 seconds ago`, `3 hours ago`."""
        from retention.ledger.store import instant

        moment = instant(at) if isinstance(at, str) else at
        seconds = max(0, int((self.now - moment).total_seconds()))
        for size, name in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
            if seconds >= 2 * size:
                return f"{count(seconds // size, name)} ago"
        return f"{count(seconds, 'second')} ago" if seconds else "just now"


def as_json(
    rows: Sequence[PolicyStatus], service: Service, alarms: Alarms, now: datetime
) -> dict[str, Any]:
    """What `status --json` prints. Keys are only ever added."""
    from retention.ledger.store import stamp

    log, frozen = service.log, service.frozen
    return {
        "policies": [row.to_json() for row in rows],
        "log": {
            "size": log.size,
            "root": log.root,
            "verified_at": log.verified_at,
            "checkpoint_at": log.checkpoint_at,
            "checkpoint_size": log.checkpoint_size,
        },
        "frozen": {"since": stamp(frozen.since), "reason": frozen.reason} if frozen else None,
        "nodes": [
            {
                "name": node.name,
                "role": node.role,
                "version": node.version,
                "started_at": stamp(node.started_at),
                "seen_at": stamp(node.seen_at),
                "live": node.live(now),
            }
            for node in service.nodes
        ],
        "alarms": [
            {"policy": policy or None, "kind": kind, "detail": detail, "since": since}
            for policy, kind, detail, since in alarms
        ],
        "last_tick": stamp(service.last_tick) if service.last_tick else None,
    }


def show(rows: Sequence[PolicyStatus], service: Service, alarms: Alarms, zone: Zone) -> None:
    """What `status` prints for people: whatever needs somebody stands last, next to the prompt."""
    _policies(rows, service.log, zone)
    _nodes(service.nodes, zone)
    if service.frozen is not None:
        table(
            ("frozen since", "reason"),
            (((zone.when(service.frozen.since), "bold cyan"), service.frozen.reason),),
            footer="nothing is disposed of until `retention thaw`",
        )
    if alarms:
        table(
            ("alarm", "policy", "detail", "since"),
            (
                ((kind, "bold red"), policy, detail, zone.when(at))
                for policy, kind, detail, at in alarms
            ),
            footer=f"{count(len(alarms), 'open alarm')} · times in {zone.name}",
        )


def _policies(rows: Sequence[PolicyStatus], log: LogState, zone: Zone) -> None:
    def cells(row: PolicyStatus) -> tuple[Cell, ...]:
        late = f"{row.overdue} (oldest {row.oldest_overdue_days} days)" if row.overdue else "0"
        return (
            row.policy,
            (row.state, _STYLES.get(row.state, "yellow")),
            zone.when(row.last_run),
            zone.when(row.next_fire),
            (late, "bold red" if row.overdue else ""),
            row.held,
            row.review,
        )

    table(
        ("policy", "state", "last run", "next firing", "overdue", "held", "review"),
        map(cells, rows),
        right=("held", "review"),
        footer=f"{count(len(rows), 'policy')}, {sum(r.overdue for r in rows)} records overdue, "
        f"{sum(r.held for r in rows)} held · {_log(log, zone)} · times in {zone.name}",
    )


def _log(log: LogState, zone: Zone) -> str:
    signed, checked = "never signed", "never checked"
    if log.checkpoint_at:
        signed = f"signed {zone.ago(log.checkpoint_at)}"
        if since := log.size - log.checkpoint_size:
            signed += f" ({since} since)"
    if log.verified_at:
        checked = f"checked {zone.when(log.verified_at)}"
    return f"log of {log.size} entries, {signed}, {checked}"


def _nodes(nodes: Sequence[Node], zone: Zone) -> None:
    def cells(node: Node) -> tuple[Cell, ...]:
        host, _, rest = node.name.partition(":")
        live = node.live(zone.now)
        return (
            (node.role, "green" if live else "bold red"),
            host,
            rest.partition(":")[0],
            node.version,
            zone.when(node.started_at),
            (zone.ago(node.seen_at), "" if live else "bold red"),
        )

    if nodes:
        silent = sum(not node.live(zone.now) for node in nodes)
        table(
            ("role", "machine", "process", "version", "started", "last sign of life"),
            map(cells, nodes),
            footer=f"{len(nodes) - silent} alive"
            + (f", {silent} silent" if silent else "")
            + f" · times in {zone.name}",
        )
