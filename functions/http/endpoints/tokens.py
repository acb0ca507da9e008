"""``POST /tokenize``, ``/detokenize`` and ``/apply-template``, as llama.cpp's server has them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import orjson
from starlette.requests import Request
from starlette.responses import Response

from functions.http.request_body import in_proportion, parse_body
from functions.http.routing import PostRoute
from shared.completion.preparation import (
    check_model,
    check_token_ids,
    parse,
    response_headers,
)
from shared.completion.prompt import prompt_of
from shared.protocol.errors import invalid
from shared.protocol.fields import RequestBody
from shared.protocol.llama_cpp.requests import DetokenizeRequest, TokenizeRequest
from shared.protocol.openai.chat_completions import ChatCompletionRequest
from shared.protocol.openai.tool_use import tool_use
from shared.runtime.served_model import ServedModel
from shared.runtime.state import ServerState


def routes(state: ServerState) -> list[PostRoute]:
    """The endpoints."""

    async def tokenize_text(request: Request) -> Response:
        """Turn a text into tokens."""
        served = state.model()
        parsed = await parse_body(request, TokenizeRequest, state)
        limit = state.settings.max_content_size
        body = await in_proportion(request, partial(_tokenized, parsed, served, limit))
        return _response(body, parsed)

    async def detokenize_tokens(request: Request) -> Response:
        """Turn tokens into their text."""
        served = state.model()
        parsed = await parse_body(request, DetokenizeRequest, state)
        body = await in_proportion(request, partial(_detokenized, parsed, served))
        return _response(body, parsed)

    async def apply_template(request: Request) -> Response:
        """Turn messages into the prompt that a chat completion would have."""
        served = state.model()
        parsed = await parse(request, ChatCompletionRequest, state)
        check_model(parsed, served)
        use = await in_proportion(request, partial(tool_use, parsed))
        limit = state.settings.max_content_size
        prompt = await in_proportion(request, partial(prompt_of, parsed, served, use, limit))
        text = await in_proportion(request, partial(served.control_tokens.kept_apart, prompt))
        return _response(orjson.dumps({"prompt": text}), parsed)

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


def mixed_tokens(
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
    tokens: list[int] = []
    for i, part in enumerate(parts):
        if isinstance(part, int):
            tokens.append(part)
        else:
            tokens += served.model.tokenize(
                part, add_special=add_special and i == 0, parse_special=parse_special
            )
    return tokens


def detokenize(served: ServedModel, tokens: Sequence[int]) -> str:
    """The tokens' text, control tokens written out."""
    data = b"".join(served.model.render(token, special=True) for token in tokens)
    return data.decode("utf-8", "replace")


def _tokenized(parsed: TokenizeRequest, served: ServedModel, max_size: int) -> bytes:
    """The answer's JSON; raises `APIError` 400."""
    parts = parsed.content if isinstance(parsed.content, list) else [parsed.content]
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
    return Response(body, media_type="application/json", headers=response_headers(parsed))
