"""Reading what PHP serialised: exactly what PHP wrote, and nothing that anybody else made up."""

from __future__ import annotations

import json
import subprocess
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retention.connectors.sql import php
from tests.servers.process import program

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | TEXTS,
    lambda inner: st.dictionaries(TEXTS | st.integers(0, 999), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
@settings(deadline=None)
def test_what_was_written_is_read(value: Any) -> None:
    """Every plain value comes back as it was."""
    assert php.loads(php.dumps(value)) == value


@given(st.binary(max_size=60) | st.text('asibdNOCRr:;{}"0123456789-.E', max_size=60))
@settings(deadline=None, max_examples=300)
def test_nothing_else_comes_out_than_a_value_or_unreadable(raw: bytes | str) -> None:
    """Whatever a visitor manages to store, it is a value or it is unreadable."""
    with suppress(php.Unreadable):
        php.loads(raw)


def test_reads_what_php_itself_wrote() -> None:
    """PHP serialises, we read; we serialise, PHP reads."""
    value = {
        "your-name": "Åse 🗝 O'Hara", "list": {0: "a", 1: "b"}, "empty": "", "n": None,
        "yes": True, "i": -5, "d": 2.5, "deep": {"x": {"y": {"z": "\"};"}}},
    }  # fmt: skip
    code = "echo serialize(json_decode(stream_get_contents(STDIN), true));"
    done = subprocess.run(
        [program("php"), "-r", code], input=json.dumps(value), capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert php.loads(done.stdout) == value
    back = "echo json_encode(unserialize(stream_get_contents(STDIN)));"
    done = subprocess.run(
        [program("php"), "-r", back], input=php.dumps({"a": "æ", "b": {5: "x"}}),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout) == {"a": "æ", "b": {"5": "x"}}


@pytest.mark.parametrize(
    "hostile",
    [
        'O:8:"stdClass":0:{}',
        'a:1:{i:0;O:8:"stdClass":0:{}}',
        'C:3:"Foo":0:{}',
        "a:2:{i:0;i:1;i:1;R:2;}",
        "a:1:{i:0;r:1;}",
        'S:1:"\\41";',
        's:3:"ab";',
        's:1:"ab";',
        's:2:"æ"',
        's:1:"æ";',
        's:99999999999:"a";',
        's:-1:"";',
        "a:1:{i:0;i:1;",
        "a:2:{i:0;i:1;}",
        "a:1:{i:0;i:1;}x",
        "a:1:{d:0.5;i:1;}",
        "a:1:{a:0:{}i:1;}",
        "a:2:{i:0;i:1;i:0;i:2;}",
        "a:999999999:{}",
        "i:1.5;",
        "b:2;",
        "i:" + "9" * 5000 + ";",
        "",
        "N",
        "a:1:{i:0;" * 200 + "N;" + "}" * 200,
        "a:1:{i:0;" * 100_000,
    ],
)
def test_anything_else_is_unreadable(hostile: str) -> None:
    """Objects, references, lengths that do not fit, duplicates, depth, rests: refused whole."""
    with pytest.raises(php.Unreadable):
        php.loads(hostile)


def test_too_large_is_unreadable() -> None:
    """A text beyond the limit is not even looked at."""
    with pytest.raises(php.Unreadable):
        php.loads(php.dumps("x" * (php.LARGEST + 1)))


def test_bytes_that_are_no_text_keep_their_place() -> None:
    """Lengths count bytes, whatever these are."""
    assert php.loads(b'a:1:{s:1:"\xff";s:1:"b";}') == {"\udcff": "b"}
