"""How a run, a shard, or one slice of either ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from retention.errors import ExitCode
from retention.run.claim import Claim, Part, RunState


@dataclass(frozen=True, slots=True)
class Report:
    """`problems` name locations and causes, no records. `part`: this was one shard of the run."""

    run_id: int
    policy: str
    state: RunState
    counts: Mapping[str, int]
    problems: tuple[str, ...] = ()
    exit_code: ExitCode = ExitCode.OK
    part: Part | None = None

    @classmethod
    def of(
        cls,
        claim: Claim,
        counts: Mapping[str, int],
        code: ExitCode = ExitCode.OK,
        notes: tuple[str, ...] = (),
    ) -> Report:
        """What became of a claim."""
        return cls(
            claim.root, claim.policy, claim.state, dict(counts), notes, code, part=claim.part
        )
