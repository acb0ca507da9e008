"""Handling of a request for a completion: by the model here, or by an upstream that it names."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from functions.http.dispatch.stand_ins import respond_to
from functions.http.dispatch.upstream_completions import Respond, upstream_completion
from functions.http.request_body import parse_body, validated
from shared.completion.client_disconnect import unless_disconnected
from shared.completion.completion import Completion

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from shared.completion.dialect import Dialect, RequestT
    from shared.runtime.state import ServerState
    from shared.upstreams.dialects.dialect import Endpoint


async def complete(
    request: Request,
    state: ServerState,
    schema: type[RequestT],
    dialect: type[Dialect[RequestT]],
    endpoint: Endpoint | None = None,
) -> Response:
    """The response. ``endpoint``: the one that upstreams have for it; None where they have none.

    Raises `APIError`.
    """
    has_upstreams = state.upstreams is not None and endpoint is not None
    if not has_upstreams and len(state.models) == 1:
        served = await state.use_model(None)
        parsed = await parse_body(request, schema, state)
        return await Completion(state, served, parsed, dialect).respond(request.receive)
    # Only the body tells, and upstreams are there while the model here loads.

    def choose(data: Any, body: bytes, stand_in: str | None = None) -> Respond:
        respond = None
        if endpoint is not None:
            respond = upstream_completion(state, endpoint, data, body, stand_in)
        return respond or respond_here(validated(schema, data), stand_in)

    def respond_here(asked: RequestT, stand_in: str | None) -> Respond:
        if stand_in is not None:
            asked = asked.model_copy(update={"model": stand_in})

        async def respond() -> Response:
            loading = asyncio.ensure_future(state.use_model(asked.model))
            served = await unless_disconnected(request.receive, loading)
            return await Completion(state, served, asked, dialect).respond(request.receive)

        return respond

    return await respond_to(request, state, choose, has_stand_ins=endpoint is not None)
