"""What a policy file says of a folder and of the files in it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from retention.connectors.files.globs import Selection, checked_glob
from retention.connectors.files.pattern import NamePattern


class HardLinks(StrEnum):
    """What to do with a file that has another name somewhere."""

    REFUSE = "refuse"
    """Its bytes would stay under the other name: leave it, and say so."""
    UNLINK = "unlink"
    """Remove this name; the proof says what is known of the other one."""


def _as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Globs = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]


class FilesSystem(BaseModel):
    """Settings of a system."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str = Field(
        min_length=1,
        description="The folder below which everything happens; relative to the policy files.",
    )

    @field_validator("path")
    @classmethod
    def _printable(cls, value: str) -> str:
        if "\0" in value:
            raise ValueError("a path holds no NUL")
        return value


class FilesLocation(BaseModel):
    """Settings of a location."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    globs: Globs = Field(
        min_length=1,
        validation_alias=AliasChoices("glob", "globs"),
        serialization_alias="glob",
        description="Files by path below the root: `*` and `?` within a name, `**` for folders.",
    )
    exclude: Globs = Field(default=(), description="Likewise: what is left out.")
    pattern: Globs = Field(
        default=(),
        description="What a path or name says: `{customer}/invoice-{YYYY}-{MM}-{DD}*`."
        " {YYYY} {MM} {DD} {hh} {mm} {ss} make `name_date`, other names are fields.",
    )
    logs: bool = Field(
        default=False, description="Only rotated logs: the live file is never a record."
    )
    hard_links: HardLinks = Field(
        default=HardLinks.REFUSE, description="Files with a second name: refuse, or unlink."
    )
    prune: bool = Field(default=False, description="Remove folders that our deletions leave empty.")

    @field_validator("globs", "exclude")
    @classmethod
    def _globs(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(checked_glob(glob) for glob in value)

    @field_validator("pattern")
    @classmethod
    def _patterns(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            NamePattern(text)
        return value

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.globs:
            raise ValueError("say which files: `glob`")
        return self

    @property
    def selection(self) -> Selection:
        """Which files these are."""
        return Selection(self.globs, self.exclude, logs=self.logs)
