"""Which files a policy folder consists of, and their text."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from retention.policy.codes import finding
from retention.policy.document import LARGEST_FILE
from retention.policy.findings import Finding, Place

SUFFIXES = frozenset({".yaml", ".yml"})


def policy_files(folder: Path) -> tuple[tuple[Path, ...], list[Finding]]:
    """Every YAML file below the folder, sorted, each once.

    Hidden files and folders are skipped. Links are followed to files inside the folder only, so
    that nobody can make the service read what lies elsewhere.
    """
    if not folder.is_dir():
        return (), [finding("no-folder", Place(str(folder), 0, 0), "there is no such folder")]
    found: dict[Path, Path] = {}
    problems: list[Finding] = []
    home = folder.resolve()
    for path in sorted(_walk(folder)):
        real = path.resolve()
        if not real.is_relative_to(home):
            place = Place(str(path), 0, 0)
            problems.append(finding("skipped-link", place, "this link leaves the folder"))
        elif real.is_file():
            found.setdefault(real, path)
    if not found:
        place = Place(str(folder), 0, 0)
        problems.append(finding("no-files", place, "there is no *.yaml in this folder"))
    return tuple(found.values()), problems


def _walk(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES:
                yield Path(root, name)


def text_of(path: Path) -> str | Finding:
    """The file's text, or why it has none."""
    place = Place(str(path), 1, 1)
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except OSError as error:
        return finding("unreadable", place, f"cannot be read ({type(error).__name__})")
    if len(data) > LARGEST_FILE:
        return finding("too-large", place, f"larger than {LARGEST_FILE // 1024} KiB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return finding("unreadable", place._replace(line=line), "not UTF-8 text")
