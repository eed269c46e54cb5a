"""Handing over: export each record, look at the export again, and only then let it be deleted."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from retention.connectors.base import Connector, Content, Target
from retention.errors import PermanentFailure
from retention.run.batches import Batch, Item


def export(connector: Connector, aim: Target, batch: Batch, folder: Path) -> tuple[Item, ...]:
    """Write the whole content of these records below `folder`; return those whose file is whole.

    One file a record, named by its pseudonym, and `index.jsonl` with the hash of each. Doing it
    again after a crash writes the same files again. Raises PermanentFailure where the folder
    cannot be written.
    """
    by_key = {item.key: item for item in batch.items}
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        written = {
            content.key: _write(folder, by_key[content.key], content)
            for content in connector.read(aim, [item.ref for item in batch.items])
        }
        _index(folder, by_key, written)
    except OSError as error:
        raise PermanentFailure(
            f"the hand-over folder cannot be written ({type(error).__name__})",
            place=batch.how.policy,
            hint="check `hand_over: {to: …}`, its rights and the free space",
            code="hand-over",
        ) from None
    return tuple(
        by_key[key]
        for key, (name, digest) in written.items()
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    )


def _write(folder: Path, item: Item, content: Content) -> tuple[str, str]:
    # Only the suffix of the system's own file name is taken: the rest may lead anywhere.
    suffix = PurePosixPath(content.filename).suffix
    name = f"{item.pseudonym}{suffix if suffix.isascii() else ''}"
    descriptor = os.open(
        folder / name, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_NOFOLLOW, 0o600
    )
    with os.fdopen(descriptor, "wb") as file:
        file.write(content.data)
        file.flush()
        os.fsync(file.fileno())
    return name, hashlib.sha256(content.data).hexdigest()


def _index(
    folder: Path, by_key: dict[str, Item], written: dict[str, tuple[str, str]]
) -> Sequence[str]:
    lines = [
        json.dumps({"record": by_key[key].pseudonym, "file": name, "sha256": digest})
        for key, (name, digest) in written.items()
    ]
    with (folder / "index.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)
        file.flush()
        os.fsync(file.fileno())
    return lines
