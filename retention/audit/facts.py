"""The facts that entries may hold: their kinds, and what each of them means.

Each kind is a regular expression over the bytes of canonical JSON (RFC 8785), so that one match
checks a line's spelling, its order and its values at once, at the speed of reading.
"""

from __future__ import annotations

from enum import Enum, unique

# A character that stands for itself in canonical JSON. "@" is left out: addresses hold one.
_PLAIN = rb'[^"\\\x00-\x1f@]'
_ESCAPED = rb'\\(?:["\\bfnrt]|u00(?:0[0-7be-f]|1[0-9a-f]))'
# The one "@" that no address has: a rule at the digest of its policy.
_AT_DIGEST = rb"@(?:sha256:)?[0-9a-f]{8,64}(?!\.?[0-9A-Za-z_-])"
_TEXT = rb'"' + _PLAIN + rb"*(?:(?:" + _ESCAPED + rb"|" + _AT_DIGEST + rb")" + _PLAIN + rb'*)*"'
_FREE = rb'"(?:[^"\\\x00-\x1f]|' + _ESCAPED + rb')*"'
_INTEGER = rb"(?:0|[1-9][0-9]{0,14})"
_TIME = rb'"[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9]\.[0-9]{3}Z"'
_PSEUDONYM = rb'"[A-Za-z0-9_-]{22}"'
_TOKEN = rb'"[A-Za-z0-9_-]{16,64}"'
_WORD = rb'"[a-z0-9_]{1,40}"'

MAX_RECORDS = 500


def _several(one: bytes, most: int) -> bytes:
    return rb"\[" + one + rb"(?:," + one + rb"){0,%d}\]" % (most - 1)


@unique
class Kind(Enum):
    """What a fact's value may be; the value is its pattern."""

    TEXT = _TEXT
    TEXTS = _several(_TEXT, 1000)
    NUMBER = _INTEGER
    FLAG = rb"(?:true|false)"
    TIME = _TIME
    PSEUDONYM = _PSEUDONYM
    PSEUDONYMS = _several(_PSEUDONYM, MAX_RECORDS)
    TOKEN = _TOKEN
    TOKENS = _several(_TOKEN, MAX_RECORDS)
    COUNTS = rb"\{(?:" + _WORD + rb":" + _INTEGER + rb"(?:," + _WORD + rb":" + _INTEGER + rb")*)?\}"
    VERSION = rb"1"
    ACTOR = rb'"(?:system|scheduler|worker|user:' + _FREE[1:-1] + rb')"'
    TYPE = rb'"[a-z_.]{1,32}"'


KIND_WORDS: dict[Kind, str] = {
    Kind.TEXT: "text without `@`",
    Kind.TEXTS: "1 to 1,000 texts without `@`",
    Kind.NUMBER: "whole number from 0, at most 15 digits",
    Kind.FLAG: "true or false",
    Kind.TIME: "UTC, milliseconds, `Z`",
    Kind.PSEUDONYM: "22 characters, base64url",
    Kind.PSEUDONYMS: "1 to 500 pseudonyms",
    Kind.TOKEN: "keyed hash, 16 to 64 characters, base64url",
    Kind.TOKENS: "1 to 500 keyed hashes",
    Kind.COUNTS: "word → whole number",
    Kind.VERSION: "1",
    Kind.ACTOR: "`system`, `scheduler`, `worker` or `user:<account>`",
    Kind.TYPE: "one of the types below",
}

COMMON: dict[str, tuple[Kind, str]] = {
    "v": (Kind.VERSION, "version of this format"),
    "seq": (Kind.NUMBER, "place in the log, from 0, without gaps"),
    "at": (Kind.TIME, "when"),
    "type": (Kind.TYPE, "what happened"),
    "actor": (Kind.ACTOR, "who acted"),
}

FACTS: dict[str, tuple[Kind, str]] = {
    "action": (Kind.TEXT, "delete, anonymise, hand_over, restrict, review or keep"),
    "added": (Kind.TEXTS, "policies that are new"),
    "attempt": (Kind.NUMBER, "which try this was, from 1"),
    "batch": (Kind.NUMBER, "number of the batch within its run"),
    "because": (Kind.TEXTS, "rule ids and dates; never text from records"),
    "case": (Kind.TEXT, "reference of the case; never a name"),
    "changed": (Kind.TEXTS, "policies that changed"),
    "cluster": (Kind.TEXT, "cluster by name"),
    "commit": (Kind.TEXT, "git commit of the policies"),
    "count": (Kind.NUMBER, "how many"),
    "counts": (Kind.COUNTS, "how many of each"),
    "deadline": (Kind.TIME, "to be done by"),
    "digest": (Kind.TEXT, "digest of the policy, or of all policies"),
    "event": (Kind.TEXT, "event by name"),
    "evidence": (Kind.TEXT, "digest of a file that a person attached"),
    "findings": (Kind.TEXTS, "codes of findings"),
    "firing": (Kind.TIME, "the due moment that this is the work of"),
    "freeze": (Kind.NUMBER, "number of the freeze"),
    "grace_until": (Kind.TIME, "still in force until"),
    "happened": (Kind.TIME, "when it took place, where that is not `at`"),
    "hold": (Kind.NUMBER, "number of the hold"),
    "holds": (Kind.TEXTS, "numbers of the holds that apply"),
    "into": (Kind.TEXT, "location that the records are copied into before they go"),
    "kind": (Kind.TEXT, "which sort"),
    "late": (Kind.FLAG, "true for work that was caught up"),
    "location": (Kind.TEXT, "location, as cluster/location"),
    "locations": (Kind.TEXTS, "locations, as cluster/location"),
    "log": (Kind.TEXT, "name of a log"),
    "next": (Kind.TEXT, "name of the log that follows"),
    "next_vkey": (Kind.TEXT, "verifier key of the log that follows"),
    "outcome": (Kind.TEXT, "how it ended, as one word"),
    "plan": (Kind.TEXT, "id of the plan"),
    "policies": (Kind.TEXTS, "policies by name"),
    "policy": (Kind.TEXT, "policy by name"),
    "previous": (Kind.TEXT, "what this follows: a log, a digest or a key id"),
    "previous_root": (Kind.TEXT, "root of the log that this one follows, base64"),
    "previous_size": (Kind.NUMBER, "size of the log that this one follows"),
    "proof": (Kind.TEXT, "how far the look again went: gone, in_bin, with_vendor, …"),
    "purpose": (Kind.TEXT, "purpose by name"),
    "record": (Kind.PSEUDONYM, "pseudonym of one record"),
    "records": (Kind.PSEUDONYMS, "pseudonyms of records"),
    "removed": (Kind.TEXTS, "policies that are gone"),
    "request": (Kind.NUMBER, "number of the request"),
    "review_by": (Kind.TIME, "to be looked at again by"),
    "root": (Kind.TEXT, "root of a log, base64"),
    "run": (Kind.NUMBER, "number of the run"),
    "scope": (Kind.TEXT, "what it covers"),
    "since": (Kind.TIME, "from when on"),
    "size": (Kind.NUMBER, "entries of a log"),
    "state": (Kind.TEXT, "state that was reached, as one word"),
    "subject": (Kind.TOKEN, "keyed hash of a person's key"),
    "subjects": (Kind.TOKENS, "keyed hashes of people's keys"),
    "system": (Kind.TEXT, "system by name"),
    "task": (Kind.NUMBER, "number of the task"),
    "until": (Kind.TIME, "until when"),
    "vkey": (Kind.TEXT, "verifier key"),
}
