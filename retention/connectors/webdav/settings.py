"""What a policy file says of a WebDAV server and of the folders in it."""

from __future__ import annotations

import re
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from retention.connectors.name_dates import NamePattern
from retention.connectors.outgoing import checked_url
from retention.connectors.secrets import SecretField

_NEXTCLOUD = re.compile(r"(?P<dav>.*/remote\.php/dav)/files/(?P<user>[^/]+)(?P<below>/.*)?\Z")

Url = Annotated[str, AfterValidator(checked_url)]


def _as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class WebdavSystem(BaseModel):
    """Settings of a system."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Url = Field(description="The folder below which everything happens, https.")
    username: str = Field(min_length=1)
    password: SecretField = Field(description="Nextcloud: an app password.")
    trash: Url | None = Field(
        default=None, description="The bin; deduced for Nextcloud. Deleted files are purged there."
    )
    versions: Url | None = Field(
        default=None, description="Old versions, by file id; deduced for Nextcloud."
    )
    ca_file: str | None = Field(
        default=None, description="Certificates to trust instead of the system's."
    )
    private: bool = Field(
        default=False, description="The server's name may lead into a private network."
    )
    levels: int = Field(
        default=4,
        ge=1,
        le=20,
        description="Folders down to this depth are told apart when locations overlap.",
    )
    timeout: float = Field(default=60.0, gt=0, le=600, description="Seconds for an answer.")

    @field_validator("username")
    @classmethod
    def _header(cls, value: str) -> str:
        if ":" in value or any(ord(c) < 32 for c in value):
            raise ValueError("a username holds no colon and no control characters")
        return value

    @field_validator("trash", "versions")
    @classmethod
    def _same_host(cls, value: str | None, info: Any) -> str | None:
        home = info.data.get("url")
        if value and home and urlsplit(value).netloc != urlsplit(home).netloc:
            raise ValueError("on the same server as `url`, or the password goes elsewhere")
        return value

    @property
    def nextcloud(self) -> re.Match[str] | None:
        """The URL taken apart where it has Nextcloud's shape."""
        return _NEXTCLOUD.match(self.url)


class WebdavLocation(BaseModel):
    """Settings of a location."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folders: Annotated[tuple[str, ...], BeforeValidator(_as_tuple)] = Field(
        min_length=1,
        description="Folders below the URL, each with all below it; `*` and `?` within a name,"
        " `/` is everything.",
    )
    pattern: str | None = Field(
        default=None,
        description="What a file's name tells: `*{YYYY}-{MM}-{DD}*` makes the date `name_date`.",
    )

    @field_validator("folders")
    @classmethod
    def _folders(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_checked(folder) for folder in value)

    @field_validator("pattern")
    @classmethod
    def _pattern(cls, value: str | None) -> str | None:
        if value is not None:
            NamePattern(value)
        return value


def _checked(folder: str) -> str:
    steps = folder.strip("/").split("/") if folder.strip("/") else []
    if not folder.strip() or any(ord(c) < 32 for c in folder):
        raise ValueError("a folder's name is not empty and has no control characters")
    if any(step in ("", ".", "..") for step in steps):
        raise ValueError("a folder has no empty step, no `.` and no `..`")
    if "**" in steps:
        raise ValueError("`**` is not needed: a folder is meant with all that is below it")
    return "/".join(steps)
