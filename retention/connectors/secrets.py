"""Secrets of systems: named in the policy files, fetched when a system is opened, never printed.

A settings model declares a secret field as `SecretField`. As loaded from a file the field holds
a `policy.model.Secret` (where the secret lies); `resolve_secrets` replaces it by pydantic's
`SecretStr`, which prints as asterisks everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, SecretStr

from retention.errors import CredentialsRefused
from retention.policy.model import Secret

CREDENTIALS = "CREDENTIALS_DIRECTORY"
Settings = TypeVar("Settings", bound=BaseModel)
Resolve = Callable[[Secret], str]
"""Fetches the text of a secret. Raises CredentialsRefused where it is missing."""


def _no_literal(value: Any) -> Any:
    if isinstance(value, str):
        raise ValueError(  # noqa: TRY004 -- pydantic turns ValueError into a finding with a place
            "a secret never stands in a file: say `{env: NAME}` or `{file: PATH}`"
        )
    return value


SecretField = Annotated[Secret | SecretStr, BeforeValidator(_no_literal)]
"""Type of a settings field that must not be written out in a policy file."""


def resolver(environ: Mapping[str, str], base: str) -> Resolve:
    """Look secrets up in this environment and in files; relative paths start in `base`.

    The environment comes in as a parameter: settings.py is its only reader. A path may begin with
    `$CREDENTIALS_DIRECTORY`, where systemd puts a unit's credentials: in another folder for each
    unit, so that no fixed path fits all of them.
    """

    def resolve(secret: Secret) -> str:
        if secret.env is not None:
            text = environ.get(secret.env, "")
            if not text:
                raise CredentialsRefused(
                    f"the environment variable {secret.env} is not set or empty",
                    hint=f"export {secret.env}=… before starting",
                    code="secret-missing",
                )
            return text
        return _from_file(Path(base, _in_credentials(environ, secret.file or "")))

    return resolve


def _in_credentials(environ: Mapping[str, str], path: str) -> str:
    first, slash, rest = path.partition("/")
    if first not in (f"${CREDENTIALS}", f"${{{CREDENTIALS}}}") or not slash:
        return path
    folder = environ.get(CREDENTIALS, "")
    if not folder:
        raise CredentialsRefused(
            f"a secret lies in ${CREDENTIALS}, which is not set",
            hint="systemd sets it where a unit has LoadCredential=; by hand: "
            f"{CREDENTIALS}=/the/folder retention …",
            code="secret-missing",
        )
    return f"{folder}/{rest}"


def _from_file(path: Path) -> str:
    try:
        # Editors and `echo` end a file with a newline that is no part of the secret.
        text = path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise CredentialsRefused(
            f"the secret file {path} cannot be read ({type(error).__name__})",
            hint="check that it exists, is UTF-8 text, and that this account may read it",
            code="secret-missing",
        ) from None
    if not text:
        raise CredentialsRefused(
            f"the secret file {path} is empty",
            hint="write the secret into it, on one line",
            code="secret-missing",
        )
    return text


def resolve_secrets(settings: Settings, resolve: Resolve) -> Settings:
    """A copy of the settings in which every `Secret`, also in nested models, is a `SecretStr`."""
    changed: dict[str, Any] = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, Secret):
            changed[name] = SecretStr(resolve(value))
        elif isinstance(value, BaseModel):
            changed[name] = resolve_secrets(value, resolve)
    return settings.model_copy(update=changed) if changed else settings


def reveal(value: Secret | SecretStr | str | None) -> str | None:
    """The text of a resolved secret, for handing to a driver and nothing else."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, Secret):
        raise CredentialsRefused(
            "a secret was not fetched before use",
            hint="open systems through retention.connectors.registry.open_connector",
            code="secret-missing",
        )
    return value
