"""Deleting keys with everything that they have: versions, delete markers, unfinished uploads.

Right before, the key is listed again, and left alone where it has changed. Older versions go
first and the newest last: whatever happens in between, the key still shows what was decided upon,
and no delete marker goes before what it hides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from retention.connectors.base import Outcome, Ref, Result
from retention.connectors.s3.client import DENIED, MISSING, TEMPORARY, Client, Refused
from retention.connectors.s3.listing import PAGE, Listing, Object, Version
from retention.connectors.s3.locks import Lock, Locks
from retention.connectors.s3.reading import Sources

_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_CHANGED = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict"})
_NO_CONDITIONS = frozenset({"NotImplemented", "InvalidArgument", "InvalidRequest"})

Pair = tuple[str, str]
"""(key, version id)"""
_FINE = ""
_UNSAID = "unsaid"


class Ready(NamedTuple):
    """A key that is what it was, and may go."""

    ref: Ref
    found: Object


class Eraser:
    """One act on one bucket."""

    def __init__(
        self,
        client: Client,
        listing: Listing,
        sources: Sources,
        locks: Locks,
        now: Callable[[], datetime],
    ) -> None:
        self._client = client
        self._listing = listing
        self._sources = sources
        self._locks = locks
        self._now = now

    def erase(self, refs: Sequence[Ref]) -> Iterator[Outcome]:
        """One outcome per ref. Raises ConnectorErrors: what is unanswered then is unknown."""
        if self._listing.mfa_delete and self._listing.versioned:
            yield from (Outcome(r.key, Result.FAILED_PERMANENT, "mfa_delete") for r in refs)
            return
        ready: list[Ready] = []
        for ref in refs:
            looked = self._look(ref)
            if isinstance(looked, Outcome):
                yield looked
            elif self._listing.versioned:
                ready.append(looked)
            else:
                # One at a time: the condition is this key's own.
                yield self._single(looked)
        if ready:
            yield from self._versions(ready)

    def _look(self, ref: Ref) -> Outcome | Ready:
        found = self._listing.exactly(ref.key)
        if found is None:
            return Outcome(ref.key, Result.ALREADY_ABSENT)
        if self._sources.version(found) != ref.version:
            return Outcome(ref.key, Result.CHANGED)
        if self._locks.possible and (held := self._held(ref, found)):
            return _locked(ref.key, held)
        return Ready(ref, found)

    # --- a bucket without versions --------------------------------------------------------------

    def _single(self, ready: Ready) -> Outcome:
        key, found = ready
        result = _FINE
        if found.newest is not None:
            result = self._delete(key.key, found.newest)
        return self._told(ready, [result])

    def _delete(self, key: str, version: Version) -> str:
        at = {"Bucket": self._listing.bucket, "Key": key}
        try:
            if not version.etag:
                raise Refused("NotImplemented", 501)
            self._client.attempt("delete_object", "deleting", **at, IfMatch=version.etag)
        except Refused as refused:
            if refused.code not in _NO_CONDITIONS and refused.status != 501:
                return refused.code or str(refused.status)
        else:
            return _FINE
        # A server without conditions: the key was looked at the moment before.
        try:
            self._client.attempt("delete_object", "deleting", **at)
        except Refused as refused:
            return refused.code or str(refused.status)
        return _FINE

    # --- a bucket with versions -----------------------------------------------------------------

    def _versions(self, ready: Sequence[Ready]) -> Iterator[Outcome]:
        older: list[Pair] = []
        newest: dict[str, Pair] = {}
        for ref, found in ready:
            for version in found.versions or ():
                if found.newest is not None and version.id == found.newest.id:
                    newest[ref.key] = (ref.key, version.id)
                else:
                    older.append((ref.key, version.id))
        said = self._remove(older)
        failed = {key for (key, _), word in said.items() if word != _FINE}
        said |= self._remove([pair for key, pair in newest.items() if key not in failed])
        words: dict[str, list[str]] = {}
        for (key, _), word in said.items():
            words.setdefault(key, []).append(word)
        for each in ready:
            yield self._told(each, words.get(each.ref.key, [_FINE]))

    def _remove(self, pairs: Sequence[Pair]) -> dict[Pair, str]:
        """Pair → "" where it is gone, else the server's word for why not."""
        out: dict[Pair, str] = {}
        plain = [pair for pair in pairs if not _NOT_IN_XML.search(pair[0])]
        for start in range(0, len(plain), PAGE):
            out |= self._batch(plain[start : start + PAGE])
        for key, version in (pair for pair in pairs if pair not in out):
            at = {"Bucket": self._listing.bucket, "Key": key, "VersionId": version}
            try:
                self._client.attempt("delete_object", "deleting a version", **at)
                out[key, version] = _FINE
            except Refused as refused:
                out[key, version] = _FINE if refused.code in MISSING else refused.code or _UNSAID
        return out

    def _batch(self, pairs: Sequence[Pair]) -> dict[Pair, str]:
        wanted = {"Objects": [{"Key": k, "VersionId": v} for k, v in pairs], "Quiet": False}
        reply = self._client.call(
            "delete_objects", "deleting versions", Bucket=self._listing.bucket, Delete=wanted
        )
        out = dict.fromkeys(pairs, _UNSAID)
        for item in reply.get("Deleted", ()):
            pair = (str(item["Key"]), str(item.get("VersionId", "")))
            if pair in out:
                out[pair] = _FINE
        for item in reply.get("Errors", ()):
            pair = (str(item.get("Key", "")), str(item.get("VersionId", "")))
            code = str(item.get("Code", _UNSAID))
            # Some servers name the key alone: then none of its versions is known to be gone.
            meant = [pair] if pair in out else [p for p in pairs if p[0] == pair[0]]
            out |= dict.fromkeys(meant, _FINE if code in MISSING and pair in out else code)
        return out

    # --- the answer -----------------------------------------------------------------------------

    def _told(self, ready: Ready, words: Sequence[str]) -> Outcome:
        key = ready.ref.key
        wrong = {word for word in words if word != _FINE}
        if not wrong:
            return Outcome(key, Result.DISPOSED, "" if self._abort(ready) else "uploads_left")
        if wrong & DENIED:
            if held := self._held(ready.ref, ready.found):
                return _locked(key, held)
            result, code = Result.FAILED_PERMANENT, "denied"
        elif wrong & _CHANGED:
            result, code = Result.CHANGED, ""
        elif wrong & TEMPORARY:
            result, code = Result.FAILED_TEMPORARY, "busy"
        elif wrong <= MISSING:
            result, code = Result.ALREADY_ABSENT, ""
        elif _UNSAID in wrong:
            result, code = Result.UNKNOWN, ""
        else:
            result, code = Result.FAILED_PERMANENT, "refused"
        return Outcome(key, result, code)

    def _held(self, ref: Ref, found: Object) -> list[Lock]:
        """The locks that hold any version now."""
        now = self._now()
        asked = (self._locks.of(ref.key, version, now) for version in found.versions or ())
        return [lock for lock in asked if lock is not None]

    def _abort(self, ready: Ready) -> bool:
        """End unfinished uploads of the key: they hold parts of it. False where some stay."""
        done = True
        for upload in ready.found.uploads:
            at: dict[str, Any] = {"Key": ready.ref.key, "UploadId": upload.id}
            try:
                self._client.attempt(
                    "abort_multipart_upload",
                    "aborting an upload",
                    Bucket=self._listing.bucket,
                    **at,
                )
            except Refused as refused:
                done = done and refused.code in MISSING
        return done


def _locked(key: str, held: Sequence[Lock]) -> Outcome:
    """The lock that lasts longest; a legal hold has no end."""
    endless = next((lock for lock in held if lock.until is None), None)
    lock = endless or max(held, key=lambda one: one.until.timestamp() if one.until else 0)
    return Outcome(key, Result.LOCKED_BY_VENDOR, lock.code, lock.until)
