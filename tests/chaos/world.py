"""One organisation: policies that fire every minute, stores with records, a ledger, its people."""

from __future__ import annotations

import json
import random
from base64 import b64decode, urlsafe_b64encode
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from hmac import digest
from pathlib import Path

from tests.chaos.clocks import Clocks, sweep
from tests.chaos.commands import Commands
from tests.chaos.ledgers import FINAL, Ledger
from tests.chaos.policies import ACTS, FIRING, POLICIES
from tests.chaos.programs import environment
from tests.chaos.proxy import Proxy
from tests.chaos.stores import FORM, SURVEY, Mail, PostgresTable, Row, SqliteTable, Store
from tests.chaos.truth import Hold, Item, Place, Seen
from tests.servers.dovecot import Dovecot
from tests.servers.postgres import Postgres

ORIGIN = "example.org/chaos"
HELD_FROM_THE_START, CLAIMANTS, PEOPLE = 3, 24, 200


@dataclass(frozen=True, slots=True)
class Size:
    """How many records: in each store at the start, with each arrival, in a batch."""

    start: int = 600
    mails: int = 200
    arrival: int = 150
    batch: int = 8
    lease: int = 5


class World:
    """Everything but the service's own processes. `chance` decides what is random."""

    def __init__(
        self,
        folder: Path,
        ledger: Ledger,
        vendor: Postgres,
        dovecot: Dovecot,
        chance: random.Random,
        size: Size,
    ) -> None:
        self.folder, self.ledger, self.chance, self.size = folder, ledger, chance, size
        self.clocks = Clocks(folder / "clocks")
        self.logs = folder / "logs"
        self.checkpoints = folder / "checkpoints"
        for made in (self.logs, self.checkpoints, folder / "policies"):
            made.mkdir()
        url = vendor.new_database()
        PostgresTable.create(url)
        box = dovecot.user()
        self.website = Proxy(vendor.port, delay=0.008)
        self.mail = Proxy(dovecot.port, delay=0.008)
        accounts = SqliteTable(folder / "accounts.db")
        self.stores: tuple[Store, ...] = (
            PostgresTable(url, FORM, "contact_form"),
            PostgresTable(url, SURVEY, "answers"),
            accounts,
            Mail(box),
        )
        self.items: dict[Place, Item] = {}
        self.holds: list[Hold] = []
        self._ordered: dict[str, str] = {}
        self._next_claimant = 0
        (folder / "policies" / "all.yaml").write_text(
            POLICIES.format(
                accounts=accounts.path, port=self.mail.port, user=box.username, acts=ACTS
            ),
            encoding="utf-8",
        )
        self.environment = environment(
            {
                "WEBSITE_DB": url.replace(f":{vendor.port}/", f":{self.website.port}/"),
                "MAIL_PASSWORD": box.password,
                "RETENTION_POLICIES": str(folder / "policies"),
                "RETENTION_HOME": str(ledger.home),
                "RETENTION_DATABASE_URL": ledger.url,
                "RETENTION_ORIGIN": ORIGIN,
                "RETENTION_TICK_SECONDS": "1",
                "RETENTION_BATCH_RECORDS": str(size.batch),
                "RETENTION_LEASE_SECONDS": str(size.lease),
                "RETENTION_CHECKPOINT_MINUTES": "0.5",
                # Small enough that runs change hands and large ones are worked on in parts.
                "RETENTION_SLICE_SECONDS": "2",
                "RETENTION_SHARDS": "3",
                "RETENTION_SHARD_RECORDS": "100",
            }
        )

        self.commands = Commands(self.environment, self.clocks)

    # --- what happens in it ---------------------------------------------------------------------

    def fill(self) -> None:
        """The records it begins with."""
        for store in self.stores:
            self._put(store, self.size.mails if isinstance(store, Mail) else self.size.start)

    def arrive(self) -> int:
        """New records, some of them due at once. Returns how many."""
        before = len(self.items)
        for store in self.stores:
            self._put(store, self.size.arrival // (3 if isinstance(store, Mail) else 1))
        return len(self.items) - before

    def _put(self, store: Store, number: int) -> None:
        drawn = [self._draw(store) for _ in range(number)]
        keys = store.put(row for row, _ in drawn)
        for key, (row, why) in zip(keys, drawn, strict=True):
            item = Item(store.location, key, row[0], why == "due", why)
            self.items[item.place] = item

    def _draw(self, store: Store) -> tuple[Row, str]:
        chance = self.chance
        old = chance.random() < 0.7
        days = chance.randint(40, 400) if old else chance.randint(1, 20)
        invoice = store.location == FORM and chance.random() < 0.15
        who = (
            f"claimant{chance.randrange(CLAIMANTS)}@example.org"
            if chance.random() < 0.1
            else f"held{chance.randrange(HELD_FROM_THE_START)}@example.org"
            if chance.random() < 0.05
            else f"p{chance.randrange(PEOPLE)}@example.org"
        )
        at = self.clocks.now() - timedelta(days=days)
        why = "an invoice" if invoice else "due" if old else "too young"
        return (who, "invoice" if invoice else "question", at), why

    def hold_from_the_start(self) -> None:
        for n in range(HELD_FROM_THE_START):
            self._order_hold(f"held{n}@example.org")
            if n == 0:
                self.commands.wait()  # it makes the ledger
        self.commands.wait()
        assert len(self.holds) == HELD_FROM_THE_START, "a hold before the start must be possible"

    def hold_next_claimant(self) -> str | None:
        """Order a hold on one more person; the ledger takes it or not. Returns whose."""
        if self._next_claimant >= CLAIMANTS:
            return None
        subject = f"claimant{self._next_claimant}@example.org"
        self._next_claimant += 1
        self._order_hold(subject)
        return subject

    def _order_hold(self, subject: str) -> None:
        case = f"C-{subject.partition('@')[0]}"
        self._ordered[case] = subject

        def done(code: int, said: str) -> None:
            if code == 0:
                del self._ordered[case]
                self.holds.append(Hold(int(said), subject))

        self.commands.begin(
            done,
            *("hold", "add", "--case", case, "--reason", "a claim"),
            *("--owner", "legal", "--review-by", "2027-12-31", "--subject", f"email:{subject}"),
        )

    def hear_of_unanswered_holds(self) -> None:
        """An order whose answer never came may stand in the ledger all the same: then it holds."""
        for number, case in self.ledger.ask('SELECT id, "case" FROM hold'):
            if subject := self._ordered.pop(case, None):
                self.holds.append(Hold(int(number), subject))

    def order_checkpoint(self) -> None:
        """Sign the log, and keep the note where the service cannot reach it."""

        def done(code: int, said: str) -> None:
            if code == 0:
                note = self.checkpoints / f"{len(list(self.checkpoints.iterdir())):03d}"
                note.write_text(said, encoding="utf-8")

        self.commands.begin(done, "audit", "checkpoint")

    # --- looking at it ----------------------------------------------------------------------------

    def deleted(self) -> int:
        """How many records the stores have lost so far."""
        return sum(store.deleted() for store in self.stores)

    def due_left(self) -> set[Place]:
        """Records that are due, under no hold, and still there."""
        held = {hold.subject for hold in self.holds}
        return {
            place
            for store in self.stores
            for place in ((store.location, key) for key in store.left())
            if (item := self.items[place]).due and item.subject not in held
        }

    def look(self, *, verify: bool = True) -> Seen:
        """The world at rest, as an outsider finds it. `verify`: the log's tree as well."""
        folder = self.folder / "export"
        exported = self.commands.run("audit", "export", str(folder))
        assert exported.returncode == 0, exported.stderr
        return Seen(
            items=dict(self.items),
            left={(s.location, key) for s in self.stores for key in s.left()},
            deletions=Counter(
                {(s.location, k): n for s in self.stores for k, n in s.deletions().items()}
            ),
            counted=frozenset(s.location for s in self.stores if s.counts),
            entries=read_export(folder),
            pseudonyms=self._pseudonyms(),
            holds=tuple(self.holds),
            policies=FIRING,
            held_leases=self._count("lease_until IS NOT NULL"),
            open_runs=self._count(f"state NOT IN {FINAL}"),
            open_alarms=self._alarms(),
            verifications=list(self.verify(folder)) if verify else [],
        )

    def verify(self, folder: Path) -> Iterator[tuple[str, bool, str]]:
        """The export against each checkpoint that was taken away: (which, ok, what was said)."""
        kept = sorted(self.checkpoints.iterdir())
        for note in [None, *kept]:
            against = ("--against", str(note)) if note else ()
            said = self.commands.run("audit", "verify", str(folder), *against, "--json")
            ok = said.returncode == 0 and json.loads(said.stdout)["ok"]
            yield note.name if note else "itself", ok, (said.stdout + said.stderr)[-400:]

    def _count(self, where: str) -> int:
        return int(self.ledger.ask(f"SELECT count(*) FROM run WHERE {where}")[0][0])

    def _alarms(self) -> list[tuple[str, str]]:
        rows = self.ledger.ask("SELECT policy, kind FROM alarm WHERE cleared_at IS NULL")
        return [(policy, kind) for policy, kind in rows]

    def _pseudonyms(self) -> dict[str, Place]:
        """HMAC-SHA-256 over system, location and key, computed here and not by the program."""
        systems = {store.location: store.system for store in self.stores}
        out = {}
        for key_file in (self.ledger.home / "keys").glob("*.pseudonym"):
            key = b64decode(key_file.read_text(encoding="ascii"))
            for location, native in self.items:
                told = f"{systems[location]}\0{location}\0{native}".encode()
                short = digest(key, told, "sha256")[:16]
                name = urlsafe_b64encode(short).decode().rstrip("=")
                out[name] = (location, native)
        return out

    def close(self) -> None:
        self.commands.drop()
        self.website.close()
        self.mail.close()
        sweep()


def read_export(folder: Path) -> list[dict[str, object]]:
    """Entries as their files hold them, the earliest year first."""
    files = [*sorted(folder.glob("logs/*/entries.jsonl")), folder / "entries.jsonl"]
    return [json.loads(line) for f in files for line in f.read_text(encoding="utf-8").splitlines()]
