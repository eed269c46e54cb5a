"""What a policy file may say about a spreadsheet, and what this connector can do."""

from __future__ import annotations

import codecs
from typing import Annotated, Literal

from pydantic import Field, field_validator

from retention.connectors.base import Cap, Finality, Manifest
from retention.connectors.secrets import SecretField
from retention.connectors.spreadsheet.sheets import covers_many
from retention.policy.model import Strict

MAX_BATCH = 50_000
"""Each act rewrites the whole file once, so a small batch on a large sheet would be quadratic."""


ENCODINGS = frozenset(
    {"utf-8", "utf-16-le", "utf-16-be", "ascii"}
    | {f"cp125{n}" for n in range(9)}
    | {f"iso8859-{n}" for n in (1, 2, 4, 5, 7, 9, 10, 13, 15)}
    | {"mac-roman", "cp437", "cp850", "cp852", "cp865"}
)
"""Encodings that give the same bytes back for every text that was read with them."""


Mode = Literal["auto", "remove", "blank"]
"""How rows of a workbook go."""


class SpreadsheetSystem(Strict):
    """One file: .xlsx, .xlsm, .ods or .csv."""

    path: str = Field(min_length=1, description="The file; relative to the policy files.")
    password: SecretField | None = Field(
        default=None, description="Where the password lies that opens the workbook."
    )


class SpreadsheetLocation(Strict):
    """One sheet or several whose rows are the records."""

    sheet: str | Annotated[tuple[str, ...], Field(min_length=1)] | None = Field(
        default=None,
        description="Sheet name, pattern (20*) or a list of them; may be left out when one is "
        "visible.",
    )
    header: int = Field(
        default=1, ge=1, le=1000, description="Number of the row with the column names."
    )
    key: str = Field(
        min_length=1, description="Column that identifies a row; never empty or twice."
    )
    mode: Mode = Field(
        default="auto",
        description="Rows of a workbook are removed where that is safe, else emptied (auto), "
        "removed or refused (remove), or always emptied in place (blank).",
    )
    date_format: str | None = Field(
        default=None, description="How dates are written where they are text, e.g. %d/%m/%Y."
    )
    encoding: str | None = Field(
        default=None, description="Encoding of a CSV file, where looking at it does not tell."
    )

    @field_validator("encoding")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        if name is not None:
            try:
                known = codecs.lookup(name).name
            except LookupError:
                raise ValueError(f"there is no encoding called {name!r}") from None
            if known not in ENCODINGS:
                raise ValueError(f"the encoding must be one of {', '.join(sorted(ENCODINGS))}")
            return known
        return None


MANIFEST = Manifest(
    kind="spreadsheet",
    title="Spreadsheet file (xlsx, xlsm, ods, csv)",
    capabilities=Cap.DELETE | Cap.MASK | Cap.READ | Cap.COPIES | Cap.RECEIVE,
    system_settings=SpreadsheetSystem,
    location_settings=SpreadsheetLocation,
    max_batch=MAX_BATCH,
    whole=True,
    finality=Finality.IMMEDIATE,
    serial=True,
    notes=(
        "Copies outside the file are not seen: version history of synchronised folders, backups.",
        "Text inside pictures is not read.",
        "Rows without a key, or with the key of another row, are reported and never touched.",
    ),
    patterned=lambda location: covers_many(location.sheet),
)
