"""One HTTP request to an address that the operator set: no redirect is followed, 2xx is success."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from urllib.error import HTTPError
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

from retention import __version__
from retention.watch.channel import Refused

TIMEOUT = 10.0
# Only these: urllib's own opener also follows redirects, and reads file: and ftp: addresses.
_HANDLERS = (
    ProxyHandler,
    HTTPHandler,
    HTTPSHandler,
    HTTPErrorProcessor,
    HTTPDefaultErrorHandler,
)


def request(url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> None:
    """GET, or POST where there is a body. Raises Refused with a class or a status, no address."""
    wanted = Request(  # noqa: S310  # the settings allow http and https alone
        url, data=body, headers={"User-Agent": f"retention/{__version__}", **(headers or {})}
    )
    opener = OpenerDirector()
    for handler in _HANDLERS:
        opener.add_handler(handler())
    try:
        with opener.open(wanted, timeout=TIMEOUT):
            return
    except HTTPError as error:
        with error:
            raise Refused(f"HTTP {error.code}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None)
        cause = reason if isinstance(reason, BaseException) else error
        raise Refused(type(cause).__name__) from None
