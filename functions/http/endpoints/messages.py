"""``POST /v1/messages``: Anthropic's Messages API, on top of chat completions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from functions.http.dispatch.translation import read_as, translated_response
from functions.http.routing import PostRoute
from shared.protocol.anthropic.chat_request import chat_request
from shared.protocol.anthropic.messages import MessageAnswer
from shared.protocol.anthropic.requests import MessagesRequest
from shared.runtime.request_context import request_context

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp

    from functions.http.openapi.post_documentation import PostDocumentation
    from shared.runtime.state import ServerState


def route(
    state: ServerState,
    create_chat_completion: Callable[[Request], Awaitable[ASGIApp]],
    documentation: Callable[[], PostDocumentation] | None = None,
) -> PostRoute:
    """The endpoint, on top of what answers requests for chat completions."""

    async def create_message(request: Request) -> Response:
        """Answer a conversation in the dialect of Anthropic's Messages API."""
        asked = await read_as(request, state, MessagesRequest)
        context = request_context()

        def translate() -> MessageAnswer:
            told = chat_request(asked)
            return MessageAnswer(told, lambda: context.stop, lambda: context.prompt_tokens)

        return await translated_response(request, translate, create_chat_completion)

    return PostRoute("/v1/messages", create_message, documentation)


def documented() -> PostDocumentation:
    """What the OpenAPI document says of it."""
    from functions.http.openapi.post_documentation import PostDocumentation
    from shared.protocol.anthropic.responses import MessageEvent, MessageResponse

    return PostDocumentation(
        tag="messages",
        request=MessagesRequest,
        response=MessageResponse,
        chunk=MessageEvent,
        stream_end="of which the last one is `message_stop`",
    )
