"""One session's whole work on a mailbox, in a process of its own, so that its memory can be seen.

`python -m tests.connectors.imap_scale_child PORT USER PASSWORD` with `BEFORE` as an ISO instant in
the environment: counts, finds, reads again, erases and verifies, and prints what it did as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from tempfile import TemporaryFile
from typing import TextIO

from pydantic import SecretStr

from retention.connectors.base import Bound, Opened, Ref, Target
from retention.connectors.imap.connector import connect
from retention.connectors.imap.settings import ImapLocation, ImapSystem, Tls

_BATCH = 2_500


def main() -> None:
    port, user, password = sys.argv[1:4]
    settings = ImapSystem(
        host="127.0.0.1",
        port=int(port),
        tls=Tls.NONE,
        username=user,
        password=SecretStr(password),
    )
    bound = Bound("internal_date", datetime.fromisoformat(os.environ["BEFORE"]))
    target = Target(
        "post/mail",
        ImapLocation(folders=("INBOX",)),
        ("internal_date",),
        ("from", "to"),
        (),
        (bound,),
    )
    acting = connect(Opened("mail", settings, "."))
    told: dict[str, object] = {"before_mb": peak_mb(), "count": acting.count(target)}
    scanned = 0
    with TemporaryFile("w+", encoding="utf-8") as spool:
        # As the ledger has them: on disk, not in this process's memory.
        for page in acting.find(target):
            for record in page.records:
                received = record.dates["internal_date"]
                if isinstance(received, datetime) and received < bound.instant:
                    spool.write(json.dumps(record.ref) + "\n")
            scanned += page.scanned
        outcomes: Counter[str] = Counter()
        for part in _batches(spool):
            again = [record.ref for record in acting.recheck(target, [r.key for r in part])]
            outcomes.update(o.result for o in acting.erase(target, again))
        acting.close()
        looking = connect(Opened("mail", settings, "."))
        levels: Counter[str] = Counter()
        smallest = 2**32
        for part in _batches(spool):
            levels.update(p.level for p in looking.verify(target, part, None))
            smallest = min(smallest, *(int(r.key.rpartition("/")[2]) for r in part))
    told |= {"left": looking.count(target), "scanned": scanned, "smallest": smallest}
    looking.close()
    told |= {"outcomes": outcomes, "levels": levels, "peak_mb": peak_mb()}
    print(json.dumps(told))


def _batches(spool: TextIO) -> Iterator[list[Ref]]:
    spool.seek(0)
    while lines := list(islice(spool, _BATCH)):
        yield [Ref(*json.loads(line)) for line in lines]


def peak_mb() -> float:
    """This process's largest resident set so far (Linux; elsewhere 0: not measured)."""
    try:
        with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123 -- one line
            line = next(x for x in status if x.startswith("VmHWM"))
    except OSError:
        return 0.0
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
