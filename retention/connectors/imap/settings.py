"""What a policy file says of a mail server and of the folders in it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from retention.connectors.secrets import SecretField

_PORTS = {"implicit": 993, "starttls": 143, "none": 143}


class Tls(StrEnum):
    """How the connection is protected."""

    IMPLICIT = "implicit"
    STARTTLS = "starttls"
    NONE = "none"


def _as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class ImapSystem(BaseModel):
    """Settings of a system."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = Field(min_length=1)
    port: int | None = Field(default=None, ge=1, le=65_535, description="Default: 993, or 143.")
    tls: Tls = Tls.IMPLICIT
    ca_file: str | None = Field(
        default=None, description="Certificates to trust instead of the system's."
    )
    username: str = Field(min_length=1)
    password: SecretField | None = None
    oauth: SecretField | None = Field(
        default=None, description="An access token (XOAUTH2, OAUTHBEARER)."
    )
    own: Annotated[tuple[str, ...], BeforeValidator(_as_tuple)] = Field(
        default=(),
        description="Addresses that are us and never a correspondent; the username counts too.",
    )

    @model_validator(mode="after")
    def _one_credential(self) -> Self:
        if (self.password is None) == (self.oauth is None):
            raise ValueError("say either `password` or `oauth`")
        return self

    @property
    def actual_port(self) -> int:
        """The port, the usual one for the kind of protection where none is said."""
        return self.port or _PORTS[self.tls]


class ImapLocation(BaseModel):
    """Settings of a location."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folders: Annotated[tuple[str, ...], BeforeValidator(_as_tuple)] = Field(
        min_length=1,
        description="Names, patterns with * and ?, or special uses such as \\Sent and \\Trash.",
    )

    @model_validator(mode="after")
    def _said(self) -> Self:
        if any(not f.strip() or any(ord(c) < 32 for c in f) for f in self.folders):
            raise ValueError("a folder's name is not empty and has no control characters")
        return self
