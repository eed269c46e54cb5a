"""The two ways to run the service, each as a world with its processes and its faults."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.chaos.faults import Fault, of_daemons, of_workers
from tests.chaos.ledgers import Ledger, PostgresLedger, SqliteLedger
from tests.chaos.programs import Guard, Program
from tests.chaos.stage import Stage
from tests.chaos.story import Story
from tests.chaos.wakeups import WakeUps
from tests.chaos.world import Size, World
from tests.servers.dovecot import Dovecot
from tests.servers.postgres import Postgres
from tests.servers.redis import Redis


@dataclass
class Order:
    """What a story is to be. `kills`: at least so many; `between`: seconds between two faults."""

    folder: Path
    seed: int
    kills: int
    size: Size = field(default_factory=Size)
    most_seconds: float = 1e9
    between: tuple[float, float] = (0.0, 0.8)
    only: Collection[type[Fault]] = ()
    """Kinds of faults; none named: all that this installation can meet."""
    told: Callable[[str], None] = lambda _: None


def daemons(
    stack: ExitStack,
    order: Order,
    kind: str,
    vendor: Postgres,
    dovecot: Dovecot,
    number: int | None = None,
) -> Story:
    """The small installation: daemons over one ledger of this `kind`. `stack` closes it all."""
    chance = Random(order.seed)
    ledger: Ledger = SqliteLedger(order.folder) if kind == "sqlite" else PostgresLedger()
    stack.callback(ledger.close)
    world = World(order.folder, ledger, vendor, dovecot, chance, order.size)
    stack.callback(world.close)
    guard = Guard()
    stack.callback(guard.close)
    programs = [
        Program(f"daemon-{n}", ["daemon"], world.environment, world.logs, world.clocks, guard)
        for n in range(1, 1 + (number or chance.randint(1, 3)))
    ]
    return _story(order, Stage(world, programs, chance, order.told), of_daemons(ledger))


def celery(
    stack: ExitStack,
    order: Order,
    vendor: Postgres,
    dovecot: Dovecot,
    number: int | None = None,
) -> Story:
    """Schedulers and workers over PostgreSQL and Redis, with a proxy that loses and doubles."""
    chance = Random(order.seed)
    ledger = PostgresLedger()
    stack.callback(ledger.close)
    redis = stack.enter_context(Redis.start())
    wakeups = WakeUps(redis.port, Random(order.seed))
    stack.callback(wakeups.close)
    world = World(order.folder, ledger, vendor, dovecot, chance, order.size)
    stack.callback(world.close)
    world.environment["RETENTION_BROKER_URL"] = f"redis://{wakeups.host}:{wakeups.port}/1"
    guard = Guard()
    stack.callback(guard.close)
    commands = {"scheduler": ["scheduler"], "worker": ["worker", "--concurrency", "2"]}
    programs = [
        Program(f"{role}-{n}", words, world.environment, world.logs, world.clocks, guard)
        for role, words in commands.items()
        for n in range(1, 1 + (number or chance.randint(2, 3)))
    ]
    stage = Stage(world, programs, chance, order.told)
    stage.wakeups = wakeups
    return _story(order, stage, of_workers(ledger, redis, wakeups))


def _story(order: Order, stage: Stage, faults: list[Fault]) -> Story:
    return Story(
        stage,
        [fault for fault in faults if not order.only or type(fault) in order.only],
        kills=order.kills,
        most_seconds=order.most_seconds,
        between=order.between,
    )
