"""``POST /completion`` and ``/completions``: the dialect of llama.cpp's server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from functions.http.dispatch.completing import complete
from functions.http.routing import PostRoute
from shared.completion.dialects.llama_cpp import LlamaCppDialect
from shared.protocol.llama_cpp.requests import LlamaCppRequest
from shared.runtime.state import ServerState

if TYPE_CHECKING:
    from functions.http.openapi.post_documentation import PostDocumentation


def routes(state: ServerState) -> list[PostRoute]:
    """The endpoint, under both of its names."""

    async def create_completion(request: Request) -> Response:
        """Continue a text in the dialect of llama.cpp's server (also `POST /completions`)."""
        return await complete(request, state, LlamaCppRequest, LlamaCppDialect)

    return [
        PostRoute("/completion", create_completion, _documented),
        PostRoute("/completions", create_completion),
    ]


def _documented() -> PostDocumentation:
    """What the OpenAPI document says of it."""
    from functions.http.openapi.post_documentation import PostDocumentation
    from shared.protocol.llama_cpp.responses import LlamaCppChunk, LlamaCppCompletion

    return PostDocumentation(
        tag="llama.cpp",
        request=LlamaCppRequest,
        response=LlamaCppCompletion,
        chunk=LlamaCppChunk | LlamaCppCompletion,
        stream_end="of which the last one has `stop: true`",
    )
