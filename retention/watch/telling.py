"""One round of telling: claim it, send without a transaction open, write down who took what.

Of several processes that watch the same ledger one tells at a time. Something is told twice only
where a process dies between a delivery and its last transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from retention.clock import Clock
from retention.ledger.store import Ledger
from retention.watch import logs, memory, traces
from retention.watch.alarms import Channel, Pace, Telling, plan, settle
from retention.watch.channel import Refused, Sender
from retention.watch.memory import Memory
from retention.watch.message import Message


@dataclass(slots=True)
class Teller:
    """Tells a ledger's alarms over its channels, in the name of one process.

    `channels` are the senders by name; `origin` and `zone` stand in every message.
    """

    ledger: Ledger
    clock: Clock
    owner: str
    channels: Mapping[str, Sender]
    origin: str
    zone: str
    pace: Pace = field(default_factory=Pace)

    def round(self) -> dict[str, bool]:
        """Tell what is to be told now. Returns which channels took their message.

        Raises LedgerUnreachable; what a channel raises is written down, not raised.
        """
        if not self.channels or not self._anything():
            return {}
        messages = self._claim()
        if not messages:
            return {}
        delivered = {name: self._send(name, tellings) for name, tellings in messages.items()}
        self._settle(messages, {name for name, done in delivered.items() if done})
        return delivered

    def _anything(self) -> bool:
        """A look that takes no lock: most rounds have nothing to tell."""
        with self.ledger.read() as tx:
            found = Memory.read(tx)
            states = self._states(found)
            known = memory.alarms(tx, _owed(states))
        return bool(plan(known, states, self.clock.now(), self.pace))

    def _claim(self) -> dict[str, list[Telling]]:
        now = self.clock.now()
        with self.ledger.write() as tx:
            found = Memory.lock(tx)
            if not found.free(self.owner, now):
                return {}
            states = self._states(found)
            messages = plan(memory.alarms(tx, _owed(states)), states, now, self.pace)
            if messages:
                found.owner, found.until = self.owner, now + memory.LEASE
                found.write(tx)
        return messages

    def _settle(self, messages: Mapping[str, list[Telling]], taken: set[str]) -> None:
        now = self.clock.now()
        with self.ledger.write() as tx:
            found = Memory.lock(tx)
            outcome = settle(messages, taken, self._states(found), now)
            memory.remember(tx, outcome, now)
            found.channels |= outcome.channels
            if found.owner == self.owner:
                found.owner = found.until = None
            found.write(tx)

    def _send(self, name: str, tellings: Sequence[Telling]) -> bool:
        message = Message(tuple(tellings), self.origin, self.zone, self.clock.now())
        with traces.span("alarms", channel=name, alarms=len(tellings)) as span:
            try:
                self.channels[name].send(message)
            except Refused as refused:
                # No alarm: it could not be told either.
                span.set(refused=refused.reason)
                logs.get().warning("alarms not delivered", channel=name, reason=refused.reason)
                return False
        logs.get().info("alarms told", channel=name, alarms=len(tellings))
        return True

    def _states(self, found: Memory) -> dict[str, Channel]:
        return {name: found.channels.get(name, Channel()) for name in self.channels}


def _owed(states: Mapping[str, Channel]) -> set[int]:
    return {number for channel in states.values() for number in channel.owed}
