"""Token counting of prompts: ``input_tokens`` of chats and responses, ``count_tokens`` of messages.

Of models here: upstreams are not asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import orjson
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from functions.http.dispatch.translation import read_as, with_body
from functions.http.endpoints.earlier_responses import earlier_of
from functions.http.endpoints.tokens import model_and_body
from functions.http.openapi.post_documentation import PostDocumentation
from functions.http.routing import PostRoute
from shared.completion.chat_prompt import chat_prompt
from shared.completion.headers import ignored_header
from shared.completion.tokens import prompt_tokens
from shared.completion.validation import validated
from shared.protocol.anthropic import chat_request as messages
from shared.protocol.anthropic.requests import CountRequest, MessagesRequest
from shared.protocol.anthropic.responses import TokenCount
from shared.protocol.errors import APIError
from shared.protocol.openai.chat_completions import ChatCompletionRequest
from shared.protocol.openai.responses import chat_request as responses
from shared.protocol.openai.responses.objects import CountedTokens
from shared.protocol.openai.responses.requests import PromptRequest, ResponsesRequest
from shared.protocol.strict import Strict
from shared.protocol.translated_request import TranslatedRequest
from shared.runtime.request_context import request_context
from shared.runtime.state import ServerState


def routes(state: ServerState) -> list[PostRoute]:
    """The endpoints."""

    async def count_chat_tokens(request: Request) -> Response:
        """Count the tokens of the prompt that a chat completion would have."""
        return await _counted(request, state, object="chat.completion.input_tokens")

    async def count_response_tokens(request: Request) -> Response:
        """Count the tokens of the prompt that a response would have."""
        asked = await read_as(request, state, PromptRequest)
        earlier = await earlier_of(state, asked)

        def translate() -> TranslatedRequest:
            return responses.prompt_request(asked, earlier)

        unknown = _unknown_fields(asked, ResponsesRequest)
        return await _translated(request, state, translate, unknown, object="response.input_tokens")

    async def count_message_tokens(request: Request) -> Response:
        """Count the tokens of the prompt that a message would have."""
        asked = await read_as(request, state, CountRequest)
        unknown = _unknown_fields(asked, MessagesRequest)
        return await _translated(request, state, lambda: messages.prompt_request(asked), unknown)

    return [
        PostRoute(
            "/v1/chat/completions/input_tokens",
            count_chat_tokens,
            partial(_documented, "chat", ChatCompletionRequest, CountedTokens),
        ),
        PostRoute(
            "/v1/responses/input_tokens",
            count_response_tokens,
            partial(_documented, "responses", PromptRequest, CountedTokens),
        ),
        PostRoute(
            "/v1/messages/count_tokens",
            count_message_tokens,
            partial(_documented, "messages", CountRequest, TokenCount),
        ),
    ]


def _documented(tag: str, request: type[BaseModel], response: type[BaseModel]) -> PostDocumentation:
    return PostDocumentation(
        tag=tag, request=request, response=response, errors=(400, 401, 404, 413, 503)
    )


def _unknown_fields(asked: Strict, whole: type[Strict]) -> list[str]:
    """Fields of the body that a request for an answer, of the schema ``whole``, has not either."""
    known = {**whole.attributes(), **ChatCompletionRequest.attributes()}
    return sorted(name for name in asked.model_extra or () if name not in known)


async def _translated(
    request: Request,
    state: ServerState,
    translate: Callable[[], TranslatedRequest],
    unknown: Sequence[str],
    **extra: str,
) -> Response:
    translated = await request_context().run(translate)
    ignored = [*unknown, *translated.ignored]
    try:
        return await _counted(await with_body(request, translated), state, ignored, **extra)
    except APIError as error:
        raise translated.renamed(error) from None


async def _counted(
    request: Request, state: ServerState, ignored: Sequence[str] = (), **extra: str
) -> Response:
    """The tokens of a chat completion's prompt."""
    served, sent = await model_and_body(request, state, ChatCompletionRequest)
    context = request_context()
    parsed = validated(sent, state, served, context.caller)
    _, prompt = await chat_prompt(context, parsed, served, state.settings.max_content_size)
    tokens = await prompt_tokens(served, prompt)
    headers = ignored_header([*parsed.ignored_params, *ignored])
    body = orjson.dumps({**extra, "input_tokens": len(tokens)})
    return Response(body, media_type="application/json", headers=headers)
