"""Secrets that stand in a file although they must not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from retention.policy.codes import finding
from retention.policy.findings import Finding, Path, Positions

_SECRET_NAME = re.compile(
    r"(^|[_-])(password|passwd|passphrase|secret|token|api[_-]?key|private[_-]?key|access[_-]?key"
    r"|credentials?)$",
    re.IGNORECASE,
)
_URL_WITH_PASSWORD = re.compile(r"[a-z][a-z0-9+.-]*://[^/@\s:]*:[^/@\s]+@", re.IGNORECASE)
_URL_WITH_SECRET = re.compile(
    r"[a-z][a-z0-9+.-]*:.*[?&;](password|passwd|pwd|token|api_?key|secret)=[^&\s]", re.IGNORECASE
)
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")


def is_secret_name(name: str) -> bool:
    """Whether a field of that name holds a secret (`password`, `client_secret`, `api_key`)."""
    return _SECRET_NAME.search(name) is not None


def is_reference(value: Any) -> bool:
    """Whether a value says where a secret lies: `{env: NAME}` or `{file: PATH}`."""
    return (
        isinstance(value, Mapping)
        and len(value) == 1
        and all(k in ("env", "file") and isinstance(v, str) and v for k, v in value.items())
    )


def secrets_in(data: Any, path: Path, positions: Positions) -> Iterator[Finding]:
    """A finding for each secret below `path`, without its text.

    Fields that are named like secrets count within systems only: a location may well map a field
    that is called `token`. A URL with a password, or a private key, counts everywhere.
    """
    if isinstance(data, Mapping):
        for key, value in data.items():
            at = (*path, key)
            if path[:1] == ("systems",) and len(path) > 1 and is_secret_name(str(key)):
                yield from _secret_field(value, at, positions)
            else:
                yield from secrets_in(value, at, positions)
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from secrets_in(value, (*path, index), positions)
    elif isinstance(data, str) and _holds_secret(data):
        yield finding("secret-in-file", positions.value(path), "a secret stands here", path)


def _secret_field(value: Any, at: Path, positions: Positions) -> Iterator[Finding]:
    if is_reference(value):
        return
    if isinstance(value, Mapping) and not value.keys() & {"env", "file"}:
        # `credentials: {username: …, password: …}`: what is inside is looked at by its own name.
        yield from secrets_in(value, at, positions)
        return
    if isinstance(value, Mapping):
        message = f"`{at[-1]}` says neither {{env: NAME}} nor {{file: PATH}}"
        yield finding("secret-in-file", positions.value(at), message, at)
    elif value is not None:
        message = f"`{at[-1]}` is written out in a file"
        yield finding("secret-in-file", positions.value(at), message, at)


def _holds_secret(text: str) -> bool:
    return any(p.search(text) for p in (_URL_WITH_PASSWORD, _URL_WITH_SECRET, _PRIVATE_KEY))
