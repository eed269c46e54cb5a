"""Objects in an S3 bucket: Amazon's, or any server that speaks it (MinIO, Ceph, Wasabi, …)."""

from __future__ import annotations

from retention.connectors.s3.connector import connect, manifest

__all__ = ["connect", "manifest"]
