"""Deadline of a request: when generation must end so that its answer leaves in time.

Platforms that limit a request's time (AWS Lambda's timeout) lose an answer that is not done by
then. There the server has a `TimeLimit`, whose reader tells what the platform leaves; elsewhere
requests have no deadline.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Scope

_RESPONSE_SECONDS = 0.3
"""What storing leaves of the margin, for the answer's way to the platform."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """Moments on `time.monotonic`'s clock, in seconds.

    - ``end_of_generation``: when generation ends with what it has.
    - ``end_of_storing``: until when the answer may wait for the store.
    """

    end_of_generation: float
    end_of_storing: float


class TimeLimit:
    """Time limit of a platform on each request."""

    def __init__(self, remaining: Callable[[Scope], float | None], margin: float) -> None:
        """``remaining`` gives the seconds that the platform leaves, None for no limit.

        ``margin`` is in seconds. One step of the engine, formatting and storing must fit into it.
        """
        self._remaining = remaining
        self._margin = margin
        self._response = min(_RESPONSE_SECONDS, margin / 2)

    def deadline(self, scope: Scope) -> Deadline | None:
        """The deadline of a request that has just come in."""
        left = self._remaining(scope)
        if left is None:
            return None
        end = time.monotonic() + left
        return Deadline(end_of_generation=end - self._margin, end_of_storing=end - self._response)
