"""What policy files say about databases and tables."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from retention.connectors.secrets import SecretField
from retention.policy.model import Scalar, Secret


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _no_password(value: Any) -> Any:
    """A URL may be written out as long as it holds no password."""
    if not isinstance(value, str):
        return value
    try:
        url = make_url(value)
    except (ArgumentError, ValueError):
        raise ValueError("not a database URL, e.g. `postgresql://host/name`") from None
    if url.password is not None or "password" in url.query or "passwd" in url.query:
        raise ValueError(
            "a password never stands in a file: say `url: {env: NAME}`, or add "
            "`password: {env: NAME}` and leave it out of the URL"
        )
    return value


class SqlSystem(_Settings):
    """A database."""

    url: Annotated[Secret | SecretStr | str, BeforeValidator(_no_password)] = Field(
        description="SQLAlchemy URL: sqlite:///path, postgresql://…, mysql://… ."
    )
    password: SecretField | None = Field(default=None, description="Where the URL has none.")
    pool: int = Field(default=2, ge=1, le=20, description="Connections that one session may hold.")
    statement_timeout: float = Field(
        60, gt=0, description="Seconds after which a statement, or a wait for a lock, is given up."
    )
    page: int = Field(default=5000, ge=1, le=100_000, description="Rows read at a time.")


class Via(_Settings):
    """A table between a child table and its parent."""

    table: str
    key: str
    parent: str = Field(description="Column that points at the parent's key.")
    via: Via | None = None


class Child(_Settings):
    """A table whose rows go before the row they belong to."""

    table: str
    key: str | None = Field(default=None, description="Its own key; for people who read this.")
    parent: str = Field(description="Column that points at the parent's key, or at `via`'s.")
    match: dict[str, Scalar] = Field(
        default_factory=dict, description="Column values that tell whose rows these are."
    )
    via: Via | None = None

    @property
    def depth(self) -> int:
        """Tables between these rows and the record: deeper ones are deleted first."""
        depth, via = 0, self.via
        while via is not None:
            depth, via = depth + 1, via.via
        return depth


class Uploads(_Settings):
    """Files that belong to a row."""

    column: str = Field(
        default="", description="Holds the file's path below `root`; empty: no file."
    )
    root: str = Field(description="Folder that no path may lead out of.")


StoreName = Literal[
    "flamingo", "flamingo-contacts", "cfdb7", "gravity-forms", "gravity-forms-drafts", "wpforms"
]
"""Ready mappings: what `wordpress.stores` knows."""


class SqlLocation(_Settings):
    """A table whose rows are records."""

    table: str = Field(default="", description="`table` or `schema.table`.")
    key: str = Field(default="", description="Column that is unique: one row, one key.")
    store: StoreName | None = Field(
        default=None, description="A ready mapping, instead of `table` and `key`."
    )
    prefix: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_]{0,50}$",
        description="What the site's table names begin with, for `store`. Default: `wp_`.",
    )
    timezone: str | None = Field(
        default=None,
        description="Zone of dates that are stored without one. Default: the organisation's.",
    )
    children: tuple[Child, ...] = ()
    uploads: Uploads | None = Field(
        default=None, description="With `store`, only the folder: `…/wp-content/uploads`."
    )

    @field_validator("uploads", mode="before")
    @classmethod
    def _folder_alone(cls, value: Any) -> Any:
        return {"root": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_or_the_other(self) -> Self:
        """A table that is described, or a ready mapping that describes it."""
        if self.store is None:
            lacking = [name for name in ("table", "key") if not getattr(self, name)]
            if lacking:
                raise ValueError(f"say `{'` and `'.join(lacking)}`, or a `store`")
            if self.uploads is not None and not self.uploads.column:
                raise ValueError("`uploads` needs the `column` that holds the file's path")
            if self.prefix is not None:
                raise ValueError("`prefix` is for a `store`")
        elif self.table or self.key or self.children:
            raise ValueError("a `store` knows its table, key and children: leave them out")
        elif self.uploads is not None and self.uploads.column:
            raise ValueError("with a `store`, `uploads` is the folder alone")
        return self

    @field_validator("key", mode="before")
    @classmethod
    def _one_column(cls, value: Any) -> Any:
        if isinstance(value, list | tuple):
            raise ValueError("a key of several columns is not supported: name one unique column")  # noqa: TRY004 -- pydantic turns ValueError into a finding
        return value

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                ZoneInfo(value)
            except (ZoneInfoNotFoundError, ValueError):
                raise ValueError("not a time zone, e.g. `Europe/Oslo`") from None
        return value
