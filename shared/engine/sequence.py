"""Sequence: one choice of one request, its tokens, and how they become output."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from shared.engine.context_tokens import ContextTokens
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
from shared.engine.usage_counts import UsageCounts

if TYPE_CHECKING:
    from shared.engine.mailbox.generation import Generation
    from shared.engine.speculation.draft import Draft
    from shared.engine.speculation.drafter import Drafter


class Sequence(ContextTokens):
    """State from admission to the end: tokens, KV entry, sampler, text.

    ``entry`` is None while the sequence waits, before its first prefill or after a preemption.
    """

    __slots__ = (
        "_counts",
        "_detokenizer",
        "_pending_logprobs",
        "_pending_tokens",
        "_stops",
        "arrival",
        "choice",
        "draft_texts",
        "drafter",
        "entry",
        "finish_reason",
        "generation",
        "index",
        "n_cached",
        "n_restored",
        "prefix",
        "prompt_logprobs",
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
        super().__init__(request, prompt, window)
        self.generation = generation
        self.index = index
        self.choice = choice
        self.n_cached = 0
        self.n_restored = 0
        self.prefix: PromptPrefix | None = None
        """What there is of the prompt besides the KV cells, until it has its entry."""
        self.draft_texts = draft_texts
        self.drafter: Drafter | None = None
        """Where its drafts come from, once there was room for one."""
        self.entry: KVEntry | None = None
        self.arrival = 0
        """The order of arrival, which the scheduler sets."""
        self.was_preempted = False
        constraint = request.constraint.start() if request.constraint is not None else None
        self.sampler = Sampler(request.sampling, choice, constraint, vocabulary.piece)
        if request.post_sampling and request.top_logprobs is not None:
            self.sampler.drawn_from = DrawnFrom()
        self.finish_reason: FinishReason | None = None
        self.prompt_logprobs: list[TokenLogprobs | None] | None = (
            [None] if request.prompt_logprobs and choice == 0 else None
        )
        self._pending_tokens: list[int] | None = [] if request.return_tokens else None
        self._detokenizer = Detokenizer(vocabulary, request.visible_tokens)
        scope = request.stop_scope() if request.stop and request.stop_scope is not None else None
        self._stops = StopStrings(request.stop, scope) if request.stop else None
        self._pending_logprobs: list[TokenLogprobs] = []
        self._counts = UsageCounts(generation.submitted)

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
        counts = self._counts
        if counts.time_admitted is None:
            counts.time_admitted = time.monotonic()
            self.n_cached = entry.n_evaluated
            self.n_restored = entry.n_restored
        if self.prefix is not None:
            self.prefix.drop()

    def progress(self) -> Output:
        """An output that tells how much of the prompt is evaluated."""
        time_admitted = self._counts.time_admitted
        assert self.entry is not None
        assert time_admitted is not None
        progress = PromptProgress(
            total=self.n_prompt,
            cached=self.n_cached,
            processed=self.entry.n_evaluated,
            seconds=time.monotonic() - time_admitted,
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
        if not self.sampled:
            self._counts.time_first_token = time.monotonic()
        self.sampled.append(token)
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

    def add_tokens(self, tokens: list[int], *, is_end: bool) -> list[Output]:
        """Take tokens that were sampled without a look at what became of those before.

        ``is_end``: of the last one. There is neither a constraint, nor stop strings, nor log
        probabilities, and none of the others is the last that there may be.
        """
        before, last = tokens[:-1], tokens[-1]
        outputs: list[Output] = []
        if self._pending_tokens is not None or self.request.usage_per_output:
            for token in before:
                output = self.add_token(token, is_end=False, logprobs=None)
                if output is not None:
                    outputs.append(output)
        elif before:
            n_sampled = len(self.sampled)
            self.sampled += before
            text_of, index = self._detokenizer.add, self.index
            for token in before:
                n_sampled += 1
                if text := text_of(token):
                    outputs.append(Output(index, text, n_sampled=n_sampled))
        output = self.add_token(last, is_end=is_end, logprobs=None)
        if output is not None:
            outputs.append(output)
        return outputs

    def count_draft(self, draft: Draft) -> None:
        """Note a draft that was evaluated."""
        counts = self._counts
        counts.n_drafted += len(draft.tokens)
        if draft.is_predicted:
            counts.n_predicted += len(draft.tokens)

    def accepts(self, draft: Draft) -> bool:
        """Whether it goes on with the draft's next token: that is the one just sampled."""
        if self.finish_reason is not None or not draft.foretells(self.sampled[-1]):
            return False
        draft.n_accepted += 1
        counts = self._counts
        counts.n_accepted += 1
        if draft.is_predicted:
            counts.n_accepted_predicted += 1
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
        restore_seconds = self.prefix.seconds if self.prefix is not None else 0.0
        return self._counts.usage(self, self.n_cached, self.n_restored, restore_seconds)


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
