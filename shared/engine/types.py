"""Requests, outputs and errors of the engine. Imports neither NumPy nor llama.cpp.

What each request is made into is not frozen, though nobody changes it: with 23 fields a frozen
dataclass takes 6 us to make, another one 1.6.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Literal

from shared.engine.speculation.options import NO_LIMITS, DraftLimits

if TYPE_CHECKING:
    from shared.engine.detokenizer import StopScope
    from shared.engine.grammar.constraint import Constraint
    from shared.engine.sampling.logit_bias import LogitBias

FinishReason = Literal["stop", "length", "cancelled", "error"]


class Priority(IntEnum):
    """The scheduler's order of service tiers; lower values are served first."""

    PRIORITY = 0
    DEFAULT = 1
    FLEX = 2


@dataclass(slots=True, kw_only=True)
class SamplingParams:
    """How to sample; names and meanings are those of the API fields.

    The defaults are OpenAI's: the model's own distribution, nothing cut off, nothing penalised.
    ``seed`` is any 64-bit integer. ``top_k`` 0, ``min_p`` 0 and ``typical_p`` 1 are off.
    ``repeat_last_n`` counts sampled tokens; -1 means all of them.
    ``dry_*`` (don't repeat yourself), ``xtc_*`` (exclude top choices) and ``mirostat`` are
    llama.cpp's; a multiplier, a probability and a version of 0 are off.
    """

    seed: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    typical_p: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repeat_penalty: float = 1.0
    repeat_last_n: int = 64
    logit_bias: LogitBias | None = None
    ignore_eos: bool = False
    min_tokens: int = 0
    dry_multiplier: float = 0.0
    dry_base: float = 1.75
    dry_allowed_length: int = 2
    dry_penalty_last_n: int = -1
    dry_sequence_breakers: tuple[str, ...] = ("\n", ":", '"', "*")
    xtc_probability: float = 0.0
    xtc_threshold: float = 0.1
    mirostat: Literal[0, 1, 2] = 0
    mirostat_tau: float = 5.0
    mirostat_eta: float = 0.1


@dataclass(slots=True, kw_only=True)
class GenerationRequest:
    """One prompt and what to make of it.

    ``deadline`` is on `time.monotonic`'s clock, in seconds: what has not ended by then, be it still
    waiting, ends at the engine's next step with finish reason ``length`` and what there is.
    ``top_logprobs`` None asks for no log probabilities, 0 for the sampled
    token's only; ``post_sampling`` asks for those that the samplers leave, of the sampled tokens;
    ``prompt_logprobs`` asks for those of the prompt's tokens too, which evaluates
    all of it, and for that of a token which ends the sequence. ``cache_prompt`` False evaluates the
    whole prompt anew; prefixes are shared among a tenant's requests with the same ``cache_salt``.
    ``stores_prefix`` says whether the prompt's beginnings go into a store that outlives the
    process, if there is one; None for those that were seen before.
    With ``max_tokens`` 0 the prompt is evaluated and nothing is sampled.

    ``constraint`` limits the completion to a grammar. ``visible_tokens`` are control tokens that
    appear in the text. ``return_tokens`` puts token ids into the outputs, ``return_progress`` sends
    an output for each evaluated chunk of the prompt, and ``usage_per_output`` counts in each.
    ``stop_scope`` makes for each choice what tells where in its text ``stop`` counts; None for
    everywhere.
    ``prediction``: what the completion will mostly be, which makes it faster, and nothing else;
    ``drafts``: how long drafts of it may be, likewise.
    ``n_keep`` and ``n_discard``: where a full context is shifted, how many of its first tokens
    stay, -1 for the prompt's, and how many of the others go at least; see `ContextWindow`.
    """

    prompt: Sequence[int]
    max_tokens: int
    sampling: SamplingParams
    n: int = 1
    stop: tuple[str, ...] = ()
    stop_scope: Callable[[], StopScope] | None = None
    priority: Priority = Priority.DEFAULT
    deadline: float | None = None
    top_logprobs: int | None = None
    post_sampling: bool = False
    prompt_logprobs: bool = False
    cache_prompt: bool = True
    cache_salt: str = ""
    stores_prefix: bool | None = None
    constraint: Constraint | None = None
    visible_tokens: frozenset[int] = frozenset()
    return_tokens: bool = False
    return_progress: bool = False
    usage_per_output: bool = False
    prediction: Sequence[int] = ()
    drafts: DraftLimits = NO_LIMITS
    n_keep: int = -1
    n_discard: int = 0


