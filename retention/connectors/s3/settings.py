"""What a policy file says of a bucket and of the objects in it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from retention.connectors.name_dates import NamePattern
from retention.connectors.outgoing import checked_url
from retention.connectors.secrets import SecretField

Bucket = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{1,254}$")]


def _as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class S3System(BaseModel):
    """Settings of a system."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bucket: Bucket
    endpoint: Annotated[str, AfterValidator(checked_url)] | None = Field(
        default=None, description="URL of the server; Amazon's where none is said."
    )
    region: str = Field(default="us-east-1", pattern=r"^[a-z0-9-]{1,40}$")
    access_key: SecretField
    secret: SecretField
    session_token: SecretField | None = None
    account: str | None = Field(
        default=None,
        pattern=r"^[0-9]{12}$",
        description="The bucket's owner: refused where it is another's (Amazon only).",
    )
    addressing: Literal["path", "virtual", "auto"] = "auto"
    ca_file: str | None = Field(
        default=None, description="Certificates to trust instead of the usual ones."
    )
    private: bool = Field(
        default=False, description="The server's name may lead into a private network."
    )
    replica_listed: bool = Field(
        default=False, description="Where the bucket is replicated to is a location of its own."
    )
    levels: int = Field(
        default=4,
        ge=1,
        le=20,
        description="Folders of keys down to this depth are told apart when locations overlap.",
    )
    timeout: float = Field(default=60.0, gt=0, le=600, description="Seconds for an answer.")

    @field_validator("bucket")
    @classmethod
    def _ordered(cls, value: str) -> str:
        if value.endswith("--x-s3"):
            raise ValueError("a directory bucket lists its keys in no order: not supported")
        return value


class S3Location(BaseModel):
    """Settings of a location."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prefix: Annotated[tuple[str, ...], BeforeValidator(_as_tuple)] = Field(
        default=("",),
        min_length=1,
        description="What keys begin with, up to a slash: `customers/`; all of them if unsaid.",
    )
    bucket: Bucket | None = Field(default=None, description="Another bucket than the system's.")
    pattern: str | None = Field(
        default=None,
        description="What a key's last step tells: `*{YYYY}-{MM}-{DD}*` makes `name_date`.",
    )

    @field_validator("prefix")
    @classmethod
    def _folders(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(prefix and not prefix.endswith("/") for prefix in value):
            raise ValueError(
                "a prefix ends with `/`, or `a` would take `ab` along; choose single files with"
                " `where: {key: {matches: …}}`"
            )
        if any(ord(c) < 32 for prefix in value for c in prefix):
            raise ValueError("a prefix has no control characters")
        return value

    @field_validator("pattern")
    @classmethod
    def _pattern(cls, value: str | None) -> str | None:
        if value is not None:
            NamePattern(value)
        return value

    @property
    def prefixes(self) -> tuple[str, ...]:
        """Sorted, those within others left out."""
        wanted = set(self.prefix)
        inner = {p for p in wanted if any(p != o and p.startswith(o) for o in wanted)}
        return tuple(sorted(wanted - inner))
