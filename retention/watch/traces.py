"""Traces over OpenTelemetry, where `retention[traces]` is installed and an endpoint is set.

Otherwise every call here does nothing and nothing is imported. Attributes are names and numbers:
of an exception the class, of a record nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Protocol

from retention.errors import UsageError

PREFIX = "retention."


class Span(Protocol):
    """Something that takes a while, and facts about it."""

    def set(self, **facts: Any) -> None:
        """Add facts: text, numbers, or a mapping of names to numbers."""


class _Nothing:
    def set(self, **facts: Any) -> None:
        """Where nobody traces."""


class _Active:
    def __init__(self, span: Any) -> None:
        self._span = span

    def set(self, **facts: Any) -> None:
        self._span.set_attributes(_attributes(facts))


_NOTHING = _Nothing()


class _Tracing:
    """What this process traces with; both None until `start`."""

    provider: Any = None
    tracer: Any = None


def start(endpoint: str | None, role: str) -> None:
    """Begin to trace this process; nothing where no endpoint is set.

    After a fork, in the child: the thread that exports does not survive one. Raises UsageError
    where the packages are missing.
    """
    if endpoint is None or _Tracing.tracer is not None:
        return
    from retention import __version__

    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise UsageError(
            "otlp_endpoint is set, but OpenTelemetry is not installed",
            hint="pip install 'retention[traces]', or unset it",
            code="setting",
        ) from None
    about = {
        "service.name": "retention",
        "service.version": __version__,
        "retention.role": role,
    }
    provider = TracerProvider(resource=Resource.create(about), shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=5)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    _Tracing.provider, _Tracing.tracer = provider, provider.get_tracer("retention", __version__)


def stop(patience: float = 3.0) -> None:
    """Send what is left, for at most so many seconds, and trace no more."""
    provider, _Tracing.provider, _Tracing.tracer = _Tracing.provider, None, None
    if provider is not None:
        provider.force_flush(int(patience * 1000))
        provider.shutdown()


@contextmanager
def span(name: str, **facts: Any) -> Iterator[Span]:
    """Trace what happens inside: `with span("tick"): …`. Spans inside one another nest."""
    if _Tracing.tracer is None:
        yield _NOTHING
        return
    with _Tracing.tracer.start_as_current_span(
        name,
        attributes=_attributes(facts),
        # Both would write the exception's text into the span.
        record_exception=False,
        set_status_on_exception=False,
    ) as active:
        try:
            yield _Active(active)
        except BaseException as error:
            active.set_attribute("error.type", type(error).__name__)
            raise


def record(name: str, began: datetime, ended: datetime, **facts: Any) -> None:
    """A span that is over already, inside the one that is open."""
    if _Tracing.tracer is not None:
        done = _Tracing.tracer.start_span(
            name, attributes=_attributes(facts), start_time=_nanoseconds(began)
        )
        done.end(_nanoseconds(ended))


def _attributes(facts: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in facts.items():
        if isinstance(value, Mapping):
            found |= {f"{PREFIX}{name}.{key}": number for key, number in value.items()}
        else:
            found[f"{PREFIX}{name}"] = (
                value if isinstance(value, bool | int | float) else str(value)
            )
    return found


def _nanoseconds(at: datetime) -> int:
    return int(at.timestamp() * 1_000) * 1_000_000
