"""Sequence: one choice of one request, its tokens, and how they become output."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from shared.engine.context_window import ContextWindow
from shared.engine.detokenizer import Detokenizer, StopStrings, Vocabulary
from shared.engine.kv_cache.cells import KVEntry
from shared.engine.llama.tokenizer import TokenArray, as_tokens
from shared.engine.prefixes.prompt import PromptPrefix, Salt
from shared.engine.sampling.logprobs import DrawnFrom
from shared.engine.sampling.sampler import Sampler
from shared.engine.speculation.texts import DraftTexts
from shared.engine.types import (
    FinishReason,
    GenerationRequest,
    Output,
    PromptProgress,
    RunningSequence,
    SequenceUsage,
    TokenLogprobs,
)

if TYPE_CHECKING:
    from shared.engine.mailbox.generation import Generation
    from shared.engine.speculation.draft import Draft
    from shared.engine.speculation.drafter import Drafter


class Sequence:
    """State from admission to the end: tokens, KV entry, sampler, text.

    ``entry`` is None while the sequence waits, before its first prefill or after a preemption.
    """

    __slots__ = (
        "_beginning",
        "_detokenizer",
        "_max_tokens",
        "_n_before",
        "_pending_logprobs",
        "_pending_tokens",
        "_stops",
        "_submitted",
        "_time_admitted",
        "_time_first_token",
        "_window",
        "arrival",
        "choice",
        "draft_texts",
        "drafter",
        "entry",
        "finish_reason",
        "generation",
        "index",
        "n_accepted",
        "n_accepted_predicted",
        "n_cached",
        "n_drafted",
        "n_dropped",
        "n_predicted",
        "n_prompt",
        "n_restored",
        "prefix",
        "prompt",
        "prompt_logprobs",
        "request",
        "sampled",
        "sampler",
        "was_preempted",
    )

    def __init__(
        self,
        *,
        generation: Generation,
        request: GenerationRequest,
        prompt: TokenArray,
        index: int,
        choice: int,
        draft_texts: DraftTexts,
        vocabulary: Vocabulary,
        window: ContextWindow,
    ) -> None:
        """``index`` numbers the choices of all requests, ``choice`` those of this one.

        ``prompt`` and ``draft_texts`` are all choices'.
        """
        self.generation = generation
        self.request = request
        self.prompt = prompt
        self.index = index
        self.choice = choice
        self.n_prompt = len(prompt)
        self.n_cached = 0
        self.n_restored = 0
        self._window = window
        self._beginning = prompt
        self._n_before = 0
        """Sampled tokens that are in ``_beginning``, or dropped."""
        self.n_dropped = 0
        self.prefix: PromptPrefix | None = None
        """What there is of the prompt besides the KV cells, until it has its entry."""
        self.sampled: list[int] = []
        self.draft_texts = draft_texts
        self.drafter: Drafter | None = None
        """Where its drafts come from, once there was room for one."""
        self.n_drafted = 0
        self.n_accepted = 0
        self.n_predicted = 0
        self.n_accepted_predicted = 0
        self.entry: KVEntry | None = None
        self.arrival = 0
        """The order of arrival, which the scheduler sets."""
        self.was_preempted = False
        constraint = request.constraint.start() if request.constraint is not None else None
        self.sampler = Sampler(request.sampling, choice, constraint, vocabulary.piece)
        if request.post_sampling and request.top_logprobs is not None:
            self.sampler.drawn_from = DrawnFrom()
        self.finish_reason: FinishReason | None = None
        self._max_tokens = window.most(request)
        self.prompt_logprobs: list[TokenLogprobs | None] | None = (
            [None] if request.prompt_logprobs and choice == 0 else None
        )
        self._pending_tokens: list[int] | None = [] if request.return_tokens else None
        self._detokenizer = Detokenizer(vocabulary, request.visible_tokens)
        scope = request.stop_scope() if request.stop and request.stop_scope is not None else None
        self._stops = StopStrings(request.stop, scope) if request.stop else None
        self._pending_logprobs: list[TokenLogprobs] = []
        self._submitted = generation.submitted
        self._time_admitted: float | None = None
        self._time_first_token: float | None = None

    @property
    def n_tokens(self) -> int:
        """Prompt and sampled tokens, but for those that context shift has dropped."""
        return len(self._beginning) + len(self.sampled) - self._n_before

    @property
    def last_token(self) -> int:
        """The token that a decode evaluates."""
        return self.sampled[-1] if self.sampled else int(self.prompt[-1])

    @property
    def n_remaining(self) -> int:
        """Tokens that may still be sampled."""
        return self._max_tokens - len(self.sampled)

    @property
    def n_room(self) -> int:
        """Tokens that may still be sampled before the context is full."""
        return min(self.n_remaining, self._window.n_ctx - self.n_tokens)

    @property
    def tokens(self) -> TokenArray:
        """Prompt and sampled tokens: what a prefill after a preemption has to evaluate."""
        sampled = self.sampled[self._n_before :]
        if not sampled:
            return self._beginning
        return np.concatenate([self._beginning, np.array(sampled, dtype=np.int32)])

    def shift_context(self) -> int:
        """Drop tokens of a full context; how many of its first ones have stayed."""
        n_tokens = self.n_tokens
        self._beginning, n_kept = self._window.shift(self.tokens, self.request)
        self._n_before = len(self.sampled)
        self.n_dropped += n_tokens - self.n_tokens
        return n_kept

    @property
    def scores_prompt(self) -> bool:
        """Whether log probabilities of the prompt's tokens are still to be computed."""
        return self.prompt_logprobs is not None and len(self.prompt_logprobs) < self.n_prompt

    @property
    def shares_prefix(self) -> bool:
        """Whether KV cells of others may stand for the beginning of the prompt.

        Scoring needs all logits. Of several choices only the first evaluates the prompt.
        """
        if self.scores_prompt:
            return False
        return self.request.cache_prompt or self.choice > 0 or bool(self.sampled)

    @property
    def cache_salt(self) -> Salt:
        """Whose sequences it may share prefixes with."""
        return self.generation.tenant, self.request.cache_salt

    def admit(self, entry: KVEntry) -> None:
        """Take the KV entry that the sequence will be evaluated in."""
        self.entry = entry
        if self.prompt_logprobs is not None and self.scores_prompt:
            del self.prompt_logprobs[1:]  # of a prefill that was preempted
        if self._time_admitted is None:
            self._time_admitted = time.monotonic()
            self.n_cached = entry.n_evaluated
            self.n_restored = entry.n_restored
        if self.prefix is not None:
            self.prefix.drop()

    def progress(self) -> Output:
        """An output that tells how much of the prompt is evaluated."""
        assert self.entry is not None
        assert self._time_admitted is not None
        progress = PromptProgress(
            total=self.n_prompt,
            cached=self.n_cached,
            processed=self.entry.n_evaluated,
            seconds=time.monotonic() - self._time_admitted,
        )
        return Output(self.index, "", progress=progress)

    def snapshot(self) -> RunningSequence:
        """How far it has come; from any thread, consistent to within a step."""
        entry = self.entry
        evaluated = 0 if entry is None else entry.n_evaluated
        return RunningSequence(
            tenant=self.generation.tenant,
            arrival=self.arrival,
            prompt=self.n_prompt,
            processed=min(evaluated, self.n_prompt),
            cached=self.n_cached,
            sampled=len(self.sampled),
            remaining=self.n_remaining,
            sampling=self.request.sampling,
        )

    def add_token(
        self, token: int, *, is_end: bool, logprobs: TokenLogprobs | None
    ) -> Output | None:
        """Take a sampled token; the output it gives, if there is something to show."""
        self.sampled.append(token)
        if self._time_first_token is None:
            self._time_first_token = time.monotonic()
        if self._pending_tokens is not None:
            self._pending_tokens.append(token)
        if logprobs is not None and (not is_end or self.request.prompt_logprobs):
            # Harnesses that score a prompt cut off one token behind it, even if that is the end.
            self._pending_logprobs.append(logprobs)
        if is_end:
            return self.finish("stop")
        text = self._detokenizer.add(token)
        if self._stops is not None:
            text = self._stops.add(text)
            if self._stops.found is not None:
                return self.finish("stop", text, stop=self._stops.found)
        constraint = self.sampler.constraint
        if constraint is not None and constraint.is_complete:
            return self.finish("stop", text)
        is_undecided = constraint is not None and constraint.is_pending
        if len(self.sampled) >= self._max_tokens and not is_undecided:
            return self.finish("length", text)
        if not text and self.prompt_logprobs is None:
            return None
        return self._output(text)

    def count_draft(self, draft: Draft) -> None:
        """Note a draft that was evaluated."""
        self.n_drafted += len(draft.tokens)
        if draft.is_predicted:
            self.n_predicted += len(draft.tokens)

    def accepts(self, draft: Draft) -> bool:
        """Whether it goes on with the draft's next token: that is the one just sampled."""
        if self.finish_reason is not None or not draft.foretells(self.sampled[-1]):
            return False
        draft.n_accepted += 1
        self.n_accepted += 1
        if draft.is_predicted:
            self.n_accepted_predicted += 1
        return True

    def finish(self, reason: FinishReason, text: str = "", stop: str | None = None) -> Output:
        """End the sequence; the last output carries what was held back, and the usage."""
        self.finish_reason = reason
        if stop is None:
            rest = self._detokenizer.flush()
            if self._stops is not None:
                # The unfinished character is text too, and may complete a stop string.
                text += self._stops.add(rest)
                if self._stops.found is None:
                    text += self._stops.flush()
                if self._stops.found is not None and reason == "length":
                    self.finish_reason, stop = "stop", self._stops.found
            else:
                text += rest
        output = self._output(text)
        constraint = self.sampler.constraint
        if reason == "stop" and constraint is not None and (error := constraint.error):
            self.finish_reason, output.error = "error", error  # it only looks like an end
        output.finish_reason, output.stop, output.usage = self.finish_reason, stop, self._usage()
        return output

    def _output(self, text: str) -> Output:
        """An output with all that came since the one before."""
        output = Output(self.index, text, n_sampled=len(self.sampled))
        if self._pending_logprobs:
            output.logprobs, self._pending_logprobs = self._pending_logprobs, []
        if self._pending_tokens is not None:
            output.tokens, self._pending_tokens = self._pending_tokens, []
        if self.prompt_logprobs is not None:
            output.prompt_logprobs, self.prompt_logprobs = self.prompt_logprobs, None
        if self.request.usage_per_output:
            output.usage = self._usage()
        return output

    def _usage(self) -> SequenceUsage:
        now = time.monotonic()
        admitted = self._time_admitted or now
        first = self._time_first_token or now
        return SequenceUsage(
            prompt_tokens=self.n_prompt,
            cached_tokens=self.n_cached,
            restored_tokens=self.n_restored,
            restore_seconds=self.prefix.seconds if self.prefix is not None else 0.0,
            completion_tokens=len(self.sampled),
            queue_seconds=admitted - self._submitted,
            prefill_seconds=first - admitted,
            decode_seconds=now - first,
            draft_tokens=self.n_drafted,
            accepted_draft_tokens=self.n_accepted,
            prediction_tokens=self.n_predicted,
            accepted_prediction_tokens=self.n_accepted_predicted,
            dropped_tokens=self.n_dropped,
        )


def running_entry(sequence: Sequence) -> KVEntry:
    """The KV entry of a sequence that runs."""
    assert sequence.entry is not None
    return sequence.entry


def sequences_of(
    generation: Generation, vocabulary: Vocabulary, window: ContextWindow
) -> list[Sequence]:
    """A sequence for each choice of each of a caller's requests."""
    sequences: list[Sequence] = []
    for request in generation.requests:
        prompt = as_tokens(request.prompt)
        draft_texts = DraftTexts(prompt, request.prediction)
        for choice in range(request.n):
            sequence = Sequence(
                generation=generation,
                request=request,
                prompt=prompt,
                index=len(sequences),
                choice=choice,
                draft_texts=draft_texts,
                vocabulary=vocabulary,
                window=window,
            )
            sequences.append(sequence)
    return sequences
