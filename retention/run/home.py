"""Putting the parts together: policy files, ledger, log and keys of one organisation."""

from __future__ import annotations

import gc
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import select

from retention.audit.log import AuditLog
from retention.clock import Clock, SystemClock
from retention.connectors import registry
from retention.connectors.base import Connector
from retention.connectors.secrets import resolver
from retention.connectors.wrap import Buckets
from retention.errors import PolicyError
from retention.ledger import tables as t
from retention.ledger.store import Ledger
from retention.policy.check import affected, broken, check, connector_facts
from retention.policy.digest import digest
from retention.policy.findings import Finding, Severity
from retention.policy.load import Loaded, load
from retention.policy.model import Bundle
from retention.run import evidence, rates
from retention.run.context import Context, Pace
from retention.run.executor import Executor
from retention.run.in_force import InForce, register
from retention.run.report import Report
from retention.schedule.compile import compile_job
from retention.schedule.findings import facts_for_bundle
from retention.schedule.model import Job
from retention.settings import Settings, environment
from retention.subjects.keys import SubjectHasher


@dataclass(frozen=True, slots=True)
class Examined:
    """A policy folder, loaded and checked.

    `bundle`: what can be used of it; None where not even an organisation is known. `broken`:
    policies that must not act, with the reason. `unreadable`: a whole file could not be read, so
    a policy that is missing may only be hidden.
    """

    loaded: Loaded
    findings: tuple[Finding, ...]
    bundle: Bundle | None
    jobs: Mapping[str, Job] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    broken: Mapping[str, str] = field(default_factory=dict)
    unreadable: bool = False

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that are errors."""
        return tuple(f for f in self.findings if f.severity is Severity.ERROR)


def examine(folder: Path, now: datetime) -> Examined:
    """Load a folder and find all that is wrong with it. Never raises for what files say."""
    loaded = load(folder)
    facts = facts_for_bundle(loaded.bundle, now) if loaded.bundle else ()
    bundle = loaded.bundle or loaded.partial
    used = {system.connector for system in bundle.systems.values()} if bundle else set()
    findings = tuple(check(loaded, connector_facts(registry.facts(used)), facts))
    if bundle is None:
        return Examined(loaded, findings, None, unreadable=True)
    errors = [f for f in findings if f.severity is Severity.ERROR]
    placed = [f for f in errors if f.path and f.path[0] != "organisation"]
    stopped = broken(bundle, placed)
    for found in placed:
        # A policy whose own form is wrong is in no bundle: it is broken, not removed.
        if found.policy is not None and found.policy not in bundle.policies:
            stopped.setdefault(found.policy, str(found))
    unreadable = len(placed) < len(errors)
    stopped |= _neighbours(bundle, stopped, placed)
    usable = {name: p for name, p in bundle.policies.items() if name not in stopped}
    sound = bundle.model_copy(update={"policies": usable})
    digests = {name: digest(sound, name) for name in usable}
    jobs = {
        name: compile_job(name, policy, bundle.organisation, digests[name], now)
        for name, policy in usable.items()
    }
    return Examined(loaded, findings, sound, jobs, digests, stopped, unreadable)


def _neighbours(
    bundle: Bundle, stopped: Mapping[str, str], errors: list[Finding]
) -> dict[str, str]:
    """Policies that touch what a broken one touches: it may have been the one that protects."""
    touched = {
        location for name in stopped if name in bundle.policies for location in _reach(bundle, name)
    }
    hidden = {str(f.path[1]) for f in errors if f.path[0] == "policies" and len(f.path) > 1}
    reason = f"a policy for the same records has errors: {', '.join(sorted({*stopped, *hidden}))}"
    return {
        name: reason
        for name in bundle.policies
        if name not in stopped and touched.intersection(_reach(bundle, name))
    }


def _reach(bundle: Bundle, name: str) -> tuple[str, ...]:
    with suppress(KeyError):
        return bundle.locations_of(bundle.policies[name])
    return ()


class Home:
    """One organisation's service, opened: a context manager.

    Raises PolicyError where the files name no organisation and nothing was ever approved,
    LedgerUnreachable, UsageError.
    """

    def __init__(self, settings: Settings, ctx: Context, examined: Examined) -> None:
        self.settings = settings
        self.ctx = ctx
        self.examined = examined
        self._seen = _fingerprint(ctx.folder)
        self.in_force = self._register()

    @classmethod
    def open(
        cls,
        settings: Settings,
        *,
        actor: str,
        clock: Clock | None = None,
        buckets: Callable[[Ledger], Buckets] = rates.buckets,
    ) -> Home:
        """Open ledger, log and keys, examine the files, and write down what they say now.

        `buckets` makes the rate limits of vendors' accounts; by default the ledger keeps them.
        """
        clock = clock or SystemClock()
        folder = settings.policies.resolve()
        examined = examine(folder, clock.now())
        if examined.bundle is None:
            raise unusable(examined)
        ledger = Ledger.open(settings.ledger_url)
        keys = settings.state / "keys"
        try:
            hasher = SubjectHasher.open(keys, examined.bundle.organisation.country)
            with ledger.write() as tx:
                hasher.fits(tx)
        except BaseException:
            ledger.close()
            raise
        resolve = resolver(environment(), str(folder))

        limits = buckets(ledger)

        def connect(bundle: Bundle, system: str) -> Connector:
            return registry.open_connector(
                system,
                bundle.systems[system],
                str(folder),
                resolve,
                timezone=bundle.organisation.timezone,
                buckets=limits,
            )

        ctx = Context(
            ledger=ledger,
            log=AuditLog(ledger, keys, settings.origin),
            hasher=hasher,
            clock=clock,
            open=connect,
            folder=folder,
            pace=Pace(
                batch_records=settings.batch_records,
                lease=timedelta(seconds=settings.lease_seconds),
                retry_window=timedelta(minutes=settings.retry_window_minutes),
                again=timedelta(hours=settings.again_hours),
                hold_grace=timedelta(days=settings.hold_grace_days),
                slice=timedelta(seconds=settings.slice_seconds),
                shards=settings.shards,
                shard_records=settings.shard_records,
                system_workers=settings.system_workers,
            ),
            actor=actor,
        )
        home = cls(settings, ctx, examined)
        # What was loaded stays as long as we do. A run makes millions of short-lived records, and
        # the collector would walk through all of it again every few thousand of them.
        gc.freeze()
        return home

    def _register(self) -> InForce:
        bundle = self.examined.bundle
        if bundle is None:
            raise unusable(self.examined)
        return register(
            self.ctx,
            bundle,
            broken=self.examined.broken,
            unreadable=self.examined.unreadable,
            unchecked=self.examined.loaded.bundle is None,
            commit=git_commit(self.ctx.folder),
        )

    @property
    def jobs(self) -> dict[str, Job]:
        """A job for every policy that is in force: as approved, else as the files say."""
        out = dict(self.examined.jobs)
        for name, approved in self.in_force.approved.items():
            if self.in_force.digests.get(name) != approved.digest:
                bundle = approved.bundle
                out[name] = compile_job(
                    name,
                    bundle.policies[name],
                    bundle.organisation,
                    approved.digest,
                    self.ctx.clock.now(),
                )
        return out

    def outdated(self) -> bool:
        """Whether policy files changed on disk, or an approval in the ledger, since we looked."""
        if _fingerprint(self.ctx.folder) != self._seen:
            return True
        with self.ctx.ledger.read() as tx:
            rows = tx.execute(select(t.enforced.c.policy, t.enforced.c.digest))
            approved = {row.policy: row.digest for row in rows}
        return approved != {name: a.digest for name, a in self.in_force.approved.items()}

    def refresh(self) -> bool:
        """Look again where anything is outdated. Returns whether it was."""
        outdated = self.outdated()
        if outdated:
            self.reload()
        return outdated

    def reload(self) -> tuple[Finding, ...]:
        """Read the files again. Files that name no organisation change nothing. Returns errors."""
        self._seen = _fingerprint(self.ctx.folder)
        examined = examine(self.ctx.folder, self.ctx.clock.now())
        if examined.bundle is not None:
            self.examined = examined
            self.in_force = self._register()
        else:
            self.in_force = replace(self.in_force, unreadable=True)
        self.tell()
        return examined.errors

    def tell(self) -> None:
        """Raise an alarm for policies that cannot act because of what the files say."""
        ctx = self.ctx
        with ctx.ledger.write() as tx:
            if self.in_force.unreadable:
                evidence.alarm(ctx, tx, "", "files-unreadable", "a policy file cannot be read")
            else:
                evidence.clear_alarms(ctx, tx, "", ("files-unreadable",))
            for name in self.in_force.names():
                if name in self.in_force.broken:
                    evidence.alarm(ctx, tx, name, "policy-broken", "the policy has errors")
                else:
                    evidence.clear_alarms(ctx, tx, name, ("policy-broken",))

    def executor(
        self,
        stop: Callable[[], bool] = lambda: False,
        told: Callable[[Report], None] = lambda _report: None,
    ) -> Executor:
        """The embedded executor over what is in force now."""
        return Executor(
            self.ctx,
            self.in_force,
            self.jobs,
            stop,
            told,
            timedelta(minutes=self.settings.checkpoint_minutes),
            outdated=self.outdated,
        )

    def close(self) -> None:
        gc.unfreeze()
        self.ctx.ledger.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _fingerprint(folder: Path) -> frozenset[tuple[str, int, int]]:
    """Names, times and sizes of the policy files: enough to see that one was written."""
    found = set()
    for path in folder.rglob("*.yaml"):
        with suppress(OSError):
            status = path.stat()
            found.add((str(path), status.st_mtime_ns, status.st_size))
    return frozenset(found)


def unusable(examined: Examined) -> PolicyError:
    """The error for a folder of which nothing can be used: its first finding, and how many more."""
    # That no organisation is known only follows from a file that cannot be read.
    first, *rest = sorted(examined.errors, key=lambda f: f.code == "no-organisation")
    more = f"; and {len(rest)} more: retention validate" if rest else ""
    return PolicyError(
        first.message,
        place=f"{first.file}:{first.line}:{first.col}",
        hint=f"{first.hint}{more}",
        code=first.code,
    )


def git_commit(folder: Path) -> str | None:
    """The commit that the policy files stand at, where they are in git and unchanged."""
    with suppress(OSError, subprocess.SubprocessError):
        for question in (("diff", "--quiet", "HEAD", "--", "."), ("rev-parse", "HEAD")):
            answer = subprocess.run(  # noqa: S603  # fixed words and a folder, no shell
                ("git", "-C", str(folder), *question),  # noqa: S607  # git is where PATH says
                capture_output=True,
                text=True,
                timeout=5,
                check=True,
            )
        return answer.stdout.strip() or None
    return None


def findings_of(examined: Examined, policy: str) -> Iterator[Finding]:
    """What was found about one policy, by its own place or by what it rests on."""
    if examined.bundle is not None:
        for found in examined.findings:
            if policy in affected(examined.bundle, found):
                yield found
