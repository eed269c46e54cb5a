"""The run protocol, killed before and after every ledger write and every connector call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.simulation.story import SMALL, Story, company, fresh, sleeper, steps_of

__all__ = ["fresh"]

PARTS = 8


@pytest.mark.parametrize("part", range(PARTS))
def test_a_death_at_every_single_step_loses_and_doubles_nothing(
    fresh: Callable[[], Path], part: int
) -> None:
    """Killed at each step in turn, then started again: all rules hold at rest."""
    total = steps_of(fresh(), 1, rows=SMALL)
    assert total > 60
    for k in range(1 + part, total + 1, PARTS):
        story = Story(fresh(), 1, rows=SMALL)
        story.world.fate.die_at = k
        story.live_until_rest()
        assert story.verdict() == [], f"died at step {k}: {story.world.fate.trail[k - 1]}"


@pytest.mark.parametrize("part", range(PARTS))
def test_a_death_at_every_single_step_of_a_run_with_shards(
    fresh: Callable[[], Path], part: int
) -> None:
    """Splitting, arriving, the common limits and the common end: killed at each step in turn."""
    total = steps_of(fresh(), 1, rows=SMALL, shards=3)
    assert total > 100
    for k in range(1 + part, total + 1, PARTS):
        story = Story(fresh(), 1, rows=SMALL, shards=3)
        story.world.fate.die_at = k
        story.live_until_rest()
        assert story.verdict() == [], f"died at step {k}: {story.world.fate.trail[k - 1]}"


@pytest.mark.parametrize("seed", range(50, 56))
def test_several_processes_share_the_shards_of_a_run(fresh: Callable[[], Path], seed: int) -> None:
    """Others work for a slice between any two steps, one dies, a hold arrives: all rules hold."""
    total = steps_of(fresh(), seed, shards=4)
    for _ in range(3):
        story = Story(fresh(), seed, shards=4)
        if story.due:
            key = story.random.choice(sorted(story.due))
            story.hold_arrives(story.random.randint(1, total), key)
        story.world.fate.die_at = story.random.randint(1, total)
        steps = [story.random.randint(1, total) for _ in range(6)]
        assert company(story, steps) == []


@pytest.mark.parametrize("seed", range(60, 63))
def test_a_process_that_slept_past_its_lease_on_a_shard_is_refused(
    fresh: Callable[[], Path], seed: int
) -> None:
    """Another process takes the shard over and ends the run; the sleeper writes nothing more."""
    total = steps_of(fresh(), seed, shards=3)
    for at in range(5, total, 19):
        assert sleeper(Story(fresh(), seed, shards=3), at) == []


@pytest.mark.parametrize("seed", range(2, 18))
def test_random_worlds_with_a_hold_that_arrives_midway(
    fresh: Callable[[], Path], seed: int
) -> None:
    """Random records, a hold at a random step, a death at another: all rules hold."""
    total = steps_of(fresh(), seed)
    for _ in range(3):
        story = Story(fresh(), seed)
        if story.due:
            key = story.random.choice(sorted(story.due))
            story.hold_arrives(story.random.randint(1, total), key)
        story.world.fate.die_at = story.random.randint(1, total)
        story.live_until_rest()
        assert story.verdict() == []


@pytest.mark.parametrize("seed", range(30, 34))
def test_a_process_that_slept_past_its_lease_is_refused(
    fresh: Callable[[], Path], seed: int
) -> None:
    """Stopped longer than the lease, while another process does the work: nothing happens twice."""
    total = steps_of(fresh(), seed)
    for at in range(5, total, 17):
        assert sleeper(Story(fresh(), seed), at) == []


def test_two_schedulers_and_a_lost_wake_up_fire_once(fresh: Callable[[], Path]) -> None:
    """Ticks that are doubled and ticks that never come make one run per firing."""
    story = Story(fresh(), 3)
    for _ in range(3):
        story.world.live()
    story.world.clock.forward(days=4)
    story.live_until_rest()
    assert story.verdict() == []
    acting = 1 + (story.promises.vip_months is not None)
    finished = [(e["policy"], e["firing"]) for e in story.world.entries("run.finished")]
    assert len(finished) == len(set(finished)) == 2 * acting
    assert len(story.world.entries("firing.missed")) == 3 * acting
