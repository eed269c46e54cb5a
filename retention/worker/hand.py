"""A hand: one thread that claims and does slices, when it is asked to and when it looks itself.

It looks into the ledger every `tick_seconds` whether or not Redis lives, so a lost message, or a
dead broker, only makes the work start later. All slices are done in this thread: what Celery does
to its own (time limits, signals) never lands in the middle of one.
"""

from __future__ import annotations

import os
import random
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Lock, Thread

from retention.connectors.wrap import Buckets
from retention.errors import AuditUnwritable, LedgerMoved, LedgerUnreachable, RetentionError
from retention.ledger.store import Ledger
from retention.run import evidence
from retention.run.executor import Executor
from retention.settings import Settings
from retention.watch import logs
from retention.worker.bell import Bell, Word, pipe
from retention.worker.buckets import shared_buckets
from retention.worker.desk import Desk
from retention.worker.names import key_prefix
from retention.worker.presence import Presence

SLICES = 3
"""A message keeps its task for so many slices; the hand goes on by itself while there is work."""
SILENT = "queue-silent"


@dataclass(frozen=True, slots=True)
class Terms:
    """What hands work under. `systems`: only work on these; None: on all."""

    settings: Settings
    bell: Bell
    presence: Presence
    systems: Collection[str] | None = None


@dataclass(slots=True)
class Asked:
    """A run that a message named, and whether what it asked for is done."""

    run_id: int
    done: Event = field(default_factory=Event)


class Hand:
    """Made and started in the process that it works in."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self._desk = Desk(terms.settings, stop=self._stop, buckets=self._buckets)
        self._lock = Lock()
        self._idle = False
        self._asked: Asked | None = None
        self._nudge_r, self._nudge_w = pipe()
        self._troubled = ""
        self._thread = Thread(target=self._live, name="retention-hand", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self, seconds: float) -> bool:
        """Wait for its end; the bell must have been stopped. Returns whether it has ended."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def ask(self, run_id: int) -> Event | None:
        """Have it look at this run now. None where it is at work already."""
        with self._lock:
            if not self._idle or self._asked is not None:
                return None
            self._asked = Asked(run_id)
            os.write(self._nudge_w, b"!")
            return self._asked.done

    # --- in the thread ---------------------------------------------------------------------

    def _live(self) -> None:
        bell = self.terms.bell
        # What is owed since the last life is looked for at once.
        pause = 0.0
        while not bell.stopped():
            with self._waiting(pause) as asked, self._apart():
                self._work(asked)
            pause = self.terms.settings.tick_seconds * random.uniform(0.8, 1.2)  # noqa: S311  # no secret
        with self._apart():
            if self._desk.used:
                self.terms.presence.leave(self._desk.home.ctx)
            self._desk.close()

    @contextmanager
    def _waiting(self, seconds: float) -> Iterator[Asked | None]:
        bell = self.terms.bell
        with self._lock:
            self._idle = True
        bell.wait(self._nudge_r, seconds)
        with self._lock:
            self._idle = False
            asked, self._asked = self._asked, None
            if asked is not None:
                os.read(self._nudge_r, 1)
        try:
            yield asked
        finally:
            if asked is not None:
                asked.done.set()

    def _work(self, asked: Asked | None) -> None:
        """Slices until nothing is free."""
        terms = self.terms
        done = 0
        while not terms.bell.stopped():
            executor = self._desk.executor()
            terms.presence.show(executor.ctx)
            self._heed(executor)
            free = executor.waiting(2, systems=terms.systems)
            self._well()
            if not free:
                return
            if len(free) > 1:
                # One for us, and one for somebody else.
                terms.bell.ring()
            report = None
            if asked is not None and done == 0:
                report = executor.slice(run_id=asked.run_id, systems=terms.systems)
            if report is None and executor.slice(systems=terms.systems) is None:
                return
            done += 1
            if asked is not None and done >= SLICES:
                asked.done.set()

    def _heed(self, executor: Executor) -> None:
        """What the main process noticed about the queue, which cannot write it down itself."""
        ctx = executor.ctx
        while (word := self.terms.bell.heard()) is not None:
            if word is Word.SILENT:
                # The log takes no "@": it could be somebody's address.
                node = self.terms.bell.celery_name.replace("@", " on ")
                detail = f"nothing comes through the queue to {node}"
                with ctx.ledger.write() as tx:
                    evidence.alarm(ctx, tx, "", SILENT, detail)
            elif word is Word.HEARD:
                with ctx.ledger.write() as tx:
                    evidence.clear_alarms(ctx, tx, "", (SILENT,))

    def _stop(self) -> bool:
        """Asked between batches: also the moment to show that we are alive."""
        self.terms.presence.show(self._desk.home.ctx)
        return self.terms.bell.stopped()

    @contextmanager
    def _apart(self) -> Iterator[None]:
        """One failure must not end the thread; what only a new process can mend ends the worker."""
        try:
            yield
        except (LedgerMoved, AuditUnwritable) as error:
            logs.get().error("worker ends", code=error.code, hint=error.hint)
            self.terms.bell.give_up(int(error.exit_code))
            self.terms.bell.stop()
        except RetentionError as error:
            self._ill(error.code, unreachable=isinstance(error, LedgerUnreachable))
        except Exception as error:  # noqa: BLE001  # a bug in one look must not end all looking
            # The class and the place: its text may hold anything.
            logs.get().error("a look failed", **logs.describe(error))

    def _ill(self, code: str, *, unreachable: bool) -> None:
        """Once, not at every look."""
        if self._troubled != code:
            self._troubled = code
            what = "ledger unreachable" if unreachable else "cannot work"
            logs.get().warning(what, code=code)

    def _well(self) -> None:
        if self._troubled:
            self._troubled = ""
            logs.get().info("works again")

    def _buckets(self, ledger: Ledger) -> Buckets:
        settings = self.terms.settings
        return shared_buckets(ledger, settings.broker_url or "", key_prefix(settings))


class Crew:
    """The hands of one process: one, or in a pool of threads as many as threads."""

    def __init__(self, terms: Terms, size: int = 1) -> None:
        self.terms = terms
        self.hands = [Hand(terms) for _ in range(size)]
        # A task waits for its slices, but never as long as its time limit.
        self._patience = SLICES * terms.settings.slice_seconds + 60

    def start(self) -> None:
        for hand in self.hands:
            hand.start()

    def wake(self, run_id: int, *, wait: bool) -> None:
        """Have an idle hand look at this run; where none is, tell those of the other processes."""
        for hand in self.hands:
            done = hand.ask(run_id)
            if done is not None:
                if wait:
                    done.wait(self._patience)
                return
        self.terms.bell.ring()

    def end(self, seconds: float) -> None:
        """Every hand ends after its batch; waits at most so long."""
        self.terms.bell.stop()
        for hand in self.hands:
            hand.join(seconds)
