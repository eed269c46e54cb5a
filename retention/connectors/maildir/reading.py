"""From files to records."""

from __future__ import annotations

import os
from collections.abc import Iterable

from retention.connectors import mail_headers
from retention.connectors.base import Record, Ref
from retention.connectors.mail_folders import MailFolder
from retention.connectors.mail_sources import Message, Sources, trace_of, trace_without_id
from retention.connectors.maildir.store import Entry, flags_of, received_of
from retention.errors import PermanentFailure


def split_key(key: str) -> tuple[str, str]:
    """(folder, base name). Raises PermanentFailure for what is no key of ours."""
    folder, slash, base = key.rpartition("/")
    if not slash or not folder or not base:
        raise PermanentFailure("a key is none of this connector's", code="bad_key")
    return folder, base


def folder_of(key: str) -> str:
    """The folder of a message."""
    return split_key(key)[0]


def by_folder(keys: Iterable[str]) -> dict[str, set[str]]:
    """Base names by folder."""
    out: dict[str, set[str]] = {}
    for key in keys:
        folder, base = split_key(key)
        out.setdefault(folder, set()).add(base)
    return out


def refs_by_folder(refs: Iterable[Ref]) -> dict[str, list[Ref]]:
    """Refs of single messages by folder."""
    out: dict[str, list[Ref]] = {}
    for ref in refs:
        out.setdefault(split_key(ref.key)[0], []).append(ref)
    return out


def version_of(status: os.stat_result, entry: Entry, sources: Sources) -> str:
    """Fingerprint: the same file, untouched; flags only where a filter rests on them."""
    mark = sources.flags_mark(flags_of(entry.name))
    return f"{status.st_ino}.{status.st_size}.{status.st_mtime_ns}{mark}"


def record_of(
    folder: MailFolder, entry: Entry, block: bytes, status: os.stat_result, sources: Sources
) -> Record:
    """One message as a record. `block`: its headers."""
    headers = mail_headers.split(block)
    received = received_of(status)
    known = None if block == mail_headers.TOO_LONG else received
    message = Message(folder.name, known, headers, flags_of(entry.name), status.st_size)
    trace = trace_of(headers) or trace_without_id(status.st_size, received)
    key = f"{folder.name}/{entry.base}"
    return Record(
        Ref(folder.name, key, version_of(status, entry, sources), trace),
        sources.dates(message),
        sources.fields(message),
    )
