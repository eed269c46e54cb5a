"""Systems whose records are one piece: a message, a file, an object. None of it is overwritten."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from retention.connectors.base import Outcome, Ref, Scalar, Target
from retention.errors import PermanentFailure


class Unmasked:
    """The answer of such a system's session to `mask`."""

    _system: str

    def mask(
        self,
        target: Target,  # noqa: ARG002 -- the protocol's signature
        refs: Sequence[Ref],  # noqa: ARG002 -- likewise
        values: Mapping[str, Scalar],  # noqa: ARG002 -- likewise
    ) -> Iterator[Outcome]:
        """Raises PermanentFailure."""
        raise PermanentFailure(
            "records of this kind cannot be masked",
            hint="use `delete`",
            place=self._system,
            code="unsupported",
        )
