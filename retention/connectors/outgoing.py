"""What every connector that speaks HTTP keeps to: where it may connect, and that nobody logs it."""

from __future__ import annotations

import logging
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import SplitResult, urlsplit

from retention.errors import PermanentFailure, TemporaryFailure


def hush(*names: str) -> None:
    """Let these libraries' loggers write nowhere: their lines hold paths, headers and bodies."""
    for name in names:
        # The loggers below these inherit the level, whatever the root's is.
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def checked_url(text: str) -> str:
    """A URL that may stand in a policy file, without its last slash. Raises ValueError.

    Only https, except on this machine; no user, password, query or fragment in it.
    """
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise ValueError("not a URL") from None
    if any(ord(c) <= 32 or ord(c) == 127 for c in text) or "\\" in text or not url.hostname:
        raise ValueError("not a URL")
    if url.username is not None or url.password is not None:
        raise ValueError("no user or password in a URL: they have settings of their own")
    if url.query or url.fragment or port == 0:
        raise ValueError("a URL without `?…` and `#…`")
    if url.scheme != "https" and not (url.scheme == "http" and is_loopback(url.hostname)):
        raise ValueError("https only; http is for servers on this machine")
    return text.rstrip("/")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine by its very name."""
    address = _literal(host)
    return address.is_loopback if address else host == "localhost"


def refuse_private(url: str, place: str, *, private: bool) -> None:
    """Look the host up, and refuse it where a name leads into a private network.

    An address that the policy file spells out is meant; a name that leads inside is meant only
    where the system says `private`. Raises PermanentFailure, TemporaryFailure.
    """
    split: SplitResult = urlsplit(url)
    host = split.hostname or ""
    if private or is_loopback(host) or _literal(host):
        return
    try:
        found = socket.getaddrinfo(host, split.port or 443, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        found = []
    if not found:
        raise TemporaryFailure("the server's name cannot be looked up", place=place, code="dns")
    addresses = [_literal(str(entry[4][0]).partition("%")[0]) for entry in found]
    if not all(address and address.is_global for address in addresses):
        raise PermanentFailure(
            "the server's name leads into a private network",
            hint="if it shall, say `private: true` at the system",
            place=place,
            code="private-address",
        )


def _literal(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
