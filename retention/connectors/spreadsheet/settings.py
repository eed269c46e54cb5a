"""What a policy file may say about a spreadsheet, and what this connector can do."""

from __future__ import annotations

from pydantic import Field

from retention.connectors.base import Cap, Finality, Manifest
from retention.connectors.secrets import SecretField
from retention.policy.model import Strict

MAX_BATCH = 50_000
"""Each act rewrites the whole file once, so a small batch on a large sheet would be quadratic."""


class SpreadsheetSystem(Strict):
    """One file: .xlsx, .xlsm or .csv."""

    path: str = Field(min_length=1, description="The file; relative to the policy files.")
    password: SecretField | None = Field(
        default=None, description="Where the password lies that opens the workbook."
    )


class SpreadsheetLocation(Strict):
    """One sheet whose rows are the records."""

    sheet: str | None = Field(
        default=None, description="Sheet name; may be left out when one is visible."
    )
    header: int = Field(
        default=1, ge=1, le=1000, description="Number of the row with the column names."
    )
    key: str = Field(
        min_length=1, description="Column that identifies a row; never empty or twice."
    )
    date_format: str | None = Field(
        default=None, description="How dates are written where they are text, e.g. %d/%m/%Y."
    )


MANIFEST = Manifest(
    kind="spreadsheet",
    title="Spreadsheet file (xlsx, xlsm, csv)",
    capabilities=Cap.DELETE | Cap.MASK | Cap.READ | Cap.COPIES,
    system_settings=SpreadsheetSystem,
    location_settings=SpreadsheetLocation,
    max_batch=MAX_BATCH,
    finality=Finality.IMMEDIATE,
    serial=True,
    notes=(
        "Copies outside the file are not seen: version history of synchronised folders, backups.",
        "Text inside pictures is not read.",
        "Rows without a key, or with the key of another row, are reported and never touched.",
    ),
    patterned=lambda _: False,
)
