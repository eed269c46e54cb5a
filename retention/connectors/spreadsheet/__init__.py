"""Spreadsheet files: rows as records, in .xlsx, .xlsm and .csv."""

from __future__ import annotations

from retention.connectors.base import Connector, Opened
from retention.connectors.spreadsheet.connector import Spreadsheet
from retention.connectors.spreadsheet.settings import MANIFEST

__all__ = ["connect", "manifest"]

manifest = MANIFEST


def connect(opened: Opened) -> Connector:
    """A session with one file. Opens nothing yet."""
    return Spreadsheet(opened)
