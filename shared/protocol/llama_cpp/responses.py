"""``POST /completion`` and its companions: response bodies as llama.cpp's server gives them.

Shapes are those of ``tools/server/server-task.cpp`` in llama.cpp's repository, with three names of
earlier versions (``stopped_eos``, ``stopped_word``, ``stopped_limit``) that programs still read.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from shared.protocol.openai.chunks import TextChunkChoice
from shared.protocol.responses import Body, Completion
from shared.protocol.timings import Progress, Timings

StopType = Literal["none", "eos", "limit", "word"]


class TokenProbability(Body):
    """A token with its natural log probability, or what it was after all samplers.

    Control tokens have no text and no bytes.
    """

    id: int
    token: str
    bytes: list[int]
    logprob: float | None = None
    prob: float | None = Field(default=None, description="With `post_sampling_probs`.")


class SampledProbability(TokenProbability):
    """An entry of ``completion_probabilities``: a sampled token and the likeliest ones."""

    top_logprobs: list[TokenProbability] | None = None
    top_probs: list[TokenProbability] | None = Field(
        default=None, description="With `post_sampling_probs`: those that the samplers left."
    )


class LlamaCppResult(Body):
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


class LlamaCppChunk(Body):
    """Event of a streamed answer, with OpenAI's fields too. The last one of a choice has a body's.

    It is sent as bytes that `shared.protocol.llama_cpp.format` puts together.
    """

    index: int
    content: str
    tokens: list[int]
    stop: Literal[False]
    id_slot: int = Field(default=-1, description="Always -1: there are no slots to choose.")
    tokens_predicted: int
    tokens_evaluated: int
    completion_probabilities: list[SampledProbability] | None = None
    timings: Timings | None = None
    prompt_progress: Progress | None = None
    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    system_fingerprint: str
    service_tier: str
    choices: list[TextChunkChoice]
    usage: None = None


class TokenPiece(Body):
    """A token with its text, or with its bytes if they alone are no UTF-8."""

    id: int
    piece: str | list[int]


class Tokens(Body):
    """Body of ``POST /tokenize``."""

    tokens: list[int] | list[TokenPiece]


class DetokenizedText(Body):
    """Body of ``POST /detokenize``."""

    content: str


class RenderedPrompt(Body):
    """Body of ``POST /apply-template``."""

    prompt: str


class GenerationDefaults(Body):
    """``default_generation_settings`` of ``GET /props``."""

    params: dict[str, Any] = Field(description="As a completion's `generation_settings`.")
    n_ctx: int = Field(description="Tokens that one sequence may have, prompt and answer.")


class NextToken(Body):
    """How far the text of a slot is."""

    has_next_token: bool
    n_remain: int = Field(description="Tokens that may still be sampled.")
    n_decoded: int = Field(description="Tokens sampled so far.")


class Slot(Body):
    """An entry of ``GET /slots``. All after `is_processing` is there for one's own requests."""

    id: int
    n_ctx: int = Field(description="Tokens that one sequence may have, prompt and answer.")
    speculative: bool = False
    is_processing: bool
    id_task: int | None = Field(default=None, description="In the order of arrival.")
    n_prompt_tokens: int | None = None
    n_prompt_tokens_processed: int | None = Field(
        default=None, description="Evaluated so far, cached ones not among them."
    )
    n_prompt_tokens_cache: int | None = None
    params: dict[str, Any] | None = Field(
        default=None, description="How it is sampled, as in `generation_settings`."
    )
    next_token: list[NextToken] | None = None


class Modalities(Body):
    """What prompts may carry beside text."""

    vision: bool = False
    video: bool = False
    audio: bool = False


class Props(Body):
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
