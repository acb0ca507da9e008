"""``POST /v1/completions``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from functions.http.request_body import in_proportion
from functions.http.routing import PostRoute
from shared.completion.completion import CompletionResponse
from shared.completion.constraint import text_constraint
from shared.completion.deadline import end_of_generation
from shared.completion.preparation import (
    check_model,
    check_sequences,
    check_token_ids,
    generation_request,
    parse,
    response_head,
    response_headers,
)
from shared.completion.recorder import recording
from shared.protocol.choices import Choice, best, usages
from shared.protocol.errors import invalid
from shared.protocol.openai.completions import DEFAULT_MAX_TOKENS, CompletionRequest
from shared.protocol.openai.completions_format import TextStream, text_body
from shared.protocol.openai.echo import Echo
from shared.protocol.responses import Usage
from shared.protocol.unsupported_fields import refuse
from shared.runtime.served_model import ServedModel
from shared.runtime.state import ServerState


def route(state: ServerState) -> PostRoute:
    """The endpoint."""

    async def create_completion(request: Request) -> Response:
        """Continue a text."""
        served = state.model()
        parsed = await parse(request, CompletionRequest, state)
        check_model(parsed, served)
        tenant = state.caller(request).tenant
        n, n_generated = parsed.n or 1, parsed.n_generated
        _check(parsed, n)
        max_size = state.settings.max_content_size
        prompts = await in_proportion(request, partial(_prompts, parsed, served, max_size))
        check_sequences(len(prompts), n_generated)
        fill_in = partial(_continued, prompts, parsed, served, max_size)
        continued = await in_proportion(request, fill_in)
        scores = parsed.logprobs is not None
        constraint = await text_constraint(parsed, served, tenant)
        limit = DEFAULT_MAX_TOKENS if parsed.max_tokens is None else parsed.max_tokens
        generating = partial(
            generation_request,
            parsed,
            served,
            max_tokens=limit,
            deadline=end_of_generation(request.scope),
            top_logprobs=(parsed.logprobs or 0) if scores or n_generated > n else None,
            n=n_generated,
            prompt_logprobs=bool(parsed.echo) and scores,
            constraint=constraint,
            return_tokens=bool(parsed.store),
        )
        requests = await in_proportion(request, lambda: [generating(each) for each in continued])
        head = response_head(parsed, served, "cmpl")
        texts = served.model if scores else None
        echoes = prompts if parsed.echo else None
        has_timings = bool(parsed.timings_per_token)

        def body_of(generated: Sequence[Choice]) -> bytes:
            return text_body(
                head,
                best(generated, n_generated, n) if n_generated > n else generated,
                n,
                texts,
                echoes=echoes,
                usage=Usage.total(usages(generated), n_generated),
                has_timings=has_timings,
            )

        return CompletionResponse(
            state,
            served,
            requests,
            param="prompt",
            tenant=tenant,
            headers=await in_proportion(request, partial(response_headers, parsed)),
            body_of=body_of,
            stream=TextStream(
                head,
                len(requests),
                n,
                include_usage=bool(parsed.stream_options and parsed.stream_options.include_usage),
                texts=texts,
                echoes=echoes,
                has_timings=has_timings,
                has_progress=bool(parsed.return_progress),
            )
            if parsed.stream
            else None,
            recording=recording(
                *(state, request, parsed, head), kind="text", sampling=requests[0].sampling
            ),
        )

    return PostRoute("/v1/completions", create_completion)


def _check(parsed: CompletionRequest, n: int) -> None:
    """Raise `APIError` 400 for fields that don't go together."""
    if parsed.max_tokens == 0 and not parsed.echo:
        raise invalid("'max_tokens' must be at least 1, or 0 with 'echo': true.", "max_tokens")
    if parsed.best_of is not None and parsed.best_of < n:
        raise invalid(f"'best_of' must be at least 'n', which is {n}.", "best_of")
    if parsed.n_generated > n and parsed.stream:
        raise invalid(
            "'best_of' can't be streamed: which choice is the best shows at the end.", "best_of"
        )
    if parsed.suffix is not None and parsed.echo and parsed.logprobs is not None:
        raise invalid("With 'suffix' there are no log probabilities of the prompt.", "suffix")


def _continued(
    prompts: Sequence[Echo], parsed: CompletionRequest, served: ServedModel, max_size: int
) -> list[Sequence[int]]:
    """What the model continues: the prompts, or texts to fill in; raises `APIError` 400."""
    if parsed.suffix is None:
        return [prompt.tokens for prompt in prompts]
    marks = served.model.fill_in_tokens
    if marks is None:
        refuse("suffix", "this model has no fill-in-the-middle tokens")
    size = len(parsed.suffix.encode()) * len(prompts)
    if size > max_size:
        raise invalid(
            f"The suffix, once for each of {len(prompts)} prompts, is longer than the limit of "
            f"{max_size} bytes.",
            "suffix",
            "content_too_large",
        )
    before, after, middle = marks
    ending = served.model.tokenize(parsed.suffix, add_special=False)
    filled: list[Sequence[int]] = []
    for prompt in prompts:
        n_bos = int(served.model.adds_bos and prompt.tokens[0] == served.model.bos)
        bos, beginning = prompt.tokens[:n_bos], prompt.tokens[n_bos:]
        filled.append([*bos, before, *beginning, after, *ending, middle])
    return filled


def _prompts(parsed: CompletionRequest, served: ServedModel, max_size: int) -> list[Echo]:
    """Each prompt's text and tokens; raises `APIError` 400."""
    prompts: list[Echo] = []
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
            text, tokens = prompt, served.model.tokenize(prompt)
        else:
            flat = isinstance(parsed.prompt, list) and isinstance(parsed.prompt[0], int)
            check_token_ids(prompt, served.model.n_vocab, "prompt" if flat else param)
            text, tokens = _text(served, prompt) if parsed.echo else "", prompt
        if not tokens:
            raise invalid("The prompt is empty: it has no tokens.", param)
        adds_first = served.model.adds_bos or not isinstance(prompt, str)
        hides_first = adds_first and tokens[0] == served.model.bos
        prompts.append(Echo(text, tokens, hides_first=hides_first))
    return prompts


def _text(served: ServedModel, tokens: list[int]) -> str:
    """What ``tokens`` read, control tokens written out but for the beginning of the text."""
    visible = tokens[tokens[0] == served.model.bos :]
    pieces = [served.model.render(token, special=True) for token in visible]
    return b"".join(pieces).decode("utf-8", "replace")
