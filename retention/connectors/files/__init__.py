"""Files in folders of this machine: documents, rotated logs, session files."""

from __future__ import annotations

from retention.connectors.files.connector import connect, manifest

__all__ = ["connect", "manifest"]
