"""Refresh tokens that the provider replaces: where the new one is kept, so that it is not lost."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

from retention.connectors.imap.oauth_settings import OAuth
from retention.connectors.secrets import reveal
from retention.policy.model import Secret


class Keeping:
    """The file that holds a refresh token.

    `own`: a file of ours (`keep`), beside the secret as configured: its first line names, by
    hash, the configured token that its second line replaces, so that a new sign-in wins. Without
    it the file that the secret itself lies in, if there is one.
    """

    def __init__(self, path: Path | None, configured: str, *, own: bool) -> None:
        self._path = path
        self._configured = configured
        self._own = own

    @classmethod
    def of(cls, oauth: OAuth, source: Secret | None, base: str) -> Keeping:
        """By what the settings say. Folders of credentials (`$…`) are never written to."""
        configured = reveal(oauth.refresh_token) or "" if oauth.refresh_token else ""
        if oauth.keep is not None:
            return cls(Path(base, oauth.keep), configured, own=True)
        named = source.file if source is not None else None
        if named is not None and not named.startswith("$"):
            return cls(Path(base, named), configured, own=False)
        return cls(None, configured, own=False)

    def __repr__(self) -> str:
        return f"Keeping({'own' if self._own else 'file' if self._path else 'nowhere'})"

    @property
    def told(self) -> str:
        """What happens should the provider replace the token, in plain words."""
        if self._path is None:
            return "if the provider replaces it, the new one cannot be kept (say `keep: FILE`)"
        if not self._writable():
            return "if the provider replaces it, the new one cannot be kept: no right to write"
        return "if the provider replaces it, the new one is kept"

    def _writable(self) -> bool:
        if self._path is None:
            return False
        return os.access(Path(os.path.realpath(self._path)).parent, os.W_OK)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No other process on this machine uses the refresh token meanwhile."""
        if self._path is None or not self._writable():
            yield
            return
        real = Path(os.path.realpath(self._path))
        lock = os.open(real.with_name(f".{real.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def current(self, configured: str) -> str:
        """The refresh token to use, given the one that is configured now."""
        self._configured = configured
        if not self._own or self._path is None:
            return configured
        try:
            lines = self._path.read_text(encoding="utf-8").split("\n")
        except (OSError, UnicodeDecodeError):
            return configured
        mine = len(lines) > 1 and lines[0] == _mark(configured)
        return lines[1] if mine and lines[1] else configured

    def keep(self, token: str) -> bool:
        """Put it in place of the old one, at once and for good. False where that cannot be."""
        if self._path is None:
            return False
        text = f"{_mark(self._configured)}\n{token}\n" if self._own else f"{token}\n"
        try:
            _replace(Path(os.path.realpath(self._path)), text)
        except OSError:
            return False
        return True


def _mark(configured: str) -> str:
    return sha256(b"refresh token\0" + configured.encode("utf-8", "replace")).hexdigest()


def _replace(path: Path, text: str) -> None:
    """Atomically, readable by its owner alone, on the disk before this returns."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            with suppress(FileNotFoundError, PermissionError):
                before = path.stat()
                os.fchown(file.fileno(), before.st_uid, before.st_gid)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
