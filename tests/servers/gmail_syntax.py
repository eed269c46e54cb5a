"""Lines of IMAP for the label server: commands apart, answers together."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from imapclient import imap_utf7

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun",
          "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")  # fmt: skip
Item = Any
"""A parsed argument: str, or a list of them for parentheses."""


class RefuseError(Exception):
    """NO or BAD."""

    def __init__(self, said: str) -> None:
        super().__init__(said)
        self.said = said


def parse(pieces: list[bytes]) -> list[Item]:
    """A command line with its literals; strings keep odd bytes as surrogates."""
    stack: list[list[Item]] = [[]]
    texts = [p.decode("utf-8", "surrogateescape") for p in pieces]
    for at in range(0, len(texts), 2):
        line = re.sub(r"\{\d+\+?\}$", "", texts[at]) if at + 1 < len(texts) else texts[at]
        for m in _TOKEN.finditer(line):
            if m["open"]:
                stack.append([])
            elif m["close"]:
                inner = stack.pop()
                stack[-1].append(inner)
            elif m["quoted"] is not None:
                stack[-1].append(re.sub(r"\\(.)", r"\1", m["quoted"]))
            else:
                stack[-1].append(m["atom"])
        if at + 1 < len(texts):
            stack[-1].append(texts[at + 1])
    return stack[0]


_TOKEN = re.compile(
    r'(?P<open>\()|(?P<close>\))|"(?P<quoted>(?:[^"\\]|\\.)*)"'
    r"|(?P<atom>[A-Za-z0-9.]+\[[^\]]*\]|[^\s()\"]+)"
)


def quoted_name(name: str) -> str:
    raw: bytes = imap_utf7.encode(name)
    return '"' + raw.decode("ascii").replace("\\", "\\\\").replace('"', '\\"') + '"'


def internal(when: datetime) -> str:
    utc = when.astimezone(UTC)
    return f"{utc.day:02d}-{MONTHS[utc.month - 1]}-{utc:%Y %H:%M:%S} +0000"


def section_of(section: str, data: bytes) -> bytes:
    if section == "":
        return data
    head, _, _ = data.partition(b"\r\n\r\n")
    if section.upper() == "HEADER":
        return head + b"\r\n\r\n"
    names = {n.lower() for n in section[section.index("(") + 1 : section.index(")")].split()}
    return b"".join(_fields(head, names)) + b"\r\n"


def _fields(head: bytes, names: set[str]) -> Iterator[bytes]:
    keep = False
    for line in head.split(b"\r\n"):
        if line[:1] not in (b" ", b"\t"):
            keep = line.partition(b":")[0].strip().lower().decode("ascii", "replace") in names
        if keep:
            yield line + b"\r\n"
