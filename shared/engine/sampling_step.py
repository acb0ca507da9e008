"""Sampling step: tokens for sequences from rows of logits, and the outputs that these make."""

from __future__ import annotations

import logging

from shared.engine.config import EngineStats
from shared.engine.kv_cache.cache import KVCache
from shared.engine.late_masks import LateSequences
from shared.engine.llama.context import LogitsArray
from shared.engine.llama.model import Model
from shared.engine.mailbox.generation import Delivery
from shared.engine.sampling.logprobs import DrawnFrom, LogprobRow
from shared.engine.sampling.sampler import BatchSampler, Sampler
from shared.engine.sequence import Sequence, running_entry
from shared.engine.types import FinishReason

_log = logging.getLogger("pilotlight.engine")


class SamplingStep:
    """Samples a token for each of several sequences, which take it or end."""

    def __init__(self, model: Model, kv: KVCache, late: LateSequences, stats: EngineStats) -> None:
        self._model = model
        self._kv = kv
        self._late = late
        self._stats = stats
        self._sampler = BatchSampler(model.n_vocab, lambda: model.end_tokens)

    def sample(self, logits: LogitsArray, ready: list[Sequence]) -> list[Delivery]:
        """Sample for sequences whose known tokens are all evaluated now, and masks are ready."""
        deliveries: list[Delivery] = []
        late = self._late.keep(ready, logits)
        going: list[int] = []
        has_logprobs = False
        for i, sequence in enumerate(ready):
            if late and sequence in late:
                continue
            constraint = sequence.sampler.constraint
            if constraint is not None and constraint.is_complete:
                deliveries.append(self._finish(sequence, "stop"))
            elif not sequence.n_remaining:  # the prompt was all that it is about
                deliveries.append(self._finish(sequence, "length"))
            else:
                going.append(i)
                has_logprobs |= sequence.request.top_logprobs is not None
        if len(going) < len(ready):
            logits, ready = logits[going], [ready[i] for i in going]
        if not ready:
            return deliveries
        logprob_rows = _logprob_rows(logits, ready) if has_logprobs else {}
        tokens = self._sampler.sample(logits, [s.sampler for s in ready])
        is_end = self._model.is_end_of_generation
        for sequence, token in zip(ready, tokens, strict=True):
            first = not sequence.sampled
            row = logprob_rows.get(sequence) if logprob_rows else None
            output = sequence.add_token(
                token,
                is_end=is_end(token),
                logprobs=row.of(token, sequence.request.top_logprobs or 0) if row else None,
            )
            if first:
                self._count_prompt(sequence)
            if sequence.finish_reason == "error":
                _log_failure(sequence)
            elif sequence.finish_reason is None:
                self._kv.append(running_entry(sequence), token)
            if output is not None:
                deliveries.append((sequence.generation, output))
        self._stats.completion_tokens += len(tokens)
        return deliveries

    def is_end(self, token: int) -> bool:
        """Whether ``token`` ends a generation."""
        return self._model.is_end_of_generation(token)

    def draw(self, logits: LogitsArray, samplers: list[Sampler]) -> list[int]:
        """A token from each row of ``logits``, for sequences that need nothing else of it."""
        return self._sampler.sample(logits, samplers)

    def take(self, sequences: list[Sequence], steps: list[list[int]]) -> list[Delivery]:
        """Let each sequence have its tokens of ``steps``, which `draw` gave; none is a first one.

        Only the last step may end a sequence.
        """
        deliveries: list[Delivery] = []
        for sequence, *tokens in zip(sequences, *steps, strict=True):
            outputs = sequence.add_tokens(tokens, is_end=self.is_end(tokens[-1]))
            if sequence.finish_reason is not None:
                tokens.pop()
            self._kv.extend(running_entry(sequence), tokens)
            generation = sequence.generation
            deliveries += [(generation, output) for output in outputs]
        self._stats.completion_tokens += len(steps) * len(sequences)
        return deliveries

    def _finish(self, sequence: Sequence, reason: FinishReason) -> Delivery:
        """End a sequence without another token."""
        if not sequence.sampled:
            self._count_prompt(sequence)
        output = sequence.finish(reason)
        if sequence.finish_reason == "error":
            _log_failure(sequence)
        return sequence.generation, output

    def _count_prompt(self, sequence: Sequence) -> None:
        """Prompts count once per request, as OpenAI's usage does."""
        if sequence.choice == 0:
            self._stats.prompt_tokens += sequence.n_prompt
            self._stats.cached_tokens += sequence.n_cached


def _logprob_rows(
    logits: LogitsArray, ready: list[Sequence]
) -> dict[Sequence, LogprobRow | DrawnFrom]:
    """What the log probabilities of those that want them are read from."""
    return {
        sequence: sequence.sampler.drawn_from or LogprobRow(logits[i])
        for i, sequence in enumerate(ready)
        if sequence.request.top_logprobs is not None
    }


def _log_failure(sequence: Sequence) -> None:
    assert sequence.sampler.constraint is not None
    _log.warning("a grammar failed: %s", sequence.sampler.constraint.error)
