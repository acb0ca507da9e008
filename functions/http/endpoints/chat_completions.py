"""``POST /v1/chat/completions``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from functions.http.dispatch.completing import complete
from functions.http.routing import PostRoute
from shared.completion.dialects.chat import ChatDialect
from shared.protocol.openai.chat_completions import ChatCompletionRequest
from shared.runtime.state import ServerState

if TYPE_CHECKING:
    from functions.http.openapi.post_documentation import PostDocumentation

Handler = Callable[[Request], Awaitable[Response]]


def handler(state: ServerState) -> Handler:
    """What answers a request."""

    async def create_chat_completion(request: Request) -> Response:
        """Complete a conversation."""
        return await complete(request, state, ChatCompletionRequest, ChatDialect, "chat")

    return create_chat_completion


def routes(create_chat_completion: Handler) -> list[PostRoute]:
    """The endpoint, also under llama-server's other name of it."""
    return [
        PostRoute("/v1/chat/completions", create_chat_completion, _documented),
        PostRoute("/chat/completions", create_chat_completion),
    ]


def _documented() -> PostDocumentation:
    """What the OpenAPI document says of it."""
    from functions.http.openapi.post_documentation import PostDocumentation
    from shared.protocol.openai.chunks import ChatCompletionChunk
    from shared.protocol.responses import ChatCompletion

    return PostDocumentation(
        tag="chat",
        request=ChatCompletionRequest,
        response=ChatCompletion,
        chunk=ChatCompletionChunk,
        stream_end="then `data: [DONE]`",
    )
