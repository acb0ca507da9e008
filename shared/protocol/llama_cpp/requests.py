"""``POST /completion`` and its companions: requests as programs for llama.cpp's server send them.

Names, defaults and ranges are those of ``tools/server/server-schema.cpp`` in llama.cpp's
repository. Sampling values outside their range are brought into it rather than refused, as there.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, field_validator
from pydantic_core import PydanticCustomError

from shared.protocol.fields import MAX_CHOICES, ModelName, RequestBody, SharedFields, examples
from shared.protocol.openai.completions import MAX_PROMPTS, MAX_TOKEN_IDS, TokenId
from shared.protocol.strict import Items, Strict

MAX_PROBABILITIES = 100
MAX_STOPS = 128
MAX_BIASES = 16384
RANDOM_SEEDS = (-1, 2**32 - 1)
"""Both ask for a random seed: -1 in requests, its unsigned spelling in answers sent back."""

SAMPLING_DEFAULTS = {
    "temperature": 0.8,
    "top_k": 40,
    "top_p": 0.95,
    "min_p": 0.05,
    "dry_penalty_last_n": 64,
}
"""llama.cpp's, where they differ from those of OpenAI's endpoints."""


def _within(low: float, high: float) -> AfterValidator:
    return AfterValidator(lambda value: min(max(value, low), high))


Stop = Annotated[str, Field(max_length=4096)]
Fraction = Annotated[float, _within(0.0, 1.0)]
TokenLimit = Annotated[int, Field(ge=-1, le=2**31 - 1)]
ProbabilityCount = Annotated[int, Field(ge=0, le=MAX_PROBABILITIES)]
TokenOrText = TokenId | str
TokensAndTexts = Annotated[list[TokenOrText], Items(MAX_TOKEN_IDS, least=1)]
Bias = float | Literal[False]
BiasPair = Annotated[tuple[TokenOrText, Bias], Field(strict=False)]
"""An array in JSON."""
BiasPairs = Annotated[list[BiasPair], Items(MAX_BIASES)]
BiasMap = Annotated[dict[str, Bias], Items(MAX_BIASES)]


class PromptObject(Strict):
    """A prompt that could carry images or audio, which no model here reads."""

    prompt_string: str
    multimodal_data: Annotated[list[str], Items(MAX_PROMPTS)] | None = None

    @field_validator("multimodal_data")
    @classmethod
    def _refuse_media(cls, data: list[str] | None) -> list[str] | None:
        if data:
            raise PydanticCustomError("unsupported_content", "this model reads text only")
        return data


Prompts = Annotated[
    list[TokenOrText | TokensAndTexts | PromptObject], Items(MAX_TOKEN_IDS, least=1)
]


class LlamaCppRequest(SharedFields):
    """Body of ``POST /completion``: llama.cpp's names beside OpenAI's."""

    model_config = examples(
        {"prompt": "Once upon a time", "n_predict": 60, "temperature": 0},
        {"prompt": "The capital of France is", "n_predict": 8, "n_probs": 3, "oai_compat": False},
    )

    prompt: str | PromptObject | Prompts = Field(
        description="A string, token ids, an array of both, or several of these."
    )
    n_predict: TokenLimit | None = Field(
        default=None, description="Completion tokens; -1, the default, is the deployment's limit."
    )
    max_completion_tokens: TokenLimit | None = Field(
        default=None, description="Another name of n_predict."
    )
    max_tokens: TokenLimit | None = Field(default=None, description="Another name of n_predict.")
    n_cmpl: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = Field(
        default=None, description="Another name of n."
    )
    n_probs: ProbabilityCount | None = Field(
        default=None, description="Likeliest tokens to name for each sampled one."
    )
    logprobs: ProbabilityCount | None = Field(
        default=None, description="Another name of n_probs; 0 asks for the sampled tokens' only."
    )
    oai_compat: bool | None = Field(
        default=None, description="false leaves OpenAI's fields out of the answer; default true."
    )
    response_fields: Annotated[list[str], Items(256)] | None = Field(
        default=None, description="Fields to answer with; a/b is the field b of the field a."
    )
    return_tokens: bool | None = Field(
        default=None, description="Put token ids into `tokens`; streams always do."
    )
    id_slot: Annotated[int, Field(ge=-1)] | None = Field(
        default=None, description="Accepted without effect: any request may use any cached prompt."
    )
    grammar: Annotated[str, Field(max_length=2**20)] | None = Field(
        default=None, description="A grammar in llama.cpp's GBNF or in Lark; empty for none."
    )

    temperature: Annotated[float, _within(0.0, math.inf)] | None = Field(
        default=None, description="0 is greedy; default 0.8."
    )
    top_k: Annotated[int, _within(0, 2**31 - 1)] | None = Field(
        default=None, description="Default 40; 0 keeps all."
    )
    top_p: Fraction | None = Field(default=None, description="Default 0.95.")
    min_p: Fraction | None = Field(default=None, description="Default 0.05.")
    xtc_probability: Fraction | None = Field(default=None)
    xtc_threshold: Fraction | None = Field(default=None)
    mirostat: Annotated[int, _within(0, 2)] | None = Field(default=None)
    stop: Stop | Annotated[list[Stop], Items(MAX_STOPS)] | None = Field(default=None)
    # Wider than the shared field; `sampled_as` narrows it again.
    logit_bias: BiasPairs | BiasMap | None = Field(  # type: ignore[assignment]
        default=None,
        description="Pairs of a token id or a text and a bias, false to ban; or OpenAI's map.",
    )

    post_sampling_probs: bool | None = Field(
        default=None,
        description="Tell the probabilities that the samplers leave, as `prob` and `top_probs`.",
    )

    # Not ignored: what they ask for would change the answer.
    lora: list[Any] | None = Field(default=None, description="Must be empty.")
    echo: bool | None = Field(default=None, description="Must be false.")
    suffix: str | None = Field(default=None, description="Must be empty.")
    best_of: int | None = Field(default=None, description="Must be equal to n.")

    @field_validator("prompt")
    @classmethod
    def _check_prompt(
        cls, prompt: str | PromptObject | list[Any]
    ) -> str | PromptObject | list[Any]:
        if _is_one_prompt(prompt) and isinstance(prompt, list):
            for item in prompt:
                if not isinstance(item, int | str):
                    raise PydanticCustomError(
                        "mixed_prompts",
                        "several prompts are an array of strings and arrays, "
                        "token ids among them belong into an array of their own",
                    )
        return prompt

    @property
    def has_several_prompts(self) -> bool:
        """Whether ``prompt`` is an array of prompts, if only of one."""
        return not _is_one_prompt(self.prompt)

    def prompts(self) -> list[list[int | str]]:
        """The prompts, each a list of texts and token ids; one for each set of ``n`` choices."""
        if not isinstance(self.prompt, list):
            return [_parts(self.prompt)]
        if not self.has_several_prompts:
            return [[item for item in self.prompt if isinstance(item, int | str)]]
        return [_parts(item) for item in self.prompt if not isinstance(item, int)]

    @property
    def requested_tokens(self) -> int | None:
        """``n_predict`` or another name of it; None where nothing limits it."""
        for limit in (self.n_predict, self.max_completion_tokens, self.max_tokens):
            if limit is not None:
                return limit if limit >= 0 else None
        return None

    @property
    def top_logprobs(self) -> int | None:
        """How many likeliest tokens to name; None for no log probabilities at all."""
        return self.n_probs or self.logprobs

    @property
    def has_random_seed(self) -> bool:
        """Whether the seed is to be drawn."""
        return self.seed is None or self.seed in RANDOM_SEEDS

    @property
    def choices(self) -> int:
        """Choices for each prompt."""
        return self.n_cmpl or self.n or 1

    def stop_strings(self) -> tuple[str, ...]:
        """``stop`` as a tuple, without empty strings."""
        return tuple(stop for stop in super().stop_strings() if stop)

    def sampled_as(self, *, seed: int, logit_bias: dict[int, float]) -> Self:
        """The request as OpenAI's endpoints would spell it, with llama.cpp's defaults.

        An empty grammar is none, an empty schema is any object.
        """
        defaults = {
            name: default
            for name, default in SAMPLING_DEFAULTS.items()
            if getattr(self, name) is None
        }
        bias = {str(token): value for token, value in logit_bias.items()}
        update: dict[str, Any] = {
            "n": self.choices,
            "seed": seed,
            "logit_bias": bias,
            "grammar": self.grammar or None,
            "n_keep": self.n_keep or 0,
        }
        if self.json_schema == {}:
            update["json_schema"] = {"type": "object"}
        return self.model_copy(update=defaults | update)


def _is_one_prompt(prompt: str | PromptObject | list[Any]) -> bool:
    """An array is one prompt when there is a token id in it."""
    return not isinstance(prompt, list) or any(isinstance(item, int) for item in prompt)


def _parts(prompt: str | PromptObject | list[int | str]) -> list[int | str]:
    if isinstance(prompt, PromptObject):
        return [prompt.prompt_string]
    return [prompt] if isinstance(prompt, str) else prompt


class TokenizeRequest(RequestBody):
    """Body of ``POST /tokenize``."""

    model_config = examples({"content": "Hello world", "with_pieces": True})

    model: ModelName | None = None
    content: str | Annotated[list[TokenOrText], Items(MAX_TOKEN_IDS)] = Field(
        description="A text, or texts and token ids to be put together."
    )
    add_special: bool | None = Field(
        default=None, description="Add what the model wants at the beginning; default false."
    )
    parse_special: bool | None = Field(
        default=None, description="Read control tokens written out as such; default true."
    )
    with_pieces: bool | None = Field(
        default=None, description="Give each token's text, or its bytes if they are no UTF-8."
    )


class DetokenizeRequest(RequestBody):
    """Body of ``POST /detokenize``."""

    model_config = examples({"tokens": [1, 2, 3]})

    model: ModelName | None = None
    tokens: Annotated[list[TokenId], Items(MAX_TOKEN_IDS)]
