"""Which connectors there are, and how to open a system through one.

To add a connector inside this repository, add one line to `BUILTIN`; outside it, register an
entry point of the group `retention.connectors`. Either way the thing registered is a module (or
object) with `manifest: Manifest` and `connect(opened: Opened) -> Connector`.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

from pydantic import BaseModel, ValidationError

from retention.connectors.base import Cap, Connector, Manifest, Opened
from retention.connectors.secrets import Resolve, resolve_secrets
from retention.connectors.wrap import Buckets, wrapped
from retention.errors import UsageError
from retention.policy.model import LocationModel, SystemModel

BUILTIN: Mapping[str, str] = {
    "files": "retention.connectors.files",
    "imap": "retention.connectors.imap",
    "maildir": "retention.connectors.maildir",
    "memory": "retention.connectors.memory",
    "s3": "retention.connectors.s3",
    "spreadsheet": "retention.connectors.spreadsheet",
    "sql": "retention.connectors.sql",
    "webdav": "retention.connectors.webdav",
}
"""Kind → module, imported when first used."""

EXTRAS: Mapping[str, str] = {
    "imap": "mail",
    "s3": "s3",
    "spreadsheet": "spreadsheet",
    "webdav": "webdav",
}
"""Kind → the extra that brings its libraries."""

GROUP = "retention.connectors"
Model = TypeVar("Model", bound=BaseModel)


@runtime_checkable
class Factory(Protocol):
    """What a connector module offers."""

    manifest: Manifest

    def connect(self, opened: Opened) -> Connector: ...


class Facts(NamedTuple):
    """What policy checks need to know of a kind, without opening anything.

    `broken` says why a registered kind cannot be used ("" where it can); the rest is then empty.
    """

    kind: str
    manifest: Manifest | None
    broken: str = ""

    @property
    def capabilities(self) -> Cap:
        """What the kind can do; nothing where it is broken."""
        return self.manifest.capabilities if self.manifest else Cap.NONE


def kinds() -> tuple[str, ...]:
    """Every registered kind, broken ones too, sorted."""
    return tuple(sorted({*BUILTIN, *_plugins()}))


def manifest(kind: str) -> Manifest:
    """A kind described as data. Raises UsageError where it is unknown or does not load."""
    return _factory(kind).manifest


def facts(used: Collection[str] | None = None) -> Mapping[str, Facts]:
    """Registered kinds with their manifests; what does not load is named with the reason.

    `used`: only these, so that a mailbox's library is not loaded for a database's sake; all of
    them where one of these does not exist, since a hint may name what was meant.
    """
    known = kinds()
    wanted = known if used is None or not set(used) <= set(known) else sorted(set(used))
    out: dict[str, Facts] = {}
    for kind in wanted:
        try:
            out[kind] = Facts(kind, manifest(kind))
        except UsageError as error:
            out[kind] = Facts(kind, None, error.message)
    return out


def broken() -> Mapping[str, str]:
    """Registered kinds that cannot be used, with the reason; for `doctor` and `validate`."""
    return {kind: fact.broken for kind, fact in facts().items() if fact.broken}


def system_settings(name: str, system: SystemModel) -> BaseModel:
    """The connector's settings of a system, checked; secrets not fetched. Raises UsageError."""
    model = manifest(system.connector).system_settings
    return _checked(model, system.settings, f"systems.{name}")


def location_settings(kind: str, name: str, location: LocationModel) -> BaseModel:
    """The connector's settings of a location (`cluster/location`), checked. Raises UsageError."""
    return _checked(manifest(kind).location_settings, location.settings, name)


def open_connector(
    name: str,
    system: SystemModel,
    base: str,
    resolve: Resolve,
    *,
    timezone: str = "UTC",
    extras: Mapping[str, Any] | None = None,
    bare: bool = False,
    buckets: Buckets | None = None,
) -> Connector:
    """One new session with a system, wrapped in redaction, the system's rate limit and retries.

    `base`: folder that relative paths start in. `timezone`: the organisation's zone, for dates
    that a system stores without one. `bare`: without the wrappers. `buckets`: rate limits that
    more than this process shares. Connects when first used, not here. Raises UsageError for
    unknown kinds and bad settings, CredentialsRefused for missing secrets.
    """
    factory = _factory(system.connector)
    said = _checked(factory.manifest.system_settings, system.settings, f"systems.{name}")
    # `said` and `resolve`: for secrets that another program replaces while a session lives.
    given = {"timezone": timezone, "said": said, "resolve": resolve, **(extras or {})}
    opened = Opened(name, resolve_secrets(said, resolve), base, given)
    connector = factory.connect(opened)
    return connector if bare else wrapped(connector, system=name, rate=system.rate, buckets=buckets)


def _checked(model: type[Model], values: Mapping[str, Any], place: str) -> Model:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        # Inputs may be secrets that were written out by mistake: only places and rules are told.
        found = error.errors(include_input=False, include_url=False, include_context=False)
        what = "; ".join(
            f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}".lstrip(": ") for e in found
        )
        raise UsageError(what, place=place, code="settings") from None


def _factory(kind: str) -> Factory:
    if path := BUILTIN.get(kind):
        return _builtin(kind, path)
    if (point := _plugins().get(kind)) is None:
        raise UsageError(
            f"there is no connector `{kind}`",
            hint=f"there are {', '.join(kinds())}",
            code="connector-unknown",
        )
    return _plugin(point)


def _builtin(kind: str, path: str) -> Factory:
    try:
        module: Any = importlib.import_module(path)
    except ImportError as error:
        extra = EXTRAS.get(kind)
        raise UsageError(
            f"the connector `{kind}` lacks the library {error.name or 'it needs'}",
            hint=f"install retention[{extra}]" if extra else "reinstall retention",
            code="connector-broken",
        ) from None
    return _as_factory(kind, module)


@cache
def _plugin(point: EntryPoint) -> Factory:
    try:
        loaded = point.load()
    except Exception as error:  # noqa: BLE001 -- third-party code may fail in any way; it is named, not fatal
        raise UsageError(
            f"the connector `{point.name}` of {_origin(point)} does not load "
            f"({type(error).__name__})",
            hint="update or remove that package; policies that use it cannot run",
            code="connector-broken",
        ) from None
    return _as_factory(point.name, loaded)


def _as_factory(kind: str, thing: Any) -> Factory:
    if not (
        isinstance(getattr(thing, "manifest", None), Manifest)
        and callable(getattr(thing, "connect", None))
    ):
        raise UsageError(
            f"the connector `{kind}` offers no `manifest` and `connect`",
            hint="see docs/how-to/write-a-connector.md",
            code="connector-broken",
        )
    factory: Factory = thing
    return factory


@cache
def _plugins() -> Mapping[str, EntryPoint]:
    """Third-party kinds. A built-in kind is never replaced by a package that takes its name."""
    return {p.name: p for p in entry_points(group=GROUP) if p.name not in BUILTIN}


def _origin(point: EntryPoint) -> str:
    return point.dist.name if point.dist else point.module


def forget() -> None:
    """Look for plugins again; for tests that install one."""
    _plugins.cache_clear()
    _plugin.cache_clear()
