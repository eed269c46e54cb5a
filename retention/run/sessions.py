"""Sessions with systems during one run, and the targets that locations become."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from pydantic import BaseModel

from retention.connectors.base import Bound, Condition, Connector, Op, Target
from retention.connectors.registry import location_settings
from retention.policy.model import Bundle
from retention.run.context import Context


class Sessions:
    """Opens each system once for acting and once for looking; closes all at the end."""

    def __init__(self, ctx: Context, bundle: Bundle) -> None:
        self._ctx = ctx
        self.bundle = bundle
        self._acting: dict[str, Connector] = {}
        self._looking: dict[str, Connector] = {}

    def acting(self, system: str) -> Connector:
        """The session that discovers and acts."""
        if system not in self._acting:
            self._acting[system] = self._ctx.open(self.bundle, system)
        return self._acting[system]

    def looking(self, system: str) -> Connector:
        """Another session, that never acts: verification must not trust the one that did."""
        if system not in self._looking:
            self._looking[system] = self._ctx.open(self.bundle, system)
        return self._looking[system]

    def drop(self, system: str) -> None:
        """Close both sessions with a system, after a failure; the next use opens new ones."""
        for book in (self._acting, self._looking):
            if session := book.pop(system, None):
                session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for system in (*self._acting, *self._looking):
            self.drop(system)


def settings_of(bundle: Bundle, location: str) -> BaseModel:
    """A location's settings as its connector's model. Raises UsageError."""
    model = bundle.location(location)
    return location_settings(bundle.systems[model.system].connector, location, model)


def target(
    bundle: Bundle,
    location: str,
    *,
    dates: tuple[str, ...] = (),
    fields: tuple[str, ...] = (),
    where: tuple[tuple[str, str, object], ...] = (),
    bounds: tuple[Bound, ...] = (),
    span: str | None = None,
) -> Target:
    """A location as its connector sees it."""
    return Target(
        name=location,
        settings=settings_of(bundle, location),
        dates=dates,
        fields=fields,
        where=tuple(Condition(source, Op(op), value) for source, op, value in where),
        bounds=bounds,
        span=span,
    )
