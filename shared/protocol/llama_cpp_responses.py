"""``POST /completion`` and its companions: response bodies as llama.cpp's server gives them.

Shapes are those of ``tools/server/server-task.cpp`` in llama.cpp's repository, with three names of
earlier versions (``stopped_eos``, ``stopped_word``, ``stopped_limit``) that programs still read.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.engine.types import PromptProgress, SequenceUsage
from shared.protocol.responses import Completion

StopType = Literal["none", "eos", "limit", "word"]


class Timings(BaseModel):
    """``timings``: tokens, milliseconds, and the rates they make.

    The first token is the prompt's work, so that the rate of prediction leaves it out.
    """

    cache_n: int = Field(description="Prompt tokens whose KV cells were still there.")
    prompt_n: int = Field(description="Prompt tokens that were evaluated.")
    prompt_ms: float
    prompt_per_token_ms: float
    prompt_per_second: float
    predicted_n: int
    predicted_ms: float
    predicted_per_token_ms: float
    predicted_per_second: float

    @classmethod
    def of(cls, usage: SequenceUsage) -> Timings:
        """What ``usage`` says in llama.cpp's units."""
        n_evaluated = usage.prompt_tokens - usage.cached_tokens
        prompt_ms = usage.prefill_seconds * 1000
        n_steps = max(usage.completion_tokens - 1, 0)
        predicted_ms = usage.decode_seconds * 1000
        return cls(
            cache_n=usage.cached_tokens,
            prompt_n=n_evaluated,
            prompt_ms=prompt_ms,
            prompt_per_token_ms=_ratio(prompt_ms, n_evaluated),
            prompt_per_second=_ratio(1000 * n_evaluated, prompt_ms),
            predicted_n=usage.completion_tokens,
            predicted_ms=predicted_ms,
            predicted_per_token_ms=_ratio(predicted_ms, n_steps),
            predicted_per_second=_ratio(1000 * n_steps, predicted_ms),
        )


def _ratio(amount: float, per: float) -> float:
    return amount / per if per else 0.0


class Progress(BaseModel):
    """``prompt_progress``: how many of the prompt's tokens are evaluated."""

    total: int
    cache: int
    processed: int
    time_ms: int

    @classmethod
    def of(cls, progress: PromptProgress) -> Progress:
        """What ``progress`` says in llama.cpp's names and units."""
        return cls(
            total=progress.total,
            cache=progress.cached,
            processed=progress.processed,
            time_ms=int(progress.seconds * 1000),
        )


class TokenProbability(BaseModel):
    """A token with its natural log probability. Control tokens have no text and no bytes."""

    id: int
    token: str
    bytes: list[int]
    logprob: float


class SampledProbability(TokenProbability):
    """An entry of ``completion_probabilities``: a sampled token and the likeliest ones."""

    top_logprobs: list[TokenProbability]


class LlamaCppResult(BaseModel):
    """What llama.cpp's server says of one finished choice."""

    model_config = ConfigDict(protected_namespaces=())

    index: int
    content: str
    tokens: list[int] = Field(description="Ids, if `return_tokens` asks for them.")
    id_slot: int = Field(default=-1, description="Always -1: there are no slots to choose.")
    stop: Literal[True] = True
    model: str
    tokens_predicted: int
    tokens_evaluated: int = Field(description="Tokens of the prompt, cached ones too.")
    generation_settings: dict[str, Any]
    prompt: str
    has_new_line: bool
    truncated: bool = Field(description="Whether the context was full before anything else.")
    stop_type: StopType
    stopping_word: str
    stopped_eos: bool
    stopped_word: bool
    stopped_limit: bool
    tokens_cached: int = Field(description="Tokens with KV cells at the end, prompt and answer.")
    timings: Timings
    completion_probabilities: list[SampledProbability] | None = None


class LlamaCppCompletion(LlamaCppResult, Completion):
    """Body of ``POST /completion``: llama.cpp's fields of the first choice, and OpenAI's object.

    ``results`` has llama.cpp's fields of every choice, where there are several.
    """

    results: list[LlamaCppResult] | None = None


class TokenPiece(BaseModel):
    """A token with its text, or with its bytes if they alone are no UTF-8."""

    id: int
    piece: str | list[int]


class Tokens(BaseModel):
    """Body of ``POST /tokenize``."""

    tokens: list[int] | list[TokenPiece]


class DetokenizedText(BaseModel):
    """Body of ``POST /detokenize``."""

    content: str


class RenderedPrompt(BaseModel):
    """Body of ``POST /apply-template``."""

    prompt: str


class GenerationDefaults(BaseModel):
    """``default_generation_settings`` of ``GET /props``."""

    params: dict[str, Any] = Field(description="As a completion's `generation_settings`.")
    n_ctx: int = Field(description="Tokens that one sequence may have, prompt and answer.")


class Modalities(BaseModel):
    """What prompts may carry beside text."""

    vision: bool = False
    video: bool = False
    audio: bool = False


class Props(BaseModel):
    """Body of ``GET /props``."""

    model_config = ConfigDict(protected_namespaces=())

    default_generation_settings: GenerationDefaults
    total_slots: int = Field(description="Sequences in one batch.")
    model_alias: str
    model_ftype: str
    model_path: str = Field(description="The model's name: where its file lies is not told.")
    modalities: Modalities = Modalities()
    endpoint_slots: bool = False
    endpoint_props: bool = False
    endpoint_metrics: bool = True
    ui: bool = False
    chat_template: str
    bos_token: str
    eos_token: str
    build_info: str
    is_sleeping: bool = False
