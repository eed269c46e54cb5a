"""Keys and URLs of one tree of folders on a server, and the way between them and back.

A key is the decoded path below the tree's root. A name that is no plain text (not UTF-8, with a
NUL or an encoded slash) keeps its percent-encoded spelling, behind an empty step, which no other
key has: `scans//caf%E9.pdf`. So two files never share a key, and a key never leads elsewhere.
"""

from __future__ import annotations

from urllib.parse import quote, quote_from_bytes, unquote_to_bytes, urljoin, urlsplit

from retention.errors import PermanentFailure

_NO_STEPS = (b"", b".", b"..")


class Tree:
    """One root URL. `place`: the system's name, for errors."""

    def __init__(self, url: str, place: str) -> None:
        split = urlsplit(url)
        self.place = place
        self.root = url.rstrip("/")
        self._host = split.hostname
        self._base = [unquote_to_bytes(step) for step in split.path.split("/") if step]

    def url(self, key: str, *, folder: bool = False) -> str:
        """Where a key lies. Raises PermanentFailure for what is no key of ours."""
        path = "".join(f"/{step}" for step in self._encoded(key))
        return f"{self.root}{path}{'/' if folder or not path else ''}"

    def _encoded(self, key: str) -> list[str]:
        if not key:
            return []
        out: list[str] = []
        raw = False
        for step in key.split("/"):
            if raw:
                spelled = unquote_to_bytes(step)
                if quote_from_bytes(spelled, safe="") != step or spelled in _NO_STEPS:
                    raise self._bad_key()
                out.append(step)
                raw = False
            elif step == "":
                raw = True
            elif step in (".", "..") or "\0" in step:
                raise self._bad_key()
            else:
                out.append(_quoted(step))
        if raw:
            raise self._bad_key()
        return out

    def key(self, href: str, asked: str) -> str:
        """The key that an href in an answer names; "" is the root. `asked`: the request's URL.

        Raises PermanentFailure for an href that leads to another host or out of the tree.
        """
        try:
            split = urlsplit(href.strip())
            host = split.hostname
            path = split.path if split.path.startswith("/") else urlsplit(urljoin(asked, href)).path
        except ValueError:
            raise self._bad_href() from None
        if (host is not None and host != self._host) or split.query:
            raise self._bad_href()
        steps = [unquote_to_bytes(step) for step in path.lstrip("/").split("/")]
        if steps and steps[-1] == b"":
            steps.pop()
        mine = len(self._base)
        if steps[:mine] != self._base or any(step in _NO_STEPS for step in steps[mine:]):
            raise self._bad_href()
        return "/".join(_spelled(step) for step in steps[mine:])

    def _bad_key(self) -> PermanentFailure:
        return PermanentFailure(
            "a key is none of this connector's", place=self.place, code="bad_key"
        )

    def _bad_href(self) -> PermanentFailure:
        return PermanentFailure(
            "the server named a file outside of the folder that was asked for",
            hint="check `url`: it must be the address under which the server knows the folder",
            place=self.place,
            code="foreign_href",
        )


def _quoted(step: str) -> str:
    try:
        return quote(step, safe="")
    except UnicodeEncodeError:
        raise PermanentFailure("a key is none of this connector's", code="bad_key") from None


def _spelled(step: bytes) -> str:
    """One step of a key; two steps, the first of them empty, where it is no plain text."""
    try:
        text = step.decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    if text and "/" not in text and "\0" not in text:
        return text
    return "/" + quote_from_bytes(step, safe="")


def split_key(key: str) -> tuple[str, str]:
    """(folder's key, the name's spelling in the key)."""
    head, _, name = key.rpartition("/")
    if head.endswith("/") or (head == "" and key.startswith("/")):
        # An empty step: the name is the percent-encoded spelling behind it.
        return head[:-1] if head.endswith("/") else "", f"/{name}"
    return head, name


def joined(folder: str, name: str) -> str:
    """The key of a name in a folder."""
    return f"{folder}/{name}" if folder else name


def steps_of(key: str) -> tuple[str, ...]:
    """A key as steps; a raw one keeps its leading slash, so that joining them gives the key."""
    out: list[str] = []
    while key:
        key, name = split_key(key)
        out.append(name)
    return tuple(reversed(out))
