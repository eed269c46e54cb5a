"""What a policy file says of a mail server and of the folders in it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from retention.connectors.imap.oauth_settings import OAuth, as_access_token
from retention.connectors.mail_places import Unit
from retention.connectors.outgoing import checked_url
from retention.connectors.secrets import SecretField
from retention.policy.periods import Period

_PORTS = {"implicit": 993, "starttls": 143, "none": 143}


class Tls(StrEnum):
    """How the connection is protected."""

    IMPLICIT = "implicit"
    STARTTLS = "starttls"
    NONE = "none"


class WithoutUidplus(StrEnum):
    """What to do where a server cannot expunge single messages."""

    REFUSE = "refuse"
    LIFT_MARKS = "lift_marks"


class Profile(StrEnum):
    """Whose rules a server keeps where they differ from the standard's."""

    AUTO = "auto"
    GMAIL = "gmail"
    EXCHANGE = "exchange"
    NONE = "none"


class GmailSettings(BaseModel):
    """What is particular to Gmail."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder_limit: Literal["ask", "none"] = Field(
        default="ask",
        description="none: the account is known to show whole folders over IMAP, whatever the "
        "number of messages in them looks like.",
    )
    api: Annotated[str, AfterValidator(checked_url)] = Field(
        default="https://gmail.googleapis.com",
        description="Where the account's IMAP settings are read, if the access token allows it.",
    )
    private: bool = Field(
        default=False, description="Whether that name may lead into a private network."
    )


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
    access_token: SecretField | None = Field(
        default=None, description="A token that another program keeps fresh; read at each login."
    )
    oauth: OAuth | None = Field(default=None, description="Where access tokens are fetched.")
    own: Annotated[tuple[str, ...], BeforeValidator(_as_tuple)] = Field(
        default=(),
        description="Addresses that are us and never a correspondent; the username counts too.",
    )
    without_uidplus: WithoutUidplus = Field(
        default=WithoutUidplus.REFUSE,
        description="Servers that cannot expunge single messages: refuse, or lift_marks.",
    )

    profile: Profile = Field(
        default=Profile.AUTO, description="Whose rules the server keeps; auto: by what it says."
    )
    gmail: GmailSettings = GmailSettings()
    recoverable: Period | Literal["none"] | None = Field(
        default=None,
        description="How long the provider's administrators can bring back what was deleted.",
    )

    @model_validator(mode="before")
    @classmethod
    def _oauth_as_it_was(cls, values: Any) -> Any:
        return as_access_token(values)

    @model_validator(mode="after")
    def _one_credential(self) -> Self:
        if sum(c is not None for c in (self.password, self.access_token, self.oauth)) != 1:
            raise ValueError("say one of `password`, `access_token` and `oauth`")
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
    unit: Unit = Field(
        default=Unit.MESSAGE,
        description="What a record is: a message with its copies, or a whole thread.",
    )

    @model_validator(mode="after")
    def _said(self) -> Self:
        if any(not f.strip() or any(ord(c) < 32 for c in f) for f in self.folders):
            raise ValueError("a folder's name is not empty and has no control characters")
        return self
