"""llama.cpp's dialect of completions."""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

from shared.completion.dialect import Dialect
from shared.completion.sampling_parameters import sampling_params
from shared.completion.tokens import check_size, detokenize, mixed_tokens, run_tokenizing
from shared.completion.validation import check_sequences
from shared.engine.types import GenerationRequest, SamplingParams
from shared.protocol.choices import Choice
from shared.protocol.errors import invalid
from shared.protocol.llama_cpp.format import Answer, LlamaCppStream, Prompt, llama_cpp_body
from shared.protocol.llama_cpp.generation_settings import generation_settings
from shared.protocol.llama_cpp.requests import RANDOM_SEEDS, LlamaCppRequest
from shared.protocol.unsupported_fields import refuse
from shared.runtime.served_model import ServedModel

_BIAS_LIMIT = 100.0
"""-100 bans and 100 forces: more would do no more."""


class LlamaCppDialect(Dialect[LlamaCppRequest]):
    """``POST /completion`` and ``/completions`` of llama.cpp's server."""

    id_prefix = "cmpl"
    prompt_field = "prompt"
    operation = "text_completion"

    _answer: Answer

    async def engine_requests(self) -> list[GenerationRequest]:
        """One request for each prompt; raises `APIError` 400."""
        asked, served, run = self.asked, self.served, self.context.run
        _refuse_unsupported(asked)
        prompts = await run_tokenizing(
            self._read_prompts, lambda: chain.from_iterable(asked.prompts())
        )
        biases = await run(lambda: _logit_bias(asked, served))
        self.spelled = plain = asked.sampled_as(seed=_seed(asked), logit_bias=biases)
        limit = plain.requested_tokens

        def request(prompt: Sequence[int]) -> GenerationRequest:
            made = self.engine_request(
                prompt,
                max_tokens=served.max_tokens if limit is None else limit,
                top_logprobs=plain.top_logprobs,
                return_tokens=bool(plain.return_tokens or plain.stream),
            )
            return replace(made, post_sampling=True) if plain.post_sampling_probs else made

        requests = await run(lambda: [request(tokens) for tokens, _ in prompts])
        self._answer = Answer(
            head=self.head,
            prompts=[prompt for _, prompt in prompts],
            n=asked.choices,
            max_tokens=requests[0].max_tokens,
            settings=_settings(asked, served, requests[0].sampling),
            texts=served.model,
            oai_compat=asked.oai_compat is not False,
            has_probabilities=bool(asked.top_logprobs),
            has_logprobs=asked.top_logprobs is not None,
            is_post_sampling=bool(asked.post_sampling_probs),
            timings_per_token=bool(asked.timings_per_token),
            include_usage=self.includes_usage,
            response_fields=asked.response_fields,
        )
        return requests

    def body(self, choices: Sequence[Choice], cost: float | None = None) -> bytes:
        """The whole answer's JSON."""
        return llama_cpp_body(self._answer, choices, cost)

    def stream(self) -> LlamaCppStream:
        """A new formatter of the answer's events."""
        return LlamaCppStream(self._answer)

    def _read_prompts(self) -> list[tuple[list[int], Prompt]]:
        """Each prompt's tokens and what to say of it; raises `APIError` 400."""
        given = self.asked.prompts()
        check_sequences(len(given), self.asked.choices)
        check_size(chain.from_iterable(given), "prompt", self.max_content_size)
        prompts: list[tuple[list[int], Prompt]] = []
        for i, parts in enumerate(given):
            param = f"prompt[{i}]" if self.asked.has_several_prompts else "prompt"
            tokens = mixed_tokens(self.served, parts, param)
            if not tokens:
                raise invalid("The prompt is empty: it has no tokens.", param)
            text = _shown(self.served, parts, tokens)
            prompts.append((tokens, Prompt(text, len(tokens))))
        return prompts


def default_settings(served: ServedModel) -> dict[str, Any]:
    """The ``generation_settings`` of a request that asks for nothing."""
    asked = served.defaults.apply(LlamaCppRequest(prompt=""))
    plain = asked.sampled_as(seed=_seed(asked), logit_bias={})
    return _settings(asked, served, sampling_params(plain))


def _settings(
    asked: LlamaCppRequest, served: ServedModel, sampling: SamplingParams
) -> dict[str, Any]:
    engine = served.engine
    return generation_settings(
        asked, sampling, model=served.name, n_ctx=engine.n_ctx, draft_types=engine.draft_types
    )


def _seed(asked: LlamaCppRequest) -> int:
    if asked.seed is None or asked.has_random_seed:
        return secrets.randbelow(RANDOM_SEEDS[1])
    return asked.seed


def _refuse_unsupported(asked: LlamaCppRequest) -> None:
    """Refuse what would silently change the answer if it were ignored."""
    if asked.echo or asked.suffix:
        refuse("echo" if asked.echo else "suffix", "POST /v1/completions knows it")
    if asked.store:
        refuse("store", "POST /v1/completions knows it")
    if asked.best_of is not None and asked.best_of != asked.choices:
        refuse("best_of", "POST /v1/completions knows it")
    if asked.lora:
        refuse("lora", "no adapters are loaded")


def _shown(served: ServedModel, parts: list[int | str], tokens: list[int]) -> str:
    """The prompt as the model sees it; a plain text needs no detour through its tokens."""
    if len(parts) > 1 or not isinstance(parts[0], str):
        return detokenize(served, tokens)
    if not served.model.adds_bos:
        return parts[0]
    return detokenize(served, [served.model.bos]) + parts[0]


def _logit_bias(asked: LlamaCppRequest, served: ServedModel) -> dict[int, float]:
    """Token id to bias; a text's bias holds for each of its tokens. Raises `APIError` 400.

    In a map the keys are texts, except for those that are numbers.
    """
    given = asked.logit_bias or []
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
