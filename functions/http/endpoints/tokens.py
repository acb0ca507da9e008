"""``POST /tokenize``, ``/detokenize`` and ``/apply-template``, as llama.cpp's server has them.

Not FastAPI's routes: it would validate a prompt of megabytes on the event loop.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import orjson
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from functions.http.request_body import parse_body
from functions.http.routing import PostRoute
from shared.completion.chat_prompt import chat_prompt
from shared.completion.headers import ignored_header
from shared.completion.tokens import (
    check_size,
    check_token_ids,
    detokenize,
    mixed_tokens,
    run_tokenizing,
)
from shared.completion.validation import validated
from shared.protocol.fields import RequestBody
from shared.protocol.llama_cpp.requests import DetokenizeRequest, TokenizeRequest
from shared.protocol.llama_cpp.responses import DetokenizedText, RenderedPrompt, Tokens
from shared.protocol.openai.chat_completions import ChatCompletionRequest
from shared.runtime.request_context import request_context
from shared.runtime.served_model import ServedModel
from shared.runtime.state import ServerState

if TYPE_CHECKING:
    from functions.http.openapi.post_documentation import PostDocumentation

BodyT = TypeVar("BodyT", TokenizeRequest, DetokenizeRequest, ChatCompletionRequest)


def routes(state: ServerState) -> list[PostRoute]:
    """The endpoints."""

    async def tokenize_text(request: Request) -> Response:
        """Turn a text into tokens."""
        served, parsed = await model_and_body(request, state, TokenizeRequest)
        limit = state.settings.max_content_size
        work = partial(_tokenized, parsed, served, limit)
        if parsed.with_pieces:  # which take ten times as long as their tokens: 12 ms for 5,000
            body = await request_context().on_thread(work)
        else:
            body = await run_tokenizing(work, lambda: _parts(parsed))
        return _response(body, parsed)

    async def detokenize_tokens(request: Request) -> Response:
        """Turn tokens into their text."""
        served, parsed = await model_and_body(request, state, DetokenizeRequest)
        body = await request_context().run(partial(_detokenized, parsed, served))
        return _response(body, parsed)

    async def apply_template(request: Request) -> Response:
        """Turn messages into the prompt that a chat completion would have."""
        served, sent = await model_and_body(request, state, ChatCompletionRequest)
        context = request_context()
        parsed = validated(sent, state, served, context.caller)
        _, prompt = await chat_prompt(context, parsed, served, state.settings.max_content_size)
        text = await context.run(partial(served.control_tokens.kept_apart, prompt))
        return _response(orjson.dumps({"prompt": text}), parsed)

    return [
        PostRoute("/tokenize", tokenize_text, partial(_documented, TokenizeRequest, Tokens)),
        PostRoute(
            "/detokenize",
            detokenize_tokens,
            partial(_documented, DetokenizeRequest, DetokenizedText),
        ),
        PostRoute(
            "/apply-template",
            apply_template,
            partial(_documented, ChatCompletionRequest, RenderedPrompt),
        ),
    ]


async def model_and_body(
    request: Request, state: ServerState, schema: type[BodyT]
) -> tuple[ServedModel, BodyT]:
    """The body, and the model that it names where there are several; raises `APIError`."""
    if len(state.models) == 1:
        served = await state.use_permitted_model(None)
        return served, await parse_body(request, schema, state)
    body = await parse_body(request, schema, state)
    return await state.use_model(body.model), body


def _parts(parsed: TokenizeRequest) -> Sequence[int | str]:
    return parsed.content if isinstance(parsed.content, list) else [parsed.content]


def _tokenized(parsed: TokenizeRequest, served: ServedModel, max_size: int) -> bytes:
    """The answer's JSON; raises `APIError` 400."""
    parts = _parts(parsed)
    check_size(parts, "content", max_size)
    tokens = mixed_tokens(
        served,
        parts,
        "content",
        add_special=bool(parsed.add_special),
        parse_special=parsed.parse_special is not False,
    )
    shown: Iterator[object] = iter(tokens)
    if parsed.with_pieces:
        shown = ({"id": token, "piece": _piece(served, token)} for token in tokens)
    return b'{"tokens":[%b]}' % b",".join(orjson.dumps(each) for each in shown)


def _detokenized(parsed: DetokenizeRequest, served: ServedModel) -> bytes:
    """The answer's JSON; raises `APIError` 400."""
    check_token_ids(parsed.tokens, served.model.n_vocab, "tokens")
    return orjson.dumps({"content": detokenize(served, parsed.tokens)})


def _piece(served: ServedModel, token: int) -> str | list[int]:
    """A token's text, its bytes where these are only a part of a character."""
    data = served.model.render(token, special=True)
    try:
        return data.decode()
    except UnicodeDecodeError:
        return list(data)


def _response(body: bytes, parsed: RequestBody) -> Response:
    headers = ignored_header(parsed.ignored_params)
    return Response(body, media_type="application/json", headers=headers)


def _documented(request: type[BaseModel], response: type[BaseModel]) -> PostDocumentation:
    """What the OpenAPI document says of an endpoint."""
    from functions.http.openapi.post_documentation import PostDocumentation

    return PostDocumentation(
        tag="llama.cpp",
        request=request,
        response=response,
        errors=(400, 401, 404, 413, 503),
    )
