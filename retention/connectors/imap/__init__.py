"""Mail on an IMAP server."""

from __future__ import annotations

from retention.connectors.imap.connector import connect, manifest

__all__ = ["connect", "manifest"]