@dataclass(frozen=True, slots=True)
class Logprob:
    """A token with its natural log probability: the model's, or what the samplers leave of it."""

    token: int
    logprob: float


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """A sampled token's log probability and the likeliest alternatives, in descending order."""

    sampled: Logprob
    top: tuple[Logprob, ...]


@dataclass(slots=True, kw_only=True)
class SequenceUsage:
    """What one finished sequence cost: tokens, and seconds waiting, in prefill and in decode.

    - ``restored_tokens``: of the cached ones, those that were not in KV cells but elsewhere.
    - ``restore_seconds``: of those waiting, what looking for them took.
    - ``cache_write_tokens``: tokens of the prompt that were written to a store.
    - ``draft_tokens``: tokens that were drafted, ``accepted_draft_tokens`` of which are in the
      completion; ``prediction_tokens`` and ``accepted_prediction_tokens`` are those among them that
      were drafted from the request's prediction.
    - ``dropped_tokens``: of prompt and completion, those that context shift has dropped.
    """

    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    queue_seconds: float
    prefill_seconds: float
    decode_seconds: float
    restored_tokens: int = 0
    restore_seconds: float = 0.0
    cache_write_tokens: int = 0
    draft_tokens: int = 0
    accepted_draft_tokens: int = 0
    prediction_tokens: int = 0
    accepted_prediction_tokens: int = 0
    dropped_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptProgress:
    """How far a prompt's evaluation is, in tokens; ``seconds`` since it began."""

    total: int
    cached: int
    processed: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningSequence:
    """A sequence with KV cells: whose it is, and how far it has come, in tokens.

    - ``processed``: of the prompt, those that are evaluated, cached ones among them.
    - ``remaining``: that may still be sampled.
    """

    tenant: str
    arrival: int
    prompt: int
    processed: int
    cached: int
    sampled: int
    remaining: int
    sampling: SamplingParams


@dataclass(slots=True)
class Output:
    """What a step adds to one choice: text, and at the end the reason and the usage.

    ``index`` is the choice's, 0 to n - 1. ``logprobs`` and ``tokens`` have an entry for each token
    sampled since the output before, when the request asked for them. ``prompt_logprobs`` has one
    for each token of the prompt, None for the first, and comes with the first output of a request's
    first choice. ``stop`` is the stop string that was found. ``reached_deadline``: the request's
    deadline is why it ended with reason ``length``. ``error`` says, where the reason is ``error``,
    what the request asked for that can't be done; None for failures of the engine's own.
    ``n_sampled``: tokens of the choice so far, those that have shown no text yet included; 0 before
    the first.
    """

    index: int
    text: str
    logprobs: Sequence[TokenLogprobs] = ()
    finish_reason: FinishReason | None = None
    stop: str | None = None
    usage: SequenceUsage | None = None
    tokens: Sequence[int] = ()
    prompt_logprobs: Sequence[TokenLogprobs | None] = ()
    progress: PromptProgress | None = None
    reached_deadline: bool = False
    error: str | None = None
    n_sampled: int = 0


class EngineError(Exception):
    """Base of what `Engine.submit` raises."""


class QueueFullError(EngineError):
    """The tenant's bounded queue has no room now; there likely is in ``retry_after`` seconds."""

    def __init__(self, n_live: int, retry_after: int) -> None:
        self.retry_after = retry_after
        super().__init__(f"{n_live} completions are running or waiting")


class TooManySequencesError(EngineError):
    """The request has more sequences than the queue ever has room for."""

    def __init__(self, n_sequences: int, limit: int) -> None:
        self.n_sequences = n_sequences
        self.limit = limit
        super().__init__(f"{n_sequences} sequences; a request may have {limit}")


class EngineStoppedError(EngineError):
    """The engine is stopping, or its thread died."""


class ContextLengthError(EngineError):
    """The prompt can never fit into the context."""

    def __init__(self, n_prompt: int, n_ctx: int) -> None:
        self.n_prompt = n_prompt
        self.n_ctx = n_ctx
        super().__init__(f"a prompt of {n_prompt} tokens does not fit a context of {n_ctx}")
