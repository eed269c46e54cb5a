"""What a policy file says of access tokens: where they come from and how they are presented."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from retention.connectors.outgoing import checked_url
from retention.connectors.secrets import SecretField
from retention.policy.model import Secret


class Mechanism(StrEnum):
    """How a token is presented to a mail server."""

    OAUTHBEARER = "oauthbearer"
    XOAUTH2 = "xoauth2"


class OAuth(BaseModel):
    """Where access tokens are fetched (RFC 6749 §6, §4.4)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    token_url: Annotated[str, AfterValidator(checked_url)]
    client_id: str = Field(min_length=1)
    client_secret: SecretField | None = None
    refresh_token: SecretField | None = Field(
        default=None,
        description="Without one the client logs in as itself (grant client_credentials).",
    )
    keep: str | None = Field(
        default=None,
        description="File for refresh tokens that the provider replaces; default: the file that "
        "`refresh_token` names.",
    )
    scope: str | None = None
    mechanism: Mechanism | None = Field(
        default=None, description="Default: what the server offers, oauthbearer before xoauth2."
    )
    private: bool = Field(
        default=False,
        description="Whether the token server's name may lead into a private network.",
    )

    @model_validator(mode="after")
    def _can_be_asked(self) -> Self:
        if self.refresh_token is None and self.client_secret is None:
            raise ValueError("say `refresh_token`, or `client_secret` for an application's login")
        if self.keep is not None and self.refresh_token is None:
            raise ValueError("`keep` is for refresh tokens, and there is none")
        return self


def as_access_token(values: Any) -> Any:
    """`oauth: {env: NAME}` has always meant one access token, now called `access_token`."""
    if not isinstance(values, dict):
        return values
    said = values.get("oauth")
    plain = isinstance(said, dict) and bool(said) and set(said) <= {"env", "file"}
    if not plain and not isinstance(said, Secret | SecretStr):
        return values
    if values.get("access_token") is not None:
        raise ValueError("say either `access_token` or `oauth`")
    return {**{k: v for k, v in values.items() if k != "oauth"}, "access_token": said}
