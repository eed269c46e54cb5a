"""The log as files that anybody verifies without us."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from retention.audit import heads
from retention.audit.heads import Head
from retention.errors import UsageError
from retention.ledger.store import Ledger

README = """\
Audit log {log}

entries.jsonl   one entry a line, canonical JSON (RFC 8785); pseudonyms instead of records
checkpoint      the newest signed checkpoint (C2SP signed-note, tlog-checkpoint)
checkpoints/    every checkpoint that was ever signed, named by its size
log.vkey        the verifier keys, the one in use last
logs/           the logs of earlier years, each a folder like this one

With retention itself, from any copy of this folder:

    retention audit verify . --against CHECKPOINT

CHECKPOINT is a checkpoint that you kept yourself, older or newer than this folder. It matters:
whoever holds the signing key could have written the whole log anew, and a new log verifies by
itself. Only a checkpoint that was out of the owner's reach shows that nothing was rewritten.

Without retention, the root over all entries (RFC 6962), to be compared with line 3 of checkpoint:

    python3 - <<'END'
    import base64, hashlib
    def sha(data): return hashlib.sha256(data).digest()
    stack = []
    for line in open("entries.jsonl", "rb"):
        node, width = sha(b"\\0" + line[:-1]), 1
        while stack and stack[-1][1] == width:
            node, width = sha(b"\\1" + stack.pop()[0] + node), width * 2
        stack.append((node, width))
    node = stack.pop()[0]
    while stack:
        node = sha(b"\\1" + stack.pop()[0] + node)
    print(base64.b64encode(node).decode())
    END
    sed -n 3p checkpoint

and the signature (Ed25519) over its first three lines, with OpenSSL 3:

    head -n 3 checkpoint > body.tmp
    sed -n 5p checkpoint | cut -d' ' -f3 | base64 -d | tail -c 64 > signature.tmp
    printf '\\060\\052\\060\\005\\006\\003\\053\\145\\160\\003\\041\\000' > key.tmp
    tail -n 1 log.vkey | cut -d+ -f3- | base64 -d | tail -c 32 >> key.tmp
    openssl pkeyutl -verify -pubin -keyform DER -inkey key.tmp -rawin \\
        -in body.tmp -sigfile signature.tmp

Other tools that read these formats: sumdb/note and sumdb/tlog of Go, and verifiers for C2SP
checkpoints. Pseudonyms are the first 16 bytes, base64url without padding, of HMAC-SHA-256 with
the log's own key over system, a zero byte, location, a zero byte, and the record's native key.
"""


def export_logs(ledger: Ledger, found: Sequence[Head], folder: Path) -> None:
    """The newest log at the top, each earlier one in `logs/<year>/`.

    A folder that holds an earlier export is brought up to date; any other folder must be empty.
    Raises UsageError.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError("the export needs a folder, and there is a file of that name")
    if folder.exists() and any(folder.iterdir()) and not (folder / "log.vkey").exists():
        raise UsageError("the folder is not empty and holds no earlier export")
    *earlier, newest = found
    _export(ledger, newest, folder)
    for head in earlier:
        _export(ledger, head, folder / "logs" / f"{head.year:04d}")


def _export(ledger: Ledger, head: Head, folder: Path) -> None:
    notes = folder / "checkpoints"
    notes.mkdir(parents=True, exist_ok=True)
    written, last = set(), None
    for stored in heads.checkpoints(ledger, head.log):
        if stored.size <= head.size:
            _write(notes / str(stored.size), stored.note.encode())
            written.add(str(stored.size))
            last = stored
    for stale in notes.iterdir():
        if stale.name.isdecimal() and stale.name not in written:
            stale.unlink()
    if last is None:
        raise UsageError(f"the log {head.log} has no checkpoint yet")
    if head.dropped:
        (folder / "entries.jsonl").unlink(missing_ok=True)
    else:
        _write_entries(ledger, head.log, last.size, folder / "entries.jsonl")
    _write(folder / "checkpoint", last.note.encode())
    _write(folder / "log.vkey", "".join(f"{key}\n" for key in head.vkeys).encode())
    _write(folder / "README.txt", README.format(log=head.log).encode())


def _write_entries(ledger: Ledger, log: str, size: int, path: Path) -> None:
    draft = path.with_suffix(".draft")
    with draft.open("wb") as file, ledger.read() as tx:
        for chunk in heads.lines_in(tx, log, 0, size):
            file.writelines(line + b"\n" for _, line in chunk)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _write(path: Path, data: bytes) -> None:
    draft = path.with_name(f"{path.name}.draft")
    draft.write_bytes(data)
    draft.replace(path)
