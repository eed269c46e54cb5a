"""A plan while it is read: printed record by record, so that memory stays flat."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retention.cli.failures import worst
from retention.cli.output import Cell, count, note, progress, say, table
from retention.errors import ConnectorError, ExitCode, PolicyError

if TYPE_CHECKING:
    from datetime import datetime

    from retention.run.home import Home
    from retention.run.plan import Plan, Planned

STYLES = {
    "delete": "red",
    "anonymise": "red",
    "hand_over": "red",
    "restrict": "yellow",
    "review": "yellow",
    "held": "cyan",
    "blocked": "magenta",
}


@dataclass(slots=True)
class Planning:
    """What `plan`, `due` and `forecast` look at."""

    home: Home
    plan: Plan
    everything: bool = False
    broken: tuple[str, ...] = ()
    _items: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(
        cls, home: Home, names: Sequence[str], at: str | None, *, everything: bool = False
    ) -> Planning:
        """As the files say, as if all of it were approved.

        Raises UsageError for unknown policies, PolicyError for named ones that have errors.
        """
        from retention.cli.opening import known_policy
        from retention.run.plan import Plan

        in_force = home.in_force
        for name in names:
            known_policy(home, name)
            if name not in in_force.digests and name not in in_force.approved:
                raise PolicyError(
                    f"the policy `{name}` has errors",
                    hint="retention validate shows them",
                    place=name,
                    code="policy-broken",
                )
        wanted = tuple(names) or tuple(sorted(in_force.digests))
        plan = Plan(home.ctx, in_force, home.jobs, wanted, in_force.wishes(), at=moment(home, at))
        return cls(home, plan, everything, tuple(sorted(in_force.broken)))

    def items(self) -> Iterator[Planned]:
        """Every record that is to be shown; a counter runs while they are read."""
        with progress("reading") as done:
            for planned in self.plan.items():
                done(1)
                if self.everything or planned.verdict.action != "keep":
                    yield planned

    def print(self, *, as_json: bool, out: Path | None) -> None:
        """Print everything, and write the plan file where one is wanted."""
        from retention.run.plan import PlanFile

        shown = self._kept_for(self.items()) if out is not None else self.items()
        if as_json:
            self._print_json(shown)
        else:
            self._print_table(shown)
        if out is not None:
            PlanFile.write(out, self.plan, self._items)
            say(f"plan {self.plan.id} written to {out}: retention approve {out}, then apply {out}")
        self._tell()

    def _kept_for(self, items: Iterator[Planned]) -> Iterator[Planned]:
        from retention.run.plan import PlanFile

        for planned in items:
            self._items.append(PlanFile.item(planned))
            yield planned

    def _print_json(self, items: Iterator[Planned]) -> None:
        from retention.run.plan import as_json

        def write(text: str) -> None:
            sys.stdout.write(text)

        heading = json.dumps(self.plan.heading(), ensure_ascii=False)
        write(heading.removesuffix("}") + ', "items": [')
        separator = "\n"
        for planned in items:
            write(separator + json.dumps(as_json(planned), ensure_ascii=False))
            separator = ",\n"
        write('\n], "totals": ' + json.dumps(self.plan.total_of()) + "}\n")

    def _print_table(self, items: Iterator[Planned]) -> None:
        number = table(("location", "key", "action", "due", "policy", "why"), map(row, items))
        totals = {name: n for name, n in self.plan.total_of().items() if n}
        said = ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in totals.items())
        note(
            f"{count(number, 'record')} listed · {said or 'no records'} · "
            f"as of {local(self.home, self.plan.at)}"
        )

    def _tell(self) -> None:
        """What the reader of the plan must also know."""
        tell_problems(self.plan.problems)
        for name in self.broken:
            say(f"error: {name}: not planned, the policy has errors: retention validate")
        in_force = self.home.in_force
        for name in self.plan.policies:
            standing = in_force.standing(name)
            if standing == "removed":
                say(f"{name} is gone from the files and enforced until `retention approve {name}`")
            elif standing in ("new", "changed"):
                say(f"{name} is not approved as it stands: retention approve {name}")

    def exit_code(self, *, changes: bool, named: bool) -> ExitCode:
        """After printing. `changes`: 8 where records would be disposed of."""
        from retention.decide.model import DISPOSALS

        codes = [problem_code(self.plan.problems)]
        if self.broken and not named:
            codes.append(ExitCode.CHECK_FAILED)
        if changes and any(self.plan.totals[action] for action in DISPOSALS):
            codes.append(ExitCode.CHANGES)
        return worst(codes)


def row(planned: Planned) -> tuple[Cell, ...]:
    """One record as a row of a table."""
    verdict = planned.verdict
    action = str(verdict.action)
    return (
        planned.location,
        planned.record.ref.key,
        (action.replace("_", " "), STYLES.get(action, "")),
        verdict.due.isoformat() if verdict.due else "",
        planned.policy,
        verdict.because[0] if verdict.because else "",
    )


def tell_problems(problems: dict[str, ConnectorError]) -> None:
    """Locations that could not be read, one line each."""
    for location, error in problems.items():
        say(f"error: {location}: {error.message} [{error.code}]")
        if error.hint:
            say(f"hint: {error.hint}")


def problem_code(problems: dict[str, ConnectorError]) -> ExitCode:
    """12 where credentials were refused, 3 where a location could not be read."""
    return worst(error.exit_code for error in problems.values())


def moment(home: Home, at: str | None) -> datetime | None:
    """`--at` as an instant; None where it was not given."""
    from retention.cli.dates import instant_of

    return None if at is None else instant_of(at, zone(home), end_of_day=True)


def zone(home: Home) -> Any:
    """The organisation's time zone."""
    from retention.policy.counting import zone_of

    return zone_of(home.in_force.bundle.organisation.timezone)


def local(home: Home, at: datetime | None) -> str:
    """An instant in the organisation's zone, named."""
    when = (at or home.ctx.clock.now()).astimezone(zone(home))
    return f"{when:%Y-%m-%d %H:%M} {home.in_force.bundle.organisation.timezone}"
