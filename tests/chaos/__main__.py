"""`python -m tests.chaos --kills 100 --engine embedded|celery [--seed N] [--minutes M]`."""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.chaos.installations import Order, celery, daemons
from tests.chaos.ledgers import copy_home
from tests.chaos.report import show
from tests.servers.dovecot import Dovecot
from tests.servers.postgres import Postgres

ENGINES = {"embedded": ("sqlite", "postgresql"), "celery": ("postgresql",)}


def main() -> int:
    """Exit code 0: every rule held in every world."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="at least so many SIGKILLs")
    parser.add_argument("--engine", choices=sorted(ENGINES), default="embedded")
    parser.add_argument("--ledger", choices=("sqlite", "postgresql"), help="embedded: only this")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--minutes", type=float, default=60, help="begin no fault after that")
    given = parser.parse_args()
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(10**6)
    worlds = [given.ledger] if given.ledger else list(ENGINES[given.engine])
    # An end from outside takes everything along, as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    ok = True
    for kind in worlds:
        order = Order(
            folder=Path(tempfile.mkdtemp(prefix=f"chaos-{kind}-")),
            seed=seed,
            kills=-(-given.kills // len(worlds)),
            most_seconds=given.minutes * 60 / len(worlds),
            told=lambda line: print(line, file=sys.stderr),
        )
        ok = _one(given.engine, kind, order) and ok
    return 0 if ok else 1


def _one(engine: str, kind: str, order: Order) -> bool:
    """One world; true where every rule held. Its folder is kept where one did not."""
    print(f"{engine} over {kind}, seed {order.seed}, logs in {order.folder}", file=sys.stderr)
    with ExitStack() as stack:
        vendor = stack.enter_context(Postgres.start())
        dovecot = stack.enter_context(Dovecot.start())
        if engine == "celery":
            story = celery(stack, order, vendor, dovecot)
        else:
            story = daemons(stack, order, kind, vendor, dovecot)
        result = story.run()
        if result.broken:
            copy_home(story.stage.world.ledger, order.folder / "home")
    print(show(f"{engine} over {kind}", order.seed, result))
    for line in result.broken[:40]:
        print(f"BROKEN: {line}")
    if result.broken:
        (order.folder / "trail").write_text("\n".join(result.trail) + "\n", encoding="utf-8")
        print(f"seed {order.seed}; the trail of faults and all logs are in {order.folder}")
    else:
        shutil.rmtree(order.folder, ignore_errors=True)
    return not result.broken


if __name__ == "__main__":
    sys.exit(main())
