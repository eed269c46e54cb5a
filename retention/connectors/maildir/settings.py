"""What a policy file says of a Maildir and of the folders in it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from retention.connectors.mail_places import Unit


def _as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class MaildirSystem(BaseModel):
    """Settings of a system."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str = Field(min_length=1, description="The Maildir; relative to the policy files.")
    own: Annotated[tuple[str, ...], BeforeValidator(_as_tuple)] = Field(
        default=(), description="Addresses that are us and never a correspondent."
    )


class MaildirLocation(BaseModel):
    """Settings of a location."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folders: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[^\x00-\x1f]*[^\x00-\x20][^\x00-\x1f]*$")], ...],
        BeforeValidator(_as_tuple),
    ] = Field(
        min_length=1,
        description="Names, patterns with * and ?, or special uses such as \\Sent and \\Trash.",
    )
    unit: Unit = Field(
        default=Unit.MESSAGE,
        description="What a record is: a message with its copies, or a whole thread.",
    )
