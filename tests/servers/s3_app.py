"""The program behind `tests.servers.s3`: moto's server, and what `control.json` asks for around it.

Run as a script: `python s3_app.py FOLDER PORT`. `FOLDER/control.json` is read at each request:

    deny    [words]: 403 AccessDenied for requests with one of these in method, path or query
    status  {word: [code, name]}: answered so, not carried out
    slow    {word: seconds}: carried out, but the answer comes late
    answer  {word: xml}: a 200 with this text, not carried out
    if_match code: deletions with a condition are answered so
    dates   {key: ISO instant}: rewrites LastModified of these keys in listings and heads
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, unquote_plus

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

ROOT = Path(sys.argv[1])
Start = Callable[..., Any]
_ENTRY = re.compile(r"<(Version|DeleteMarker|Contents)>.*?</\1>", re.DOTALL)


def control() -> dict[str, Any]:
    try:
        loaded: dict[str, Any] = json.loads((ROOT / "control.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return loaded


class Faults:
    """Around the server: what `control.json` asks for."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __call__(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        said = control()
        line = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}?{environ['QUERY_STRING']}"
        with (ROOT / "requests").open("a", encoding="utf-8") as log:
            log.write(line.replace("\n", "%0A") + "\n")
        if any(word in line for word in said.get("deny", ())):
            return _error(start, 403, "AccessDenied")
        for word, (code, name) in said.get("status", {}).items():
            if word in line:
                return _error(start, code, name)
        for word, text in said.get("answer", {}).items():
            if word in line:
                start("200 OK", [("Content-Type", "application/xml")])
                return [text.encode()]
        if (code := said.get("if_match")) and "HTTP_IF_MATCH" in environ:
            name = "PreconditionFailed" if code == 412 else "NotImplemented"
            return _error(start, code, name)
        answer = self._dated(environ, start, said.get("dates", {}))
        for word, seconds in said.get("slow", {}).items():
            if word in line:
                time.sleep(seconds)
        return answer

    def _dated(
        self, environ: dict[str, Any], start: Start, dates: dict[str, str]
    ) -> Iterable[bytes]:
        """moto dates everything today: tests need objects of other days."""
        told: list[Any] = []
        body = b"".join(self.inner(environ, lambda *a: told.append(a)))
        status, headers = told[-1][0], list(told[-1][1])
        if dates and environ["REQUEST_METHOD"] == "GET" and b"Result" in body[:200]:
            body = _ENTRY.sub(lambda m: _rewritten(m[0], dates), body.decode()).encode()
            headers = [
                (k, str(len(body)) if k.lower() == "content-length" else v) for k, v in headers
            ]
        if environ["REQUEST_METHOD"] == "HEAD":
            key = environ["PATH_INFO"].encode("latin-1").decode().split("/", 2)[-1]
            if key in dates:
                when = format_datetime(datetime.fromisoformat(dates[key]), usegmt=True)
                headers = [(k, when if k.lower() == "last-modified" else v) for k, v in headers]
        start(status, headers)
        return [body]


def _rewritten(entry: str, dates: dict[str, str]) -> str:
    found = re.search(r"<Key>(.*?)</Key>", entry, re.DOTALL)
    key = unquote_plus(found[1]) if found else ""
    when = dates.get(key) or dates.get(unquote(key))
    if when is None:
        return entry
    return re.sub(r"<LastModified>.*?<", f"<LastModified>{when.replace('+00:00', 'Z')}<", entry)


def _error(start: Start, code: int, name: str) -> list[bytes]:
    body = f"<Error><Code>{name}</Code><Message>told so</Message></Error>".encode()
    head = [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))]
    start(f"{code} Told So", head)
    return [body]


def main() -> None:
    logging.disable(logging.CRITICAL)
    app = Faults(DomainDispatcherApplication(create_backend_app))
    run_simple("127.0.0.1", int(sys.argv[2]), app, threaded=True)


if __name__ == "__main__":
    main()
