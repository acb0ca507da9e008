"""``POST /v1/chat/completions``."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from functions.http.dispatch.completing import complete
from functions.http.openapi.post_documentation import PostDocumentation
from functions.http.routing import PostRoute
from shared.completion.dialects.chat import ChatDialect
from shared.protocol.openai.chat_completions import ChatCompletionRequest
from shared.protocol.openai.chunks import ChatCompletionChunk
from shared.protocol.responses import ChatCompletion
from shared.runtime.state import ServerState

_DOCUMENTATION = PostDocumentation(
    tag="chat",
    request=ChatCompletionRequest,
    response=ChatCompletion,
    chunk=ChatCompletionChunk,
    stream_end="then `data: [DONE]`",
)


def routes(state: ServerState) -> list[PostRoute]:
    """The endpoint, also under llama-server's other name of it."""

    async def create_chat_completion(request: Request) -> Response:
        """Complete a conversation."""
        return await complete(request, state, ChatCompletionRequest, ChatDialect, "chat")

    return [
        PostRoute("/v1/chat/completions", create_chat_completion, _DOCUMENTATION),
        PostRoute("/chat/completions", create_chat_completion),
    ]
