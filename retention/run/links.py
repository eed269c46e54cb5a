"""Starting points that lie in another cluster: who is a customer, and since when no more.

A private temporary database on disk holds keyed hashes and dates only, so that a register of a
million customers costs no memory; it goes with the process. Where the register has forgotten a
person whose record we disposed of, the ledger's `start_memory` answers.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time

from sqlalchemy import Connection, insert, select, update

from retention.connectors.base import Record, Value, When, keys_of
from retention.connectors.registry import manifest
from retention.decide.model import LinkedStart
from retention.ledger import tables as t
from retention.ledger.store import instant, stamp
from retention.policy.model import Bundle, LocationModel, Policy
from retention.run.context import Context
from retention.run.sessions import Sessions, target

Link = tuple[str, str]
"""(`cluster.date`, subject kind)."""
_CHUNK = 400


class Links:
    """What the registers of other clusters say about people, read once per run."""

    def __init__(self) -> None:
        # An empty name is SQLite's private temporary database: on disk, deleted on close.
        self._db = sqlite3.connect("", check_same_thread=False)
        self._db.execute(
            "CREATE TABLE link (source TEXT, kind TEXT, subject TEXT, active INTEGER, latest TEXT,"
            " PRIMARY KEY (source, kind, subject)) WITHOUT ROWID"
        )
        # Whom else the copies of a record name, and the names under which holds know the copies.
        self._db.execute(
            "CREATE TABLE kin (source TEXT, kind TEXT, subject TEXT, mark TEXT,"
            " PRIMARY KEY (source, kind, subject, mark)) WITHOUT ROWID"
        )
        self._read_at: dict[Link, datetime] = {}

    def read(
        self, ctx: Context, sessions: Sessions, bundle: Bundle, wanted: Iterable[Link]
    ) -> None:
        """Read the registers that were not read yet.

        Raises ConnectorError: a register that cannot be read blocks what waits for it.
        """
        for source, kind in sorted(set(wanted) - self._read_at.keys()):
            with self._db:
                for table in ("link", "kin"):
                    self._db.execute(
                        f"DELETE FROM {table} WHERE source = ? AND kind = ?", (source, kind)
                    )
                if source.endswith("."):
                    self._read_kin(ctx, sessions, bundle, source, kind)
                else:
                    self._read(ctx, sessions, bundle, source, kind)
            self._read_at[source, kind] = ctx.clock.now()

    def refresh(self, ctx: Context, sessions: Sessions, bundle: Bundle) -> None:
        """Read again what was read long ago: somebody may have come back as a customer since.

        Raises ConnectorError.
        """
        now = ctx.clock.now()
        old = [k for k, at in self._read_at.items() if now - at > ctx.pace.links_fresh]
        for link in old:
            del self._read_at[link]
        self.read(ctx, sessions, bundle, old)

    def _read(
        self, ctx: Context, sessions: Sessions, bundle: Bundle, source: str, kind: str
    ) -> None:
        cluster, _, name = source.partition(".")
        for short, location in bundle.clusters[cluster].locations.items():
            if kind not in location.subject or name not in location.dates:
                continue
            column = location.dates[name]
            aim = target(
                bundle,
                f"{cluster}/{short}",
                dates=(column,),
                fields=location.subject_sources()[kind],
            )
            for page in sessions.acting(location.system).find(aim):
                self._db.executemany(
                    "INSERT INTO link VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
                    " active = max(active, excluded.active), latest = max(latest, excluded.latest)",
                    [
                        (source, kind, subject, when is None, _text(when))
                        for record in page.records
                        for when in (record.dates.get(column),)
                        for subject in subjects_of(ctx, record.fields, location, kind)
                    ],
                )

    def _read_kin(
        self, ctx: Context, sessions: Sessions, bundle: Bundle, source: str, kind: str
    ) -> None:
        cluster = source.removesuffix(".")
        for short, location in bundle.clusters[cluster].locations.items():
            if kind not in location.subject:
                continue
            name, keys = f"{cluster}/{short}", location.subject_sources()
            kind_of = manifest(bundle.systems[location.system].connector)
            aim = target(bundle, name, fields=tuple({s: None for ss in keys.values() for s in ss}))
            for page in sessions.acting(location.system).find(aim):
                self._db.executemany(
                    "INSERT OR IGNORE INTO kin VALUES (?, ?, ?, ?)",
                    [
                        (source, kind, subject, mark)
                        for record in page.records
                        for subject in subjects_of(ctx, record.fields, location, kind)
                        for mark in (
                            *(
                                ctx.hasher.record(location.system, name, key)
                                for key in keys_of(kind_of, record.ref.key)
                            ),
                            *(
                                other
                                for one in keys
                                for other in subjects_of(ctx, record.fields, location, one)
                            ),
                        )
                    ],
                )

    def kin_of(self, wanted: Iterable[Link], hashes: Mapping[str, Iterable[str]]) -> frozenset[str]:
        """Keyed hashes of everybody whom copies of a record name, and of the copies themselves."""
        return frozenset(
            row[0]
            for source, kind in wanted
            if source.endswith(".")
            for subject in hashes.get(kind, ())
            for row in self._db.execute(
                "SELECT mark FROM kin WHERE source = ? AND kind = ? AND subject = ?",
                (source, kind, subject),
            )
        )

    def of(
        self, tx: Connection, wanted: Iterable[Link], hashes: Mapping[str, Iterable[str]]
    ) -> dict[Link, LinkedStart]:
        """For one record's people (kind → hashes): what each link says of them together."""
        out: dict[Link, LinkedStart] = {}
        for source, kind in wanted:
            if source.endswith("."):
                continue
            active, latest = False, ""
            matched = False
            for subject in hashes.get(kind, ()):
                row = self._db.execute(
                    "SELECT active, latest FROM link WHERE source = ? AND kind = ? AND subject = ?",
                    (source, kind, subject),
                ).fetchone()
                if row is None:
                    remembered = tx.execute(
                        select(t.start_memory.c.latest).where(
                            t.start_memory.c.source == source,
                            t.start_memory.c.subject == subject,
                        )
                    ).scalar_one_or_none()
                    row = (0, remembered) if remembered else None
                if row is not None:
                    matched = True
                    active = active or bool(row[0])
                    latest = max(latest, row[1])
            out[source, kind] = LinkedStart(matched, active, instant(latest) if latest else None)
        return out

    def close(self) -> None:
        self._db.close()


