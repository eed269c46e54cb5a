"""The audit log beside its plainest rivals, in one run.

Append: pseudonyms made, entries of 500 records written, each group committed with full sync;
beside a bare chain of SHA-256 over json.dumps lines, flushed to disk as often. Verify: 1,000,000
entries of an exported log, form, order, root and signatures; beside a bare loop that reads the
same file and hashes each line. Each in a process of its own, so that memory is its own.

    python benchmarks/bench_audit.py [--pseudonyms N] [--entries N]
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from retention.audit.checkpoint import Checkpoint, SignerKey, sign
from retention.audit.entries import Entry, line
from retention.audit.log import AuditLog
from retention.audit.pseudonym import Pseudonymiser
from retention.audit.tree import Frontier, leaf_hashes
from retention.audit.verify import verify_folder
from retention.ledger.store import Ledger

AT = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
NAME = "example.org/retention/2026"
BATCH = 500


def facts(records: list[str]) -> dict[str, Any]:
    """What a batch entry says beside its records."""
    return {
        "policy": "contact-form-monthly",
        "digest": "sha256:" + "ab" * 32,
        "run": 7,
        "firing": "2026-03-01T02:00:00.000Z",
        "system": "website",
        "location": "enquiries/form",
        "action": "delete",
        "outcome": "disposed",
        "because": ["contact-form-monthly: due 2026-02-28"],
        "records": records,
    }


def append_ours(home: Path, count: int) -> float:
    """Seconds to pseudonymise and append, one transaction a batch, and to seal."""
    log = AuditLog(Ledger.open(f"sqlite:///{home / 'l.db'}"), home / "keys", NAME[:-5])
    start = time.perf_counter()
    names = log.pseudonymiser("website", "enquiries/form", AT)
    for first in range(0, count, BATCH):
        records = [names.of(f"row-{n}") for n in range(first, first + BATCH)]
        with log.ledger.write() as tx:
            log.append(tx, AT, "batch.done", actor="worker", **facts(records))
    log.checkpoint(AT)
    return time.perf_counter() - start


def append_chain(home: Path, count: int) -> float:
    """The same records in a chain: each line holds the hash of the line before it."""
    key, last = os.urandom(32), "0" * 64
    start = time.perf_counter()
    with (home / "chain.jsonl").open("wb") as file:
        for first in range(0, count, BATCH):
            records = [
                hmac.new(key, f"website/form/row-{n}".encode(), hashlib.sha256).hexdigest()[:22]
                for n in range(first, first + BATCH)
            ]
            data = json.dumps({**facts(records), "previous": last}, sort_keys=True).encode()
            last = hashlib.sha256(data).hexdigest()
            file.write(data + b"\n")
            file.flush()
            os.fsync(file.fileno())
    return time.perf_counter() - start


def make_log(folder: Path, count: int) -> float:
    """An exported log of so many small entries, with a checkpoint every 10,000 entries."""
    names = Pseudonymiser(bytes(32), "website", "enquiries/form")
    signer, frontier = SignerKey(NAME, bytes(32)), Frontier()
    (folder / "checkpoints").mkdir()

    def lines() -> Iterator[bytes]:
        opened = {"log": NAME, "vkey": str(signer.verifier)}
        yield line(0, AT, Entry("log.opened", "system", None, opened))
        for seq in range(1, count):
            yield line(seq, AT, Entry("batch.done", "worker", None, facts([names.of(str(seq))])))

    chunk: list[bytes] = []
    step, note = min(10_000, max(1, count // 10)), ""
    with (folder / "entries.jsonl").open("wb") as file:
        for number, data in enumerate(lines(), 1):
            chunk.append(data)
            if number % step == 0 or number == count:
                frontier.extend(leaf_hashes(chunk))
                file.writelines(entry + b"\n" for entry in chunk)
                chunk.clear()
                note = sign(Checkpoint(NAME, number, frontier.root()), [signer])
                (folder / "checkpoints" / str(number)).write_text(note)
    (folder / "checkpoint").write_text(note)
    (folder / "log.vkey").write_text(f"{signer.verifier}\n")
    return 0.0


def verify_ours(folder: Path, count: int) -> float:
    """Seconds for `audit verify`."""
    start = time.perf_counter()
    report = verify_folder(folder)
    assert report.ok, report.problems
    assert report.size == count
    return time.perf_counter() - start


def verify_bare(folder: Path, count: int) -> float:
    """Seconds to read the file and hash each line, nothing checked."""
    start, seen = time.perf_counter(), 0
    with (folder / "entries.jsonl").open("rb") as file:
        for data in file:
            hashlib.sha256(data).digest()
            seen += 1
    assert seen == count
    return time.perf_counter() - start


WORK: dict[str, Callable[[Path, int], float]] = {
    "make_log": make_log,
    "append_ours": append_ours,
    "append_chain": append_chain,
    "verify_ours": verify_ours,
    "verify_bare": verify_bare,
}


def measured(work: str, folder: Path, count: int) -> tuple[float, float, float]:
    """(seconds, seconds of processor, peak megabytes) of one piece of work in its own process."""
    command = [sys.executable, __file__, "--work", work, str(folder), str(count)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    seconds, cpu, peak = map(float, answer.split())
    return seconds, cpu, peak


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pseudonyms", type=int, default=200_000)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        work, folder, count = args.work
        before = time.process_time()
        seconds = WORK[work](Path(folder), int(count))
        print(
            seconds,
            time.process_time() - before,
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        )
        return
    print(f"{'work':<44}{'seconds':>9}{'cpu':>7}{'a second':>12}{'peak MB':>9}")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        measured("make_log", folder, args.entries)
        size = (folder / "entries.jsonl").stat().st_size / 1e6
        rows = [
            ("append_ours", "append pseudonyms, 500 a commit, SQLite FULL", args.pseudonyms),
            ("append_chain", "  beside: json + SHA-256 chain + fsync", args.pseudonyms),
            ("verify_ours", f"verify entries ({size:.0f} MB)", args.entries),
            ("verify_bare", "  beside: read and hash lines, no check", args.entries),
        ]
        for work, what, count in rows:
            seconds, cpu, peak = measured(work, folder, count)
            print(f"{what:<44}{seconds:>9.2f}{cpu:>7.2f}{count / seconds:>12,.0f}{peak:>9.0f}")


if __name__ == "__main__":
    main()
