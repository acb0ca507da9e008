"""Handling of a completion's request that names an upstream's model.

Functions without a model have it, too: what a mode needs is imported when it is asked for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson

from functions.http.request_body import validated
from shared.runtime.request_context import request_context
from shared.upstreams.request import UpstreamRequest

if TYPE_CHECKING:
    from starlette.responses import Response

    from shared.runtime.state import ServerState
    from shared.upstreams.dialects.dialect import Endpoint

Respond = Callable[[], Awaitable["Response"]]

PATHS = {"chat": "/chat/completions", "text": "/completions"}


def load_modes(state: ServerState) -> None:
    """Import what the modes of upstreams take: the first request would wait 0.05 s for it."""
    if state.upstreams is None:
        return
    modes = {upstream.mode for upstream in state.settings.upstreams.values()}
    if "direct" in modes:
        import shared.completion.upstreams.direct_completion
    if "adapter" in modes:
        import shared.completion.upstreams.adapted_completion  # noqa: F401
        from shared.completion.upstreams.adapted_request import SCHEMAS
        from shared.upstreams.dialects.selection import dialect_of

        for name, upstream in state.settings.upstreams.items():
            dialect_of(name, upstream)  # imports it
        for schema in SCHEMAS.values():
            schema.model_rebuild()


def upstream_completion(
    state: ServerState, endpoint: Endpoint, data: Any, body: bytes, stand_in: str | None = None
) -> Respond | None:
    """What responds to a request with the JSON value ``data``; None where it names no upstream.

    ``stand_in``: a model to ask in the place of the one that it names. Raises `APIError` 400; what
    responds raises that, 403 and 429.
    """
    client = state.upstreams
    asked = UpstreamRequest.of(state.settings.upstreams, data, body, stand_in)
    request_context().left_out = ()
    if client is None or asked is None:
        return None
    asked = _untranslated(asked)
    data = asked.data
    if asked.upstream.mode == "adapter":
        from shared.completion.upstreams.adapted_completion import AdaptedCompletion
        from shared.completion.upstreams.adapted_request import SCHEMAS, VALIDATION_CONTEXT

        parsed = validated(SCHEMAS[endpoint], data, VALIDATION_CONTEXT)
        return lambda: AdaptedCompletion(state, client, asked, parsed).respond()
    from shared.completion.upstreams.direct_completion import DirectCompletion

    async def respond() -> Response:
        return DirectCompletion(state, client, asked, PATHS[endpoint])

    return respond


def _untranslated(asked: UpstreamRequest) -> UpstreamRequest:
    """The request without fields of another dialect's that only models here know.

    Raises `APIError` 400 where the answer would be another one without them.
    """
    context, upstream = request_context(), asked.upstream
    translated = context.translated
    if translated is None or not translated.own:
        return asked
    data, native, context.left_out = translated.for_upstream(asked.data, upstream.dialect)
    body = orjson.dumps({**data, "model": upstream.model or asked.name})
    return replace(asked, data=data, body=body, native=native)
