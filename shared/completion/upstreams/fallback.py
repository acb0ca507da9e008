"""Fallback of completions: other models answer where the one that was asked for fails.

Only before the first byte, within one deadline for all tries, and never for what is the caller's
mistake. A model that is being loaded counts as failing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.responses import Response

from shared.protocol.errors import APIError
from shared.runtime.request_context import request_context
from shared.upstreams.errors import SERVED_BY

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

_log = logging.getLogger("pilotlight.upstreams")

_OF_UPSTREAMS = (401, 402, 408, 429)
"""Statuses below 500 that are none of the caller's mistakes: its request is fine, this server's key
or what is left of the account there is not."""
_OF_KEYS = ("upstream_authentication_failed", "upstream_key_unavailable")
_SERVED_HERE = (SERVED_BY.encode(), b"pilotlight")
_OF_OWN_MODELS = ("model_loading", "model_unavailable", "overloaded", "engine_stalled")
"""Codes and types."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that may answer. ``respond`` gives its response, or raises `APIError`."""

    name: str
    is_asked: bool
    """Whether the request names it; else it stands in."""
    respond: Callable[[], Awaitable[Response]]


class FallbackResponse(Response):
    """Response of the first of several models that gives one."""

    def __init__(self, candidates: Sequence[Candidate], until: float | None) -> None:
        """``until``: when tries end, on `time.monotonic`'s clock."""
        self.background = None
        self.status_code = 200
        self._candidates = candidates
        self._until = until
        self._is_started = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; raises the `APIError` of the model that was asked for where none can."""

        async def noted(message: Message) -> None:
            self._is_started = True
            if message["type"] == "http.response.start" and context.served_by is None:
                message["headers"] = [*message["headers"], _SERVED_HERE]
            await send(message)

        told: APIError | None = None
        is_tried = False
        context = request_context()
        context.end_by = self._until
        for position, candidate in enumerate(self._candidates):
            context.begin_by = self._share(len(self._candidates) - position)
            context.served_by = None
            try:
                response = await candidate.respond()
                await response(scope, receive, noted)
            except APIError as error:
                if self._is_started:
                    raise
                is_tried |= candidate.is_asked
                told = error if candidate.is_asked else told or error
                # What a stand-in refuses says nothing of the model that is still to be asked.
                if not is_for_another(error) and (is_tried or not _is_refusal(error)):
                    raise told from None
                _log.warning("model %s does not answer (%s)", candidate.name, error.code)
                if self._until is not None and time.monotonic() >= self._until:
                    break
            else:
                return
        assert told is not None
        raise told

    def _share(self, n_left: int) -> float | None:
        """When a try has to have brought the first byte, that others have time, too."""
        if self._until is None:
            return None
        now = time.monotonic()
        return now + (self._until - now) / n_left


def _is_refusal(error: APIError) -> bool:
    """Whether it is a model's that can't do what is asked, and not this server's."""
    return error.type == "upstream_error" or error.status in (400, 404, 413, 422)


def is_for_another(error: APIError) -> bool:
    """Whether another model may do better."""
    if error.code in _OF_KEYS:
        return True
    if error.type == "upstream_error":
        return error.status >= 500 or error.status in _OF_UPSTREAMS
    return error.type in _OF_OWN_MODELS or error.code in _OF_OWN_MODELS
