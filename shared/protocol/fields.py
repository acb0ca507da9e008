"""Request fields that all dialects have in common: types with their ranges."""

from __future__ import annotations

from itertools import islice
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, WithJsonSchema

from shared.protocol.model_names import MODEL_NAME
from shared.protocol.response_format import GrammarSource, ResponseFormat, Schema
from shared.protocol.strict import Items, Metadata, Strict

MAX_CHOICES = 128
MAX_SEQUENCES = 1024
"""Prompts times ``n`` of one request: what one caller may queue at once."""
MAX_STOPS = 16
MAX_TOP_LOGPROBS = 20
MAX_BIASES = 4096
MAX_IGNORED = 100

ModelName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=256,
        pattern=MODEL_NAME,
        description="A model that GET /v1/models lists; the deployment's default if absent.",
    ),
]
Seed = Annotated[
    int,
    Field(ge=-(2**63), le=2**64 - 1),
    # Bounds that are exact as floats too, which FastAPI makes of them.
    WithJsonSchema({"type": "integer", "minimum": -(2**63), "exclusiveMaximum": 2**64}),
]
Breaker = Annotated[str, Field(min_length=1, max_length=256)]
StopString = Annotated[str, Field(min_length=1, max_length=4096)]
TokenId = Annotated[str, Field(max_length=64)]
"""A token's number, as a name in an object has to be a text."""
Bias = Annotated[float, Field(ge=-100, le=100)]
Penalty = Annotated[float, Field(ge=-2, le=2)]
TokenCount = Annotated[int, Field(ge=1)]
ServiceTier = Literal["auto", "default", "flex", "priority", "fast", "scale"]


class StreamOptions(Strict):
    """``stream_options``."""

    include_usage: bool | None = Field(
        default=None, description="Send a last chunk with empty choices and the usage."
    )
    include_obfuscation: bool | None = Field(
        default=None, description="Accepted without effect: there is no padding to leave out."
    )


class RequestBody(Strict):
    """A request's body."""

    @property
    def ignored_params(self) -> list[str]:
        """The unknown fields, which have no effect: as many as a header can name."""
        return sorted(islice(self.unknown_fields(), MAX_IGNORED))


