"""Stand-ins of the model that a completion's request names: who is asked, and in what order."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from functions.http.request_body import read_json
from shared.completion.upstreams.fallback import Candidate, FallbackResponse
from shared.runtime.request_context import request_context

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from functions.http.dispatch.upstream_completions import Respond
    from shared.runtime.state import ServerState


class Choose(Protocol):
    """What responds to a request with the JSON value ``data``; raises `APIError` 400.

    ``stand_in``: a model to ask in the place of the one that it names.
    """

    def __call__(self, data: Any, body: bytes, stand_in: str | None = None) -> Respond:
        """Choose."""


async def respond_to(
    request: Request, state: ServerState, choose: Choose, *, has_stand_ins: bool
) -> Response:
    """The response by the model that the body names, or by one of its stand-ins.

    Raises `APIError`.
    """
    sent = b""

    def read(data: Any, body: bytes) -> Respond:
        nonlocal sent
        sent = body
        return choose(data, body)

    respond = await read_json(request, state, read)
    if has_stand_ins and state.settings.stand_ins:
        data = request_context().body
        named = data.get("model") if isinstance(data, dict) else None
        name = named if isinstance(named, str) else state.settings.served_names[0]
        candidates = _candidates(state, name, respond, lambda other: choose(data, sent, other))
        if len(candidates) > 1:
            upstream = state.settings.upstreams.get(name)
            until = None if upstream is None else time.monotonic() + upstream.timeout
            return FallbackResponse(candidates, until)
    return await respond()


def _candidates(
    state: ServerState, name: str, respond: Respond, choose: Callable[[str], Respond]
) -> list[Candidate]:
    """Who is asked, in this order; ``respond`` is by the model ``name`` itself."""
    asked = Candidate(name, is_asked=True, respond=respond)
    stand_ins = state.settings.stand_ins.get(name)
    if stand_ins is None:
        return [asked]

    def stand_in(name: str) -> Candidate:
        async def respond() -> Response:
            chosen = await request_context().run(lambda: choose(name))
            return await chosen()

        return Candidate(name, is_asked=False, respond=respond)

    while_cold, own = stand_ins.while_cold, state.models.get(name)
    first = []
    if while_cold is not None and own is not None:
        may_use = _may_use(state, name) and _may_use(state, while_cold)
        first = [while_cold] if may_use and state.models.is_cold(own) else []
    others = [each for each in stand_ins.fallback if each not in first and _may_use(state, each)]
    return [*map(stand_in, first), asked, *map(stand_in, others)]


def _may_use(state: ServerState, name: str) -> bool:
    """Whether this process can ask a model for the caller."""
    own = state.models.get(name)
    if own is not None and not state.has_model:
        return False
    return request_context().caller.may_use((name,) if own is None else own.names)
