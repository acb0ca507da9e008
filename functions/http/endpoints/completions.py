"""``POST /v1/completions``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from functions.http.dispatch.completing import complete
from functions.http.routing import PostRoute
from shared.completion.dialects.text import TextDialect
from shared.protocol.openai.completions import CompletionRequest
from shared.runtime.state import ServerState

if TYPE_CHECKING:
    from functions.http.openapi.post_documentation import PostDocumentation


def routes(state: ServerState) -> list[PostRoute]:
    """The endpoint."""

    async def create_completion(request: Request) -> Response:
        """Continue a text."""
        return await complete(request, state, CompletionRequest, TextDialect, "text")

    return [PostRoute("/v1/completions", create_completion, _documented)]


def _documented() -> PostDocumentation:
    """What the OpenAPI document says of it."""
    from functions.http.openapi.post_documentation import PostDocumentation
    from shared.protocol import responses
    from shared.protocol.openai.chunks import TextCompletionChunk

    return PostDocumentation(
        tag="text",
        request=CompletionRequest,
        response=responses.Completion,
        chunk=TextCompletionChunk,
        stream_end="then `data: [DONE]`",
    )
