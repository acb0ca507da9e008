"""Handling of a request for a completion: by the model here, or by an upstream that it names."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from functions.http.request_body import parse_body, read_json, validated
from shared.completion.client_disconnect import unless_disconnected
from shared.completion.completion import Completion
from shared.completion.upstream_completion import UpstreamCompletion
from shared.upstreams.request import UpstreamRequest

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from shared.completion.dialect import Dialect, RequestT
    from shared.runtime.state import ServerState


async def complete(
    request: Request,
    state: ServerState,
    schema: type[RequestT],
    dialect: type[Dialect[RequestT]],
    upstream_path: str | None = None,
) -> Response:
    """The response. Upstreams have the endpoint at ``upstream_path``; None where they have none.

    Raises `APIError`.
    """
    has_upstreams = state.upstreams is not None and upstream_path is not None
    if not has_upstreams and len(state.models) == 1:
        served = state.model()
        parsed = await parse_body(request, schema, state)
        return await Completion(state, served, parsed, dialect).respond(request.receive)
    # Only the body tells, and upstreams are there while the model here loads.
    upstreams = state.settings.upstreams if has_upstreams else {}

    def choose(data: Any, body: bytes) -> UpstreamRequest | RequestT:
        return UpstreamRequest.of(upstreams, data, body) or validated(schema, data)

    chosen = await read_json(request, state, choose)
    if isinstance(chosen, UpstreamRequest):
        assert state.upstreams is not None
        assert upstream_path is not None
        return UpstreamCompletion(state, state.upstreams, chosen, upstream_path)
    loading = asyncio.ensure_future(state.use_model(chosen.model))
    served = await unless_disconnected(request.receive, loading)
    return await Completion(state, served, chosen, dialect).respond(request.receive)