def links_into(bundle: Bundle, cluster: str) -> frozenset[Link]:
    """The links of any policy that start in a date of this cluster, or of copies within it."""
    known = bundle.clusters.get(cluster)
    shared = known.matched_on if known is not None else None
    found: set[Link] = set()
    for policy in bundle.policies.values():
        for leaf in policy.starting_point.leaves() if policy.starting_point is not None else ():
            if leaf.date is None:
                continue
            if leaf.matched_on is not None and leaf.date.partition(".")[0] == cluster:
                found.add((leaf.date, leaf.matched_on))
            elif leaf.matched_on is None and shared is not None and _reaches(policy, cluster):
                found.add((f"{cluster}.{leaf.date}", shared))
    return frozenset(found)


def _reaches(policy: Policy, cluster: str) -> bool:
    return any(
        target in ("*", cluster) or target.partition("/")[0] == cluster
        for target in policy.applies_to
    )


def remember(
    ctx: Context,
    tx: Connection,
    model: LocationModel,
    wanted: Iterable[Link],
    records: Iterable[Record],
) -> None:
    """Keep a disposed record's end date for the mail that still waits for it, by keyed hash.

    `wanted`: links into the location's cluster, of whatever is in force (`links_into`).
    """
    for source, kind in wanted:
        column = model.dates.get(source.partition(".")[2])
        if column is None or kind not in model.subject:
            continue
        for record in records:
            when = record.dates.get(column)
            if when is None:
                continue
            for subject in subjects_of(ctx, record.fields, model, kind):
                _keep(tx, source, subject, _text(when))


def _keep(tx: Connection, source: str, subject: str, latest: str) -> None:
    same = (t.start_memory.c.source == source) & (t.start_memory.c.subject == subject)
    before = tx.execute(select(t.start_memory.c.latest).where(same)).scalar_one_or_none()
    if before is None:
        tx.execute(insert(t.start_memory).values(source=source, subject=subject, latest=latest))
    elif before < latest:
        tx.execute(update(t.start_memory).where(same).values(latest=latest))


def subjects_of(
    ctx: Context, fields: Mapping[str, Value], location: LocationModel, kind: str
) -> list[str]:
    """Hashes of a record's subject keys of one kind."""
    return [
        ctx.hasher.subject(kind, text)
        for source in location.subject_sources().get(kind, ())
        for text in texts(fields.get(source))
    ]


def texts(value: Value) -> tuple[str, ...]:
    """A field's value as the subject keys it holds: none, one, or several."""
    if value is None or value == "":
        return ()
    if isinstance(value, tuple):
        return tuple(v for v in value if v)
    return (str(value),)


def _text(when: When) -> str:
    if when is None:
        return ""
    if isinstance(when, datetime):
        return stamp(when)
    if isinstance(when, date):
        # A civil date has no instant; noon UTC is the same civil day in every zone of Europe
        # and the Americas, and the later day elsewhere.
        return stamp(datetime.combine(when, time(12), UTC))
    raise TypeError(when)
