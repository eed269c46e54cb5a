"""Files on a WebDAV server: Nextcloud, ownCloud, Apache and others."""

from __future__ import annotations

from retention.connectors.webdav.connector import connect, manifest

__all__ = ["connect", "manifest"]
