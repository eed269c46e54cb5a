"""Log lines: their form, and what never stands in them."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from retention.watch import logs

AT = "2026-06-15T12:00:00.000Z"
PRIVATE = "ola.nordmann@example.com"


class Noon:
    """A clock that stands still."""

    def now(self) -> datetime:
        return datetime(2026, 6, 15, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Logging as it was before."""
    root, own = logging.getLogger(), logging.getLogger(logs.NAME)
    before = (list(root.handlers), root.level, own.level)
    yield
    root.handlers[:], root.level, own.level = before
    logging.captureWarnings(capture=False)


def test_a_line_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """When, what, facts; counts without zeros; each problem by itself."""
    logs.configure("text", Noon())
    logs.get().info("started", policies=3)
    logs.get().info("ended")
    logs.get().info(
        "run", policy="form", state="done", counts={"due": 2, "still_there": 1, "held": 0},
        problems=["one", "two"],
    )  # fmt: skip
    logs.get().warning("ping not answered", reason="HTTP 500")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        f"{AT} started: policies=3",
        f"{AT} ended",
        f"{AT} run: policy=form; state=done; due 2, still there 1; problem: one; problem: two",
        f"{AT} warning: ping not answered: reason=HTTP 500",
    ]


def test_a_line_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    """One object a line, with everything that was given."""
    logs.configure("json", Noon())
    logs.get().info("run", policy="form", counts={"due": 2, "held": 0}, problems=[])
    assert json.loads(capsys.readouterr().err) == {
        "at": "2026-06-15T12:00:00.000Z",
        "event": "run",
        "policy": "form",
        "counts": {"due": 2, "held": 0},
        "problems": [],
        "level": "info",
    }


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_exception_is_its_class_and_place(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The text of an exception may quote a record."""
    logs.configure("json" if form == "json" else "text", Noon())
    try:
        raise ValueError(PRIVATE)
    except ValueError:
        logs.get().exception("a bug")
        logging.getLogger("kombu.connection").exception("broken: %s", PRIVATE)
    err = capsys.readouterr().err
    assert PRIVATE not in err
    assert err.count("ValueError") == 2
    assert err.count("test_watch_logs.py:") == 2
    assert err.count("\n") == 2


def test_the_place_is_in_our_own_code_where_it_can_be() -> None:
    """A library's line number tells less than the line of ours that called it."""
    try:
        logs.numbers(None)  # type: ignore[arg-type]  # what is wrong is the point
    except AttributeError as error:
        described = logs.describe(error)
    assert described["error"] == "AttributeError"
    assert described["error_place"].startswith("retention/watch/logs.py:")


def test_lines_of_libraries_stay_templates(capsys: pytest.CaptureFixture[str]) -> None:
    """In the same form, from WARNING on, and without what they would be filled with."""
    logs.configure("json", Noon())
    logging.getLogger("celery.worker").warning("lost %s\n%s", "redis://:secret@x", "trace")
    logging.getLogger("celery.worker").warning("Warm shutdown")
    logging.getLogger("sqlalchemy.pool").error(f"row of {PRIVATE}")  # noqa: G004  # as libraries do
    logging.getLogger("kombu").info("quiet")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["logger"], line["level"], line["event"]) for line in lines] == [
        ("celery.worker", "warning", "lost %s"),
        ("celery.worker", "warning", "Warm shutdown"),
        ("sqlalchemy.pool", "error", "a line of a library"),
    ]
    assert all(line["place"].startswith("test_watch_logs:") for line in lines)


@pytest.mark.parametrize("form", ["text", "json"])
def test_control_characters_are_shown(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A name cannot move the cursor or begin another line; JSON stays JSON."""
    logs.configure("json" if form == "json" else "text", Noon())
    logs.get().info("run", policy="a\x1b[2J\nb\x9b\u2028å")
    err = capsys.readouterr().err
    assert err.rstrip("\n").isprintable()
    assert "å" in err
    if form == "json":
        assert json.loads(err)["policy"] == "a\x1b[2J\nb\x9b\u2028å"


def test_a_reader_that_has_gone_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed stderr is no reason to end a run."""

    class Gone:
        def write(self, _text: str) -> None:
            raise BrokenPipeError

    logs.configure("text", Noon())
    monkeypatch.setattr("sys.stderr", Gone())
    logs.get().info("started")
