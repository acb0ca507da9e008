"""``POST /v1/completions``."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from functions.inference import (
    check_model,
    check_sequences,
    check_token_ids,
    events,
    generation_request,
    parse,
    refuse,
    response_head,
    response_headers,
    submit,
    tokenize,
    whole_choices,
)
from functions.routing import PostRoute
from functions.state import ServerState
from functions.streaming import EventStream
from shared.models.served import ServedModel
from shared.protocol.errors import invalid
from shared.protocol.text import DEFAULT_MAX_TOKENS, CompletionRequest
from shared.protocol.text_format import TextStream, text_body


def route(state: ServerState) -> PostRoute:
    """The endpoint."""

    async def create_completion(request: Request) -> Response:
        """Continue a text."""
        served = state.model()
        parsed = await parse(request, CompletionRequest, state)
        check_model(parsed, served)
        _refuse_unsupported(parsed)
        n = parsed.n or 1
        prompts = await _prompts(parsed, served, state.settings.max_content_size)
        check_sequences(len(prompts), n)
        requests = [
            generation_request(
                parsed,
                served,
                prompt,
                max_tokens=parsed.max_tokens or DEFAULT_MAX_TOKENS,
                top_logprobs=parsed.logprobs,
            )
            for prompt in prompts
        ]
        generation = submit(served, requests, "prompt")
        head = response_head(parsed, served, "cmpl")
        texts = served.model if parsed.logprobs is not None else None
        if parsed.stream:
            stream = TextStream(
                head,
                len(requests),
                n,
                include_usage=bool(parsed.stream_options and parsed.stream_options.include_usage),
                texts=texts,
            )
            return EventStream(
                generation, events(state, generation, stream), response_headers(parsed)
            )
        choices = await whole_choices(state, request, generation, len(requests) * n)
        return Response(
            text_body(head, choices, n, texts),
            media_type="application/json",
            headers=response_headers(parsed),
        )

    return PostRoute("/v1/completions", create_completion)


def _refuse_unsupported(parsed: CompletionRequest) -> None:
    if parsed.echo:
        refuse("echo", "prompts can't be scored or repeated yet")
    if parsed.suffix:
        refuse("suffix", "this model has no fill-in-the-middle tokens")
    if parsed.best_of is not None and parsed.best_of != (parsed.n or 1):
        refuse("best_of", "it can only be equal to 'n'")


async def _prompts(
    parsed: CompletionRequest, served: ServedModel, max_size: int
) -> list[list[int]]:
    """Each prompt's tokens; raises `APIError` 400."""
    prompts: list[list[int]] = []
    size = 0
    for i, prompt in enumerate(parsed.prompts()):
        param = "prompt" if not isinstance(parsed.prompt, list) else f"prompt[{i}]"
        if isinstance(prompt, str):
            size += len(prompt.encode())
            if size > max_size:
                raise invalid(
                    f"The prompt is longer than the limit of {max_size} bytes.",
                    param,
                    "content_too_large",
                )
            tokens = await tokenize(served, prompt)
        else:
            tokens = prompt
            flat = isinstance(parsed.prompt, list) and isinstance(parsed.prompt[0], int)
            check_token_ids(tokens, served.model.n_vocab, "prompt" if flat else param)
        if not tokens:
            raise invalid("The prompt is empty: it has no tokens.", param)
        prompts.append(tokens)
    return prompts
