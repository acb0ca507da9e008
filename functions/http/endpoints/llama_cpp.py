"""``POST /completion`` and ``/completions``: the dialect of llama.cpp's server."""

from __future__ import annotations

import secrets
from collections import defaultdict
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response

from functions.http.endpoints.tokens import check_size, detokenize, mixed_tokens
from functions.http.request_body import in_proportion
from functions.http.routing import PostRoute
from shared.completion.completion import CompletionResponse
from shared.completion.constraint import text_constraint
from shared.completion.deadline import end_of_generation
from shared.completion.preparation import (
    check_model,
    check_sequences,
    generation_request,
    parse,
    response_head,
    response_headers,
)
from shared.completion.sampling_parameters import sampling_params
from shared.engine.types import GenerationRequest, SamplingParams
from shared.protocol.errors import invalid
from shared.protocol.llama_cpp.format import Answer, LlamaCppStream, Prompt, llama_cpp_body
from shared.protocol.llama_cpp.generation_settings import generation_settings
from shared.protocol.llama_cpp.requests import RANDOM_SEEDS, LlamaCppRequest
from shared.protocol.unsupported_fields import refuse
from shared.runtime.served_model import ServedModel
from shared.runtime.state import ServerState

if TYPE_CHECKING:
    from shared.engine.grammar.constraint import Constraint

_BIAS_LIMIT = 100.0
"""-100 bans and 100 forces: more would do no more."""


def routes(state: ServerState) -> list[PostRoute]:
    """The endpoint, under both of its names."""

    async def create_completion(request: Request) -> Response:
        """Continue a text, as llama.cpp's server does."""
        served = state.model()
        parsed = await parse(request, LlamaCppRequest, state)
        check_model(parsed, served)
        _refuse_unsupported(parsed)
        work = partial(_prompts, parsed, served, state.settings.max_content_size)
        prompts = await in_proportion(request, work)
        biases = await in_proportion(request, partial(_logit_bias, parsed, served))
        tenant = state.caller(request).tenant
        plain = parsed.sampled_as(seed=_seed(parsed), logit_bias=biases)
        work_on_each = partial(
            _engine_requests,
            plain,
            served,
            [tokens for tokens, _ in prompts],
            constraint=await text_constraint(plain, served, tenant),
            deadline=end_of_generation(request.scope),
        )
        requests = await in_proportion(request, work_on_each)
        answer = Answer(
            head=response_head(parsed, served, "cmpl"),
            prompts=[prompt for _, prompt in prompts],
            n=parsed.choices,
            max_tokens=requests[0].max_tokens,
            settings=_settings(parsed, served, requests[0].sampling),
            texts=served.model,
            oai_compat=parsed.oai_compat is not False,
            has_probabilities=bool(parsed.top_logprobs),
            has_logprobs=parsed.top_logprobs is not None,
            timings_per_token=bool(parsed.timings_per_token),
            include_usage=bool(parsed.stream_options and parsed.stream_options.include_usage),
            response_fields=parsed.response_fields,
        )
        return CompletionResponse(
            state,
            served,
            requests,
            param="prompt",
            tenant=tenant,
            headers=await in_proportion(request, partial(response_headers, parsed)),
            body_of=partial(llama_cpp_body, answer),
            stream=LlamaCppStream(answer) if parsed.stream else None,
        )

    return [PostRoute(path, create_completion) for path in ("/completion", "/completions")]


def default_settings(served: ServedModel) -> dict[str, Any]:
    """The ``generation_settings`` of a request that asks for nothing."""
    parsed = served.defaults.apply(LlamaCppRequest(prompt=""))
    plain = parsed.sampled_as(seed=_seed(parsed), logit_bias={})
    return _settings(parsed, served, sampling_params(plain, served))


def _settings(
    parsed: LlamaCppRequest, served: ServedModel, sampling: SamplingParams
) -> dict[str, Any]:
    return generation_settings(parsed, sampling, model=served.name, n_ctx=served.engine.n_ctx)


