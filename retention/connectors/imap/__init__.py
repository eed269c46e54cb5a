"""Mail on an IMAP server."""

from __future__ import annotations

from retention.connectors.imap.profiles import connect, manifest

__all__ = ["connect", "manifest"]
