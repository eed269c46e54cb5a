"""Keys and URLs: every name has a key of its own, and no key leads out of the tree."""

from __future__ import annotations

from urllib.parse import quote_from_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retention.connectors.webdav.tree import Tree, joined, split_key, steps_of
from retention.errors import PermanentFailure

TREE = Tree("https://cloud.example.org/remote.php/dav/files/anna%20b", "cloud")
NAMES = st.binary(min_size=1, max_size=12).filter(lambda n: n not in (b".", b".."))


@settings(deadline=None)
@given(st.lists(NAMES, min_size=1, max_size=4))
def test_a_key_leads_back_to_the_very_bytes(names: list[bytes]) -> None:
    """Whatever bytes a server's names are made of, the key asks for the same ones again."""
    path = "/".join(quote_from_bytes(name, safe="") for name in names)
    key = TREE.key(f"/remote.php/dav/files/anna%20b/{path}", TREE.root)
    again = TREE.url(key)
    assert TREE.key(again, TREE.root) == key
    assert again.removeprefix(TREE.root + "/").split("/") == path.split("/")
    rebuilt = ""
    for step in steps_of(key):
        rebuilt = joined(rebuilt, step)
    assert rebuilt == key
    assert joined(*split_key(key)) == key


@settings(deadline=None)
@given(st.lists(NAMES, min_size=1, max_size=3), st.lists(NAMES, min_size=1, max_size=3))
def test_two_files_never_share_a_key(one: list[bytes], other: list[bytes]) -> None:
    """Different bytes, different keys."""
    keys = [
        TREE.key("/".join((TREE.root, *(quote_from_bytes(n, safe="") for n in names))), TREE.root)
        for names in (one, other)
    ]
    assert (keys[0] == keys[1]) == (one == other)


@pytest.mark.parametrize(
    "href",
    [
        "https://elsewhere.example.org/remote.php/dav/files/anna%20b/a",
        "//elsewhere.example.org/remote.php/dav/files/anna%20b/a",
        "/remote.php/dav/files/anna%20b/../bob/a",
        "/remote.php/dav/files/anna%20b/%2e%2e/bob/a",
        "/remote.php/dav/files/anna%20b//a",
        "/remote.php/dav/files/anna%20bc/a",
        "/remote.php/dav/files/bob/a",
        "/remote.php/dav/files/anna%20b/a?x=1",
        "http://[",
    ],
)
def test_an_href_that_leads_elsewhere_is_refused(href: str) -> None:
    """A server cannot point us to another host, another account or upwards."""
    with pytest.raises(PermanentFailure):
        TREE.key(href, TREE.root)


def test_hrefs_come_in_three_forms() -> None:
    """Absolute, from the root, and relative to what was asked for."""
    for href in (
        "http://cloud.example.org:8080/remote.php/dav/files/anna%20b/x/%C3%A9",
        "/remote.php/dav/files/anna%20b/x/é".encode().decode(),
        "%C3%A9",
    ):
        assert TREE.key(href, f"{TREE.root}/x/") == "x/é"


@pytest.mark.parametrize(
    "key", ["..", "a/../b", ".", "a//", "/..", "//", "/%2E%2E", "a\0", "\ud800"]
)
def test_a_key_that_is_none_is_refused(key: str) -> None:
    """A key from elsewhere cannot make a request outside of the tree."""
    with pytest.raises(PermanentFailure):
        TREE.url(key)