def _seed(parsed: LlamaCppRequest) -> int:
    if parsed.seed is None or parsed.has_random_seed:
        return secrets.randbelow(RANDOM_SEEDS[1])
    return parsed.seed


def _refuse_unsupported(parsed: LlamaCppRequest) -> None:
    """Refuse what would silently change the answer if it were ignored."""
    if parsed.echo or parsed.suffix:
        refuse("echo" if parsed.echo else "suffix", "POST /v1/completions knows it")
    if parsed.store:
        refuse("store", "POST /v1/completions knows it")
    if parsed.best_of is not None and parsed.best_of != parsed.choices:
        refuse("best_of", "POST /v1/completions knows it")
    if parsed.post_sampling_probs:
        refuse("post_sampling_probs", "probabilities are the model's own, before sampling")
    if parsed.lora:
        refuse("lora", "no adapters are loaded")


def _prompts(
    parsed: LlamaCppRequest, served: ServedModel, max_size: int
) -> list[tuple[list[int], Prompt]]:
    """Each prompt's tokens and what to say of it; raises `APIError` 400."""
    given = parsed.prompts()
    check_sequences(len(given), parsed.choices)
    check_size(chain.from_iterable(given), "prompt", max_size)
    prompts: list[tuple[list[int], Prompt]] = []
    for i, parts in enumerate(given):
        param = f"prompt[{i}]" if parsed.has_several_prompts else "prompt"
        tokens = mixed_tokens(served, parts, param)
        if not tokens:
            raise invalid("The prompt is empty: it has no tokens.", param)
        text = _shown(served, parts, tokens)
        prompts.append((tokens, Prompt(text, len(tokens))))
    return prompts


def _shown(served: ServedModel, parts: list[int | str], tokens: list[int]) -> str:
    """The prompt as the model sees it; a plain text needs no detour through its tokens."""
    if len(parts) > 1 or not isinstance(parts[0], str):
        return detokenize(served, tokens)
    if not served.model.adds_bos:
        return parts[0]
    return detokenize(served, [served.model.bos]) + parts[0]


def _engine_requests(
    plain: LlamaCppRequest,
    served: ServedModel,
    prompts: list[list[int]],
    *,
    constraint: Constraint | None,
    deadline: float | None,
) -> list[GenerationRequest]:
    """One request for each prompt; raises `APIError` 400. ``plain``: `sampled_as`'s."""
    limit = plain.requested_tokens
    return [
        generation_request(
            plain,
            served,
            tokens,
            max_tokens=served.max_tokens if limit is None else limit,
            deadline=deadline,
            top_logprobs=plain.top_logprobs,
            constraint=constraint,
            return_tokens=bool(plain.return_tokens or plain.stream),
        )
        for tokens in prompts
    ]


def _logit_bias(parsed: LlamaCppRequest, served: ServedModel) -> dict[int, float]:
    """Token id to bias; a text's bias holds for each of its tokens. Raises `APIError` 400.

    In a map the keys are texts, except for those that are numbers.
    """
    given = parsed.logit_bias or []
    if isinstance(given, dict):
        pairs = [(int(key) if _is_number(key) else key, bias) for key, bias in given.items()]
    else:
        pairs = list(given)
    biases: defaultdict[int, float] = defaultdict(float)
    for key, bias in pairs:
        if isinstance(key, int):
            tokens = [key]
        else:
            tokens = served.model.tokenize(key, add_special=False, parse_special=False)
        for token in tokens:
            if not 0 <= token < served.model.n_vocab:
                raise invalid(
                    f"Invalid 'logit_bias': {token} is no token id of this model "
                    f"(0 to {served.model.n_vocab - 1}).",
                    "logit_bias",
                )
            biases[token] += -_BIAS_LIMIT if bias is False else bias
    return {token: min(max(bias, -_BIAS_LIMIT), _BIAS_LIMIT) for token, bias in biases.items()}


def _is_number(key: str) -> bool:
    return key.isascii() and key.removeprefix("-").isdigit() and len(key) < 12