class SharedFields(RequestBody):
    """Request fields that all completions share."""

    model: ModelName | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = Field(
        default=None, description="0 is greedy; default 1."
    )
    top_p: Annotated[float, Field(ge=0, le=1)] | None = Field(default=None)
    presence_penalty: Penalty | None = Field(default=None)
    frequency_penalty: Penalty | None = Field(default=None)
    seed: Seed | None = Field(
        default=None, description="Any 64-bit integer, signed or unsigned; random if absent."
    )
    n: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = Field(default=None)
    stop: StopString | Annotated[list[StopString], Items(MAX_STOPS)] | None = Field(
        default=None, description="Up to 16 strings that end the completion; never in the output."
    )
    stream: bool | None = Field(default=None)
    stream_options: StreamOptions | None = Field(default=None)
    logit_bias: Annotated[dict[TokenId, Bias], Items(MAX_BIASES)] | None = Field(
        default=None, description="Token id to a bias of -100 (ban) to 100 (force)."
    )
    user: Annotated[str, Field(max_length=512)] | None = Field(default=None)
    metadata: Metadata | None = Field(default=None)
    store: bool | None = Field(default=None)
    service_tier: ServiceTier | None = Field(
        default=None,
        description="The order in the queue. fast is priority; auto and scale are default.",
    )
    safety_identifier: Annotated[str, Field(max_length=512)] | None = Field(default=None)
    prompt_cache_key: Annotated[str, Field(max_length=512)] | None = Field(default=None)

    # What the answer has to look like.
    response_format: ResponseFormat | None = Field(default=None)
    json_schema: Schema | None = Field(
        default=None, description="llama.cpp's short form of response_format."
    )
    grammar: GrammarSource | None = Field(
        default=None, description="A grammar in llama.cpp's GBNF or in Lark."
    )
    regex: GrammarSource | None = Field(default=None, description="A regular expression.")

    # llama.cpp's extras.
    top_k: Annotated[int, Field(ge=-1, le=2**31 - 1)] | None = Field(
        default=None, description="Keep the k likeliest tokens; 0, -1 or absent keeps all."
    )
    min_p: Annotated[float, Field(ge=0, le=1)] | None = Field(default=None)
    typical_p: Annotated[float, Field(gt=0, le=1)] | None = Field(default=None)
    repeat_penalty: Annotated[float, Field(ge=0.01, le=100)] | None = Field(default=None)
    repetition_penalty: Annotated[float, Field(ge=0.01, le=100)] | None = Field(
        default=None, description="Another name of repeat_penalty."
    )
    repeat_last_n: Annotated[int, Field(ge=-1, le=2**31 - 1)] | None = Field(default=None)
    dry_multiplier: Annotated[float, Field(ge=0, le=1000)] | None = Field(
        default=None, description="How much DRY penalises repetitions; default 0, off."
    )
    dry_base: Annotated[float, Field(ge=1, le=1000)] | None = Field(
        default=None, description="By how much the penalty grows with each token; default 1.75."
    )
    dry_allowed_length: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = Field(
        default=None, description="Longer repetitions, in tokens, are penalised; default 2."
    )
    dry_penalty_last_n: Annotated[int, Field(ge=-1, le=2**31 - 1)] | None = Field(
        default=None, description="Where to look for repetitions; default -1, all sampled tokens."
    )
    dry_sequence_breakers: Annotated[list[Breaker], Items(16)] | None = Field(
        default=None, description="Strings that repetitions are not followed across."
    )
    xtc_probability: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None, description="The chance for a token to be sampled with XTC; default 0."
    )
    xtc_threshold: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None,
        description="XTC removes all tokens of this probability but the least likely; "
        "default 0.1, off above 0.5.",
    )
    mirostat: Annotated[int, Field(ge=0, le=2)] | None = Field(
        default=None,
        description="Its version; it replaces top_k, top_p, min_p, typical_p and XTC. "
        "Default 0, off.",
    )
    mirostat_tau: Annotated[float, Field(ge=0, le=1000)] | None = Field(
        default=None, description="The surprise to aim at, in bits; default 5."
    )
    mirostat_eta: Annotated[float, Field(ge=0, le=1000)] | None = Field(
        default=None, description="The learning rate; default 0.1."
    )
    ignore_eos: bool | None = Field(default=None)
    min_tokens: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = Field(default=None)

    n_keep: Annotated[int, Field(ge=-1, le=2**31 - 1)] | None = Field(
        default=None,
        description="Where a full context is shifted, tokens of its beginning that stay; "
        "default -1, the prompt.",
    )
    n_discard: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = Field(
        default=None, description="The same, tokens behind these that go; default 0, half of them."
    )
    # Only the names in JSON have dots; they are llama-server's.
    speculative_n_max: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = Field(
        default=None,
        alias="speculative.n_max",
        description="Tokens of the longest draft, at most the deployment's; 0 for no drafts.",
    )
    speculative_n_min: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = Field(
        default=None,
        alias="speculative.n_min",
        description="Tokens of the shortest draft that is evaluated.",
    )
    speculative_p_min: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None,
        alias="speculative.p_min",
        description="The probability that a draft model has to give a token for it to be drafted.",
    )
    cache_prompt: bool | None = Field(
        default=None, description="false evaluates the whole prompt anew; default true."
    )
    timings_per_token: bool | None = Field(
        default=None, description="Send llama.cpp's timings with every chunk."
    )
    verbose: bool | None = Field(
        default=None, description="Add `__verbose`, with llama.cpp's fields of the answer."
    )
    return_progress: bool | None = Field(
        default=None, description="Send chunks that tell how much of the prompt is evaluated."
    )

    @property
    def shift_params(self) -> list[str]:
        """Fields that say how a full context is shifted, which has to be switched on."""
        given = {"n_keep": self.n_keep, "n_discard": self.n_discard}
        return [name for name, value in given.items() if value]

    def stop_strings(self) -> tuple[str, ...]:
        """``stop`` as a tuple."""
        if self.stop is None:
            return ()
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)


def examples(*bodies: dict[str, Any]) -> ConfigDict:
    """Model configuration that puts example bodies into the OpenAPI document."""
    return ConfigDict(json_schema_extra={"examples": list(bodies)})
