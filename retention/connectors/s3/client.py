"""One client of an S3 server: made, called, and what goes wrong, without the server's words."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    ReadTimeoutError,
    SSLError,
)

from retention.connectors.outgoing import hush, refuse_private
from retention.connectors.s3.settings import S3System
from retention.connectors.secrets import reveal
from retention.errors import (
    ConnectorError,
    CredentialsRefused,
    PermanentFailure,
    TemporaryFailure,
)

hush("botocore", "boto3", "urllib3", "s3transfer")

Reply = Mapping[str, Any]

TEMPORARY = frozenset(
    {
        *("SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "Throttling"),
        *(
            "OperationAborted",
            "ThrottlingException",
            "RequestLimitExceeded",
            "BandwidthLimitExceeded",
        ),
    }
)
DENIED = frozenset({"AccessDenied", "AllAccessDisabled", "AccountProblem", "403", "Forbidden"})
MISSING = frozenset({"NoSuchKey", "NoSuchVersion", "NoSuchUpload", "404", "NotFound"})
_STRANGERS = frozenset(
    {
        *("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"),
        *("TokenRefreshRequired", "InvalidSecurity", "NotSignedUp", "AuthFailure"),
        *("AuthorizationHeaderMalformed", "UnrecognizedClientException"),
    }
)
_ELSEWHERE = frozenset(
    {"PermanentRedirect", "TemporaryRedirect", "301", "307", "IllegalLocationConstraintException"}
)


LOOKING = "looking for the bucket"

_lock = Lock()


@cache
def _session() -> Any:
    """Holds the library's description of S3, which takes long to load, and no secret."""
    session = botocore.session.Session()
    # Nothing of the machine's own settings steers us: no profile, no files.
    session.set_config_variable("config_file", "/dev/null")
    session.set_config_variable("credentials_file", "/dev/null")
    session.set_config_variable("profile", None)
    return session


def _new(**settings: Any) -> Any:
    with _lock:
        return _session().create_client("s3", **settings)


class Refused(Exception):
    """The server refused one call. `code` is its word for it, for classifying only."""

    def __init__(self, code: str, status: int) -> None:
        super().__init__(code if code.isalnum() else "refused")
        self.code = code
        self.status = status


class Client:
    """Connects when first asked; every call is made once, the engine repeats what may be."""

    def __init__(self, system: str, settings: S3System, base: str) -> None:
        self.system = system
        self.settings = settings
        self._base = base
        self._made: Any = None

    def __repr__(self) -> str:
        return f"Client({self.system})"

    def close(self) -> None:
        made, self._made = self._made, None
        if made is not None:
            made.close()

    def call(self, operation: str, doing: str, **arguments: Any) -> Reply:
        """One request. Raises ConnectorErrors; `missing` things too are PermanentFailures."""
        failure: ConnectorError
        try:
            return self.attempt(operation, doing, **arguments)
        except Refused as refused:
            failure = self.failure(refused.code, refused.status, doing)
        raise failure

    def attempt(self, operation: str, doing: str, **arguments: Any) -> Reply:
        """One request. Raises Refused where the server said no; ConnectorErrors for the rest."""
        if self.settings.account is not None:
            arguments["ExpectedBucketOwner"] = self.settings.account
        failure: Exception
        try:
            reply: Reply = getattr(self._connected(), operation)(**arguments)
            return reply
        except ClientError as error:
            said = error.response
            code = str(said.get("Error", {}).get("Code", ""))
            status = int(said.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
            failure = Refused(code, status)
            if code in TEMPORARY or status == 429 or (status >= 500 and status != 501):
                failure = self.failure(code, status, doing)
        except BotoCoreError as error:
            failure = self._lost(error, doing)
        # Raised outside the handler: the library's error holds keys and the server's words.
        raise failure

    def failure(self, code: str, status: int, doing: str) -> ConnectorError:
        """Our error for the server's word."""
        error: ConnectorError
        if code in TEMPORARY or status == 429 or (status >= 500 and status != 501):
            error = TemporaryFailure(f"the server is busy or failed, {doing}")
        elif code in _STRANGERS:
            error = CredentialsRefused(
                "the server does not accept these keys", hint="check both keys"
            )
        elif code == "RequestTimeTooSkewed":
            error = PermanentFailure("by the server's clock ours is wrong", hint="set the clock")
        elif code in _ELSEWHERE:
            error = PermanentFailure("the bucket is in another region", hint="check `region`")
        elif code in DENIED or status == 403:
            error = CredentialsRefused(
                f"these keys lack a right that is needed, {doing}",
                hint="docs/how-to/cloud-storage.md lists the rights",
            )
        elif code == "NoSuchBucket" or (status == 404 and doing == LOOKING):
            error = PermanentFailure(
                "there is no such bucket", hint="check `bucket`", code="missing"
            )
        elif code == "NotImplemented" or status == 501:
            error = PermanentFailure(
                f"the server cannot do what is needed, {doing}", code="unsupported"
            )
        else:
            error = PermanentFailure(f"the server refused, {doing}", code="refused")
        error.place = self.system
        return error

    def _lost(self, error: BotoCoreError, doing: str) -> ConnectorError:
        if isinstance(error, SSLError):
            return PermanentFailure(
                "no TLS connection came about",
                hint="does the certificate fit? name its authority in `ca_file`",
                place=self.system,
                code="tls",
            )
        if isinstance(error, EndpointConnectionError | ConnectTimeoutError):
            code, cause = "connection", "the connection could not be made"
        elif isinstance(error, ReadTimeoutError):
            code, cause = "no_answer", "the server did not answer in time"
        elif isinstance(error, HTTPClientError):
            code, cause = "no_answer", "the connection was lost"
        else:
            return PermanentFailure(
                f"the request could not be made ({type(error).__name__}), {doing}",
                place=self.system,
            )
        return TemporaryFailure(f"{cause}, {doing}", place=self.system, code=code)

    def _connected(self) -> Any:
        if self._made is None:
            settings = self.settings
            if settings.endpoint:
                refuse_private(settings.endpoint, self.system, private=settings.private)
            self._made = _new(
                region_name=settings.region,
                endpoint_url=settings.endpoint,
                aws_access_key_id=reveal(settings.access_key),
                aws_secret_access_key=reveal(settings.secret),
                aws_session_token=reveal(settings.session_token),
                verify=str(Path(self._base, settings.ca_file)) if settings.ca_file else True,
                config=Config(
                    retries={"total_max_attempts": 1, "mode": "standard"},
                    connect_timeout=min(15.0, settings.timeout),
                    read_timeout=settings.timeout,
                    max_pool_connections=2,
                    signature_version="s3v4",
                    s3={"addressing_style": settings.addressing},
                    proxies={},
                    ignore_configured_endpoint_urls=True,
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                ),
            )
        return self._made
