"""What `doctor` looks at: systems by their own probes, and everything on this machine."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retention.cli.failures import worst
from retention.errors import (
    ConnectorError,
    CredentialsRefused,
    ExitCode,
    RetentionError,
)

if TYPE_CHECKING:
    from retention.run.home import Home

NO_DOMAIN = "retention.invalid"


@dataclass(frozen=True, slots=True)
class Check:
    """One finding. `hint` says what to do where it is not ok."""

    where: str
    check: str
    ok: bool
    detail: str
    hint: str = ""

    def to_json(self) -> dict[str, Any]:
        """As `doctor --json` prints it."""
        return asdict(self)


def examine_everything(home: Home) -> tuple[list[Check], ExitCode]:
    """Every check, and the exit code: 12 where a system refused us, 1 where anything is not ok."""
    checks: list[Check] = []
    codes: list[ExitCode] = []
    for part in (_policies, _home, _clock, _log, _plugins):
        checks += part(home)
    for system in home.in_force.bundle.systems:
        found, error = _system(home, system)
        checks += found
        if isinstance(error, CredentialsRefused):
            codes.append(ExitCode.REFUSED)
    if not all(check.ok for check in checks):
        codes.append(ExitCode.CHECK_FAILED)
    return checks, worst(codes)


def _policies(home: Home) -> Iterator[Check]:
    errors = len(home.examined.errors)
    yield Check(
        "policies",
        "files",
        not errors,
        f"{len(home.in_force.names())} policies, {errors} errors",
        "retention validate shows them" if errors else "",
    )


def _home(home: Home) -> Iterator[Check]:
    state = home.settings.state
    yield _private(state, "home", needed=home.settings.database_url is None)
    keys = state / "keys"
    yield _private(keys, "keys", needed=True)
    if keys.is_dir():
        shared = [p for p in keys.iterdir() if stat.S_IMODE(p.stat().st_mode) & 0o077]
        yield Check(
            "home",
            "key files",
            not shared,
            f"{len(shared)} can be read by other accounts" if shared else "private",
            "chmod 600, then rotate the keys" if shared else "",
        )
    with home.ctx.ledger.read():
        kind = home.ctx.ledger.engine.dialect.name
        yield Check("ledger", "database", ok=True, detail=f"answers ({kind})")


def _private(folder: Path, name: str, *, needed: bool) -> Check:
    if not folder.is_dir():
        hint = "it is made at the first use" if needed else ""
        return Check("home", name, not needed, "is not there", hint)
    mode = stat.S_IMODE(folder.stat().st_mode)
    private = not mode & 0o077
    return Check(
        "home",
        name,
        private,
        "private" if private else f"mode {mode:o}: other accounts may look in",
        "" if private else f"chmod 700 {folder}",
    )


def _clock(home: Home) -> Iterator[Check]:
    from retention.run.tick import clock_went_back

    with home.ctx.ledger.read() as tx:
        back = clock_went_back(tx, home.ctx.clock.now())
    yield Check(
        "machine",
        "clock",
        not back,
        "went back behind the ledger's last moment" if back else "fits the ledger",
        "set it right (NTP): nothing is disposed of meanwhile" if back else "",
    )


def _log(home: Home) -> Iterator[Check]:
    try:
        found = home.ctx.log.check(home.ctx.clock.now(), full=True)
    except RetentionError as error:
        yield Check("log", "integrity", ok=False, detail=error.message, hint=error.hint)
    else:
        detail = f"{found.size} entries fit their checkpoints"
        yield Check("log", "integrity", ok=True, detail=detail)
    invalid = home.settings.origin.startswith(NO_DOMAIN)
    yield Check(
        "log",
        "name",
        not invalid,
        home.settings.origin,
        "set RETENTION_ORIGIN to a name under a domain of yours, best before the first run"
        if invalid
        else "",
    )


def _plugins(home: Home) -> Iterator[Check]:
    from retention.connectors.registry import broken

    used = {system.connector for system in home.in_force.bundle.systems.values()}
    for kind, reason in broken().items():
        wanted = kind in used
        hint = "policies that use it cannot run" if wanted else "no policy uses it"
        yield Check("connectors", kind, not wanted, reason, hint)


def _system(home: Home, name: str) -> tuple[list[Check], RetentionError | None]:
    """One system's own probe, with every location that lies in it."""
    from retention.run.sessions import target

    bundle = home.in_force.bundle
    checks: list[Check] = []
    try:
        targets = [
            target(
                bundle,
                location,
                dates=tuple(model.dates.values()),
                fields=tuple(s for found in model.subject_sources().values() for s in found),
            )
            for location, model in bundle.locations().items()
            if model.system == name
        ]
        session = home.ctx.open(bundle, name)
        try:
            # One by one: what was found before a failure is kept.
            for probe in session.probe(targets):
                found = Check(name, probe.check, probe.ok, probe.detail, probe.hint)
                checks.append(found)
        finally:
            session.close()
    except RetentionError as error:
        kind = "connection" if isinstance(error, ConnectorError) else "settings"
        failed = Check(name, kind, ok=False, detail=error.message, hint=error.hint)
        return [*checks, failed], error
    return checks, None
