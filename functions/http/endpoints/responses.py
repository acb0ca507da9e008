"""``/v1/responses``: OpenAI's Responses API, on top of chat completions and their store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from starlette.responses import Response

from functions.http.dispatch.background import (
    background_of,
    begin_in_background,
    event_response,
)
from functions.http.dispatch.translation import read_as, translated_response
from functions.http.endpoints.earlier_responses import (
    earlier_of,
)
from functions.http.routing import PostRoute
from shared.protocol.openai.responses.chat_request import chat_request
from shared.protocol.openai.responses.objects import (
    ResponseEvent,
    ResponseObject,
)
from shared.protocol.openai.responses.requests import (
    ResponsesRequest,
)
from shared.protocol.openai.responses.stream import StreamedAnswer

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp

    from functions.http.openapi.post_documentation import PostDocumentation
    from shared.runtime.state import ServerState

_PATH = "/v1/responses"


def route(
    state: ServerState,
    create_chat_completion: Callable[[Request], Awaitable[ASGIApp]],
    documentation: Callable[[], PostDocumentation] | None = None,
) -> PostRoute:
    """The endpoint, on top of what answers requests for chat completions."""

    async def create_response(request: Request) -> Response:
        """Answer in the dialect of OpenAI's Responses API."""
        asked = await read_as(request, state, ResponsesRequest)
        earlier = await earlier_of(state, asked)
        background = background_of(state, asked) if asked.background else None

        def translate() -> StreamedAnswer:
            told = chat_request(asked, earlier, stores=state.settings.responses_store)
            return StreamedAnswer(asked, told)

        if background is None:
            return await translated_response(request, translate, create_chat_completion)
        begun = await begin_in_background(
            request, state, background, translate, create_chat_completion
        )
        if begun.is_streamed:
            return event_response(begun)
        return Response(begun.queued, media_type="application/json")

    return PostRoute(_PATH, create_response, documentation)


def documented() -> PostDocumentation:
    """What the OpenAPI document says of it."""
    from functions.http.openapi.post_documentation import PostDocumentation

    return PostDocumentation(
        tag="responses",
        request=ResponsesRequest,
        response=ResponseObject,
        chunk=ResponseEvent,
        stream_end="of which the last one is `response.completed`, `.incomplete` or `.failed`",
    )
