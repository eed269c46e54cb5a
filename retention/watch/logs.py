"""Log lines on stderr, for people or for programs; those of libraries in the same form.

A line says when, what, and facts: names and numbers. Of an exception it says the class and the
place. The text of an exception, and what a library put into its own line, may quote a record, a
password or a server's answer, so neither is ever shown.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import structlog

import retention
from retention.clock import Clock, SystemClock
from retention.ledger.store import stamp

NAME = "retention"
_ROOT = Path(retention.__file__).parents[1]
_PLAIN = frozenset({"info", "debug"})
_Line = MutableMapping[str, Any]


def get() -> structlog.stdlib.BoundLogger:
    """The logger of this program: `get().info("run", policy=…)`. Facts are names and numbers."""
    logger: structlog.stdlib.BoundLogger = structlog.wrap_logger(
        logging.getLogger(NAME),
        wrapper_class=structlog.stdlib.BoundLogger,
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_log_level,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
    )
    return logger


def configure(form: Literal["text", "json"], clock: Clock | None = None) -> None:
    """Send our lines from INFO and everybody's from WARNING to stderr, in this form.

    For the start of a process; whatever handlers were set before are taken away.
    """
    handler = _Stderr()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_foreign],
            processors=[
                _when(clock or SystemClock()),
                _exception,
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _json if form == "json" else _text,
            ],
            # A library's line stays a template: what it would be filled with may be anything.
            use_get_message=False,
            pass_foreign_args=True,
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(NAME).setLevel(logging.INFO)
    logging.captureWarnings(capture=True)


class _Stderr(logging.Handler):
    """Whatever stderr is at the moment. A reader that has gone must not stop the work."""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(Exception):
            sys.stderr.write(f"{self.format(record)}\n")
            sys.stderr.flush()


def _when(clock: Clock) -> Callable[[Any, str, _Line], _Line]:
    def add(_logger: Any, _method: str, line: _Line) -> _Line:
        return {"at": stamp(clock.now()), "event": line.pop("event"), **line}

    return add


def _foreign(_logger: Any, _method: str, line: _Line) -> _Line:
    """A library's line: its logger and its own words without what it put into them."""
    record: logging.LogRecord = line["_record"]
    # Without arguments it may have been filled in before. Celery's tasks carry numbers of runs
    # only, so its plain sentences hold nothing else.
    template = bool(line["positional_args"]) or record.name.partition(".")[0] == "celery"
    return {
        "event": line["event"].partition("\n")[0] if template else "a line of a library",
        "level": record.levelname.lower(),
        "logger": record.name,
        "place": f"{record.module}:{record.lineno}",
        "exc_info": line.get("exc_info"),
        "_record": record,
        "_from_structlog": False,
    }


def _exception(_logger: Any, _method: str, line: _Line) -> _Line:
    caught = line.pop("exc_info", None)
    if caught is True:
        caught = sys.exc_info()
    error = caught[1] if isinstance(caught, tuple) else caught
    if isinstance(error, BaseException):
        line.update(describe(error))
    line.pop("stack_info", None)
    return line


def describe(error: BaseException) -> dict[str, str]:
    """An exception as facts: its class, and where it was raised, in our own code if possible."""
    frames = traceback.extract_tb(error.__traceback__, limit=-50)
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(_ROOT / NAME)]
    if not frames:
        return {"error": type(error).__name__}
    last = (own or frames)[-1]
    path = Path(last.filename)
    name = path.relative_to(_ROOT) if own else Path(path.name)
    return {"error": type(error).__name__, "error_place": f"{name}:{last.lineno}"}


def _json(_logger: Any, _method: str, line: _Line) -> str:
    return visible(json.dumps(dict(line), ensure_ascii=False, default=str))


def _text(_logger: Any, _method: str, line: _Line) -> str:
    at, event, level = line.pop("at"), line.pop("event"), line.pop("level", "info")
    said: list[str] = []
    for name, value in line.items():
        if isinstance(value, Mapping):
            said.append(numbers(value))
        elif isinstance(value, list | tuple):
            said += [f"{name.removesuffix('s')}: {item}" for item in value]
        else:
            said.append(f"{name}={value}")
    mark = "" if level in _PLAIN else f"{level}: "
    return visible(f"{at} {mark}{event}" + (f": {'; '.join(said)}" if said else ""))


def numbers(counts: Mapping[str, Any]) -> str:
    """Counts for people, zeros left out."""
    said = [f"{name.replace('_', ' ')} {number}" for name, number in counts.items() if number]
    return ", ".join(said) or "nothing to do"


def visible(text: str) -> str:
    """Control characters shown as JSON escapes: they could move a terminal's cursor."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)
