"""``POST /tokenize``, ``/detokenize`` and ``/apply-template``, as llama.cpp's server has them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from functions.chat_prompt import prompt_of
from functions.inference import (
    INLINE_CHARACTERS,
    check_model,
    check_token_ids,
    parse,
    parse_body,
    response_headers,
)
from functions.routing import PostRoute
from functions.state import ServerState
from shared.models.served import ServedModel
from shared.protocol.chat import ChatCompletionRequest
from shared.protocol.errors import invalid
from shared.protocol.fields import RequestBody
from shared.protocol.llama_cpp import DetokenizeRequest, TokenizeRequest
from shared.protocol.llama_cpp_responses import (
    DetokenizedText,
    RenderedPrompt,
    TokenPiece,
    Tokens,
)
from shared.protocol.tool_use import tool_use

_INLINE_TOKENS = 2048
"""More are turned into text on a thread: from here on it takes milliseconds."""


def routes(state: ServerState) -> list[PostRoute]:
    """The endpoints."""

    async def tokenize_text(request: Request) -> Response:
        """Turn a text into tokens."""
        served = state.model()
        parsed = await parse_body(request, TokenizeRequest, state)
        parts = parsed.content if isinstance(parsed.content, list) else [parsed.content]
        check_size(parts, "content", state.settings.max_content_size)
        tokens = await mixed_tokens(
            served,
            parts,
            "content",
            add_special=bool(parsed.add_special),
            parse_special=parsed.parse_special is not False,
        )
        if not parsed.with_pieces:
            return _response(Tokens(tokens=tokens), parsed)
        if len(tokens) <= _INLINE_TOKENS:
            return _response(Tokens(tokens=_pieces(served, tokens)), parsed)
        pieces = await asyncio.to_thread(_pieces, served, tokens)
        return _response(Tokens(tokens=pieces), parsed)

    async def detokenize_tokens(request: Request) -> Response:
        """Turn tokens into their text."""
        served = state.model()
        parsed = await parse_body(request, DetokenizeRequest, state)
        check_token_ids(parsed.tokens, served.model.n_vocab, "tokens")
        return _response(DetokenizedText(content=await detokenize(served, parsed.tokens)), parsed)

    async def apply_template(request: Request) -> Response:
        """Turn messages into the prompt that a chat completion would have."""
        served = state.model()
        parsed = await parse(request, ChatCompletionRequest, state)
        check_model(parsed, served)
        use = tool_use(parsed)
        prompt = await prompt_of(parsed, served, use, state.settings.max_content_size)
        work = partial(served.control_tokens.kept_apart, prompt)
        text = work() if len(prompt.text) <= INLINE_CHARACTERS else await asyncio.to_thread(work)
        return _response(RenderedPrompt(prompt=text), parsed)

    return [
        PostRoute("/tokenize", tokenize_text),
        PostRoute("/detokenize", detokenize_tokens),
        PostRoute("/apply-template", apply_template),
    ]


def check_size(parts: Iterable[int | str], param: str, max_size: int) -> None:
    """Raise `APIError` 400 when the texts among ``parts`` have more than ``max_size`` bytes."""
    size = sum(len(part.encode()) for part in parts if isinstance(part, str))
    if size > max_size:
        raise invalid(
            f"'{param}' has {size} bytes, more than the limit of {max_size}.",
            param,
            "content_too_large",
        )


async def mixed_tokens(
    served: ServedModel,
    parts: Sequence[int | str],
    param: str,
    *,
    add_special: bool = True,
    parse_special: bool = True,
) -> list[int]:
    """Texts and token ids put together; raises `APIError` 400 for an id outside the vocabulary.

    As in llama.cpp's server ``add_special`` holds for a text at the beginning only.
    """
    check_token_ids(parts, served.model.n_vocab, param)
    work = partial(
        _mixed_tokens, served, parts, add_special=add_special, parse_special=parse_special
    )
    n_characters = sum(len(part) for part in parts if isinstance(part, str))
    if len(parts) <= _INLINE_TOKENS and n_characters <= INLINE_CHARACTERS:
        return work()
    return await asyncio.to_thread(work)


def _mixed_tokens(
    served: ServedModel, parts: Sequence[int | str], *, add_special: bool, parse_special: bool
) -> list[int]:
    tokens: list[int] = []
    for i, part in enumerate(parts):
        if isinstance(part, int):
            tokens.append(part)
        else:
            tokens += served.model.tokenize(
                part, add_special=add_special and i == 0, parse_special=parse_special
            )
    return tokens


async def detokenize(served: ServedModel, tokens: Sequence[int]) -> str:
    """The tokens' text, control tokens written out, without holding up the event loop."""
    if len(tokens) <= _INLINE_TOKENS:
        return _text(served, tokens)
    return await asyncio.to_thread(_text, served, tokens)


def _text(served: ServedModel, tokens: Sequence[int]) -> str:
    data = b"".join(served.model.render(token, special=True) for token in tokens)
    return data.decode("utf-8", "replace")


def _pieces(served: ServedModel, tokens: Sequence[int]) -> list[TokenPiece]:
    pieces: list[TokenPiece] = []
    for token in tokens:
        data = served.model.render(token, special=True)
        try:
            pieces.append(TokenPiece(id=token, piece=data.decode()))
        except UnicodeDecodeError:
            pieces.append(TokenPiece(id=token, piece=list(data)))
    return pieces


def _response(body: Tokens | DetokenizedText | RenderedPrompt, parsed: RequestBody) -> Response:
    return Response(
        body.model_dump_json(), media_type="application/json", headers=response_headers(parsed)
    )
