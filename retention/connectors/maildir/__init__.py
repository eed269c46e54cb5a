"""Mail in a Maildir on this machine."""

from __future__ import annotations

from retention.connectors.maildir.connector import connect, manifest

__all__ = ["connect", "manifest"]
