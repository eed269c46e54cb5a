"""What each kind of alarm means and what to do, in a sentence each (docs/how-to/when-it-alarms.md).

A test compares the kinds here with those that the program raises and with the page.
"""

from __future__ import annotations

from typing import NamedTuple


class Advice(NamedTuple):
    """`what` happened, and what to `do`. `{policy}` stands for the policy's name."""

    what: str
    do: str


ADVICE: dict[str, Advice] = {
    "limit": Advice(
        "A plan was larger than its limits, so nothing was done.",
        "Look at `retention plan {policy}`. If it is right, raise the limit and approve; "
        "if not, correct the policy.",
    ),
    "not-approved": Advice(
        "A due moment passed, and the policy was never approved.",
        "`retention plan {policy}`, then `retention approve {policy}`.",
    ),
    "missed": Advice(
        "Due moments passed while nothing ran. They are made up for once.",
        "Find out why nothing ran: was the machine or the service down?",
    ),
    "partial": Advice(
        "A system failed, or some records could not be disposed of.",
        "`retention doctor` names the system. It is tried again every day.",
    ),
    "still-there": Advice(
        "Records that were disposed of can still be read.",
        "Look at the system itself: a copy, a bin, a trigger, a partner's feed.",
    ),
    "partly-disposed": Advice(
        "Something of a person is gone from one place and left in another.",
        "`retention doctor` names the place that failed. It is tried again every day.",
    ),
    "unverified": Advice(
        "No look could prove that records are gone.",
        "`retention doctor`: was a permission lost?",
    ),
    "restored": Advice(
        "The ledger was restored from a backup, and disposal is frozen.",
        "Enter again what people ordered since that backup, then `retention thaw`.",
    ),
    "clock-went-back": Advice(
        "This machine's clock is behind the ledger. Nothing fires meanwhile.",
        "Set the clock right (NTP).",
    ),
    "files-unreadable": Advice(
        "A policy file cannot be read. What was approved goes on, nothing new takes effect.",
        "`retention validate` shows the file and the line.",
    ),
    "policy-broken": Advice(
        "The policy has errors, so it disposes of nothing.",
        "`retention validate` shows them.",
    ),
    "nobody-works": Advice(
        "Runs wait, and no worker was seen for minutes.",
        "Start a worker, or the daemon; `retention status` lists the processes.",
    ),
    "queue-silent": Advice(
        "Nothing comes through the queue to a worker. Work goes on, a little later than it could.",
        "Look at Redis and at the network between; the worker reconnects by itself.",
    ),
    "bug": Advice(
        "The program failed in a way that nobody foresaw. The run is tried again in five minutes.",
        "Please report it, with the class of the error below.",
    ),
}

_UNKNOWN = Advice("Something needs a person.", "`retention status` shows how things stand.")


def advice(kind: str, policy: str) -> Advice:
    """The words for one alarm. A kind that has none still gets a sentence."""
    found = ADVICE.get(kind, _UNKNOWN)
    return Advice(found.what, found.do.replace("{policy}", policy))
