"""``POST /v1/messages``: Anthropic's Messages API, on top of chat completions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from functions.http.dispatch.translation import (
    TranslatedResponse,
    read_as,
    translated_request,
)
from functions.http.routing import PostRoute
from shared.protocol.anthropic.chat_request import chat_request
from shared.protocol.anthropic.messages import MessageAnswer
from shared.protocol.anthropic.requests import MessagesRequest
from shared.runtime.request_context import request_context

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp

    from functions.http.openapi.post_documentation import PostDocumentation
    from shared.runtime.state import ServerState


def route(
    state: ServerState,
    create_chat_completion: Callable[[Request], Awaitable[ASGIApp]],
    documentation: PostDocumentation | None = None,
) -> PostRoute:
    """The endpoint, on top of what answers requests for chat completions."""

    async def create_message(request: Request) -> TranslatedResponse:
        """Answer a conversation in the dialect of Anthropic's Messages API."""
        asked = await read_as(request, state, MessagesRequest)
        translated = await translated_request(request, lambda: chat_request(asked))
        context = request_context()
        answer = MessageAnswer(lambda: context.stop, lambda: context.prompt_tokens)
        return TranslatedResponse(await create_chat_completion(translated), answer)

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
