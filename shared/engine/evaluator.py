"""Evaluation of a batch: fill, decode, score the prompt; then the sampling step."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import numpy as np

from shared.engine.batching.plan import Plan, are_consecutive
from shared.engine.batching.prompt_costs import PromptCosts
from shared.engine.batching.prompt_groups import add_chunks, prompt_groups
from shared.engine.batching.row_costs import RowCosts
from shared.engine.batching.row_padding import RowPadding
from shared.engine.config import EngineStats
from shared.engine.kv_cache.cache import KVCache
from shared.engine.late_masks import LateSequences
from shared.engine.llama.context import (
    Batch,
    Context,
    KVCacheFullError,
    LogitsArray,
)
from shared.engine.llama.errors import LlamaError
from shared.engine.llama.model import Model
from shared.engine.mailbox.generation import Delivery
from shared.engine.multi_step import MultiStep
from shared.engine.sampling.logprobs import LogprobRow
from shared.engine.sampling_step import SamplingStep
from shared.engine.sequence import Sequence, running_entry
from shared.engine.speculation.verification import add_with_drafts, rows_at, verify

_NO_LOGITS = np.empty((0, 0), dtype=np.float32)


class Evaluator:
    """Evaluates plans on a context, and lets their sequences have what comes of it."""

    def __init__(
        self,
        model: Model,
        context: Context,
        kv: KVCache,
        stats: EngineStats,
        *,
        n_batch: int,
        on_late: Callable[[], None],
        is_interrupted: Callable[[], bool],
    ) -> None:
        """``n_batch``: tokens in the largest plan.

        ``on_late``: see `LateSequences`, ``is_interrupted``: see `MultiStep`.
        """
        self.costs = RowCosts(model.logits_factor)
        self.prompt_costs = PromptCosts()
        self._context = context
        self._kv = kv
        self._stats = stats
        self._batch = Batch(n_batch)
        self._padding = RowPadding(kv, self.costs, n_batch)
        self.late = LateSequences(on_late)
        self.sampling = SamplingStep(model, kv, self.late, stats)
        self.multi_step = MultiStep(
            *(context, kv, self.late, self.sampling),
            costs=self.costs,
            stats=stats,
            batch=self._batch,
            is_interrupted=is_interrupted,
        )

    def evaluate(self, plan: Plan) -> list[Delivery]:
        """The outputs of a batch; sequences that ended have a finish reason now.

        Raises `KVCacheFullError` when there are no cells for it, before anything has changed, and
        `LlamaError` when llama.cpp fails.
        """
        if plan.is_multi_step:
            return self.multi_step.evaluate(plan.decodes)
        self._batch.clear()
        self.late.start_masks(plan)
        beginnings = _beginnings(plan)
        if plan.chunks:
            return beginnings + self._evaluate_chunks(plan)
        if plan.drafts:
            return beginnings + self._evaluate_drafts(plan)
        return beginnings + self._evaluate_decodes(plan.decodes)

    def _evaluate_decodes(self, decodes: list[Sequence]) -> list[Delivery]:
        """Evaluate a token for each sequence."""
        padding: list[tuple[int, int]] = []
        if len(decodes) > 1:
            padding = self._padding.rows_beside([running_entry(s) for s in decodes])
        rows = self._add_decodes(decodes, padding)
        started = perf_counter()
        try:
            self._context.decode(self._batch)
        finally:
            for seq_id, position in padding:
                self._kv.remove_behind(seq_id, position)
        logits = self._context.logits(self._batch.size)
        seconds = self.late.decode_seconds = perf_counter() - started
        if padding or self._kv.is_unified or len(decodes) == 1 or are_consecutive(decodes):
            self.costs.observe(self._batch.size, seconds)
        self._count_step(len(decodes))
        if padding:
            logits = rows_at(logits, rows)
        return self._advanced(decodes) + self.sampling.sample(logits, decodes)

    def _advanced(self, decodes: list[Sequence]) -> list[Delivery]:
        """Note that a token of each is evaluated; the progress of prompts that end with it."""
        deliveries: list[Delivery] = []
        for sequence in decodes:
            assert sequence.entry is not None
            self._kv.advance(sequence.entry, 1)
            if not sequence.sampled and sequence.request.return_progress:
                deliveries.append((sequence.generation, sequence.progress()))
        return deliveries

    def _count_step(self, n_tokens: int) -> None:
        self._stats.steps += 1
        self._stats.evaluated_tokens += n_tokens

    def _add_decodes(self, decodes: list[Sequence], padding: list[tuple[int, int]]) -> list[int]:
        """Add a token for each of ``decodes``, and padding; the rows that their logits will be in.

        With shares, llama.cpp decodes together what has ascending ids.
        """
        tokens, positions, seq_ids = [], [], []
        for sequence in decodes:
            entry = sequence.entry
            assert entry is not None  # `running_entry` is a call more for each token
            tokens.append(sequence.last_token)
            positions.append(entry.n_evaluated)
            seq_ids.append(entry.seq_id)
        rows = list(range(len(decodes)))
        if padding:
            for seq_id, position in padding:
                tokens.append(0)
                positions.append(position)
                seq_ids.append(seq_id)
            if not self._kv.is_unified:
                order = sorted(range(len(seq_ids)), key=seq_ids.__getitem__)
                tokens, positions, seq_ids = (
                    [each[i] for i in order] for each in (tokens, positions, seq_ids)
                )
                rows = [order.index(row) for row in rows]
        self._batch.add_decodes(tokens, positions, seq_ids)
        return rows

    def _evaluate_chunks(self, plan: Plan) -> list[Delivery]:
        """Evaluate chunks of prompts, and a token for each sequence that decodes beside them.

        Where sequences have shares, chunks are in one batch only as `prompt_groups` has it: then
        logits are copied before the next batch overwrites them, and all are sampled from at once,
        which takes less time and wakes the event loop once.
        """
        self.late.decode_seconds = 0.0
        sample = self.sampling.sample
        if self._kv.is_unified or len(plan.chunks) == 1:
            deliveries, ready, logits = self._decode_chunks(plan)
            return deliveries + sample(logits, ready) if ready else deliveries
        deliveries = []
        ready = []
        rows: list[LogitsArray] = []
        groups = prompt_groups(
            *(plan.chunks, self._kv),
            call_tokens=self.prompt_costs.call_tokens,
            n_most=self._context.n_ubatch,
        )
        for i, chunks in enumerate(groups):
            self._batch.clear()
            try:
                of_chunks, whole, logits = self._decode_chunks(Plan(chunks=chunks))
            except KVCacheFullError as error:
                if not i:
                    raise
                raise LlamaError(f"after {i} of {len(groups)} batches: {error}") from error
            deliveries += of_chunks
            if whole:
                ready += whole
                rows.append(logits.copy())
        return deliveries + sample(np.concatenate(rows), ready) if ready else deliveries

    def _decode_chunks(self, plan: Plan) -> tuple[list[Delivery], list[Sequence], LogitsArray]:
        """Evaluate one batch with chunks of prompts.

        Returns progress, the sequences that can be sampled from now, and their rows of logits.
        """
        batch, kv = self._batch, self._kv
        if plan.decodes:
            self._add_decodes(plan.decodes, [])
        padding = add_chunks(batch, plan.chunks, kv)
        started = perf_counter()
        try:
            self._context.decode(batch)
        finally:
            for seq_id, position in padding:
                kv.remove_behind(seq_id, position)
        seconds = perf_counter() - started
        self.late.decode_seconds += seconds
        if not kv.is_unified:
            self.prompt_costs.observe(len(plan.chunks), batch.size, seconds)
        self._count_step(len(plan.decodes) + plan.n_prompt)
        deliveries = self._advanced(plan.decodes)
        return self._finish_chunks(plan, deliveries)

    def _evaluate_drafts(self, plan: Plan) -> list[Delivery]:
        """Evaluate drafts behind sequences' last tokens; see `verify`."""
        rows = add_with_drafts(self._batch, plan)
        started = perf_counter()
        self._context.decode(self._batch)
        logits = self._context.logits(self._batch.size)
        seconds = self.late.decode_seconds = perf_counter() - started
        if self._kv.is_unified or are_consecutive(plan.decodes):
            self.costs.observe(self._batch.size, seconds)
        self._count_step(self._batch.size)
        return self._advanced(plan.decodes) + verify(
            *(plan, logits, rows, self.sampling.sample),
            kv=self._kv,
            late=self.late,
            stats=self._stats,
        )

    def _finish_chunks(
        self, plan: Plan, deliveries: list[Delivery]
    ) -> tuple[list[Delivery], list[Sequence], LogitsArray]:
        """Note what was evaluated of the prompts, and which of them are whole now."""
        ready = list(plan.decodes)
        rows = list(range(len(ready)))
        n_rows = len(ready)
        scored: list[tuple[Sequence, int, int]] = []
        for sequence, n_chunk in plan.chunks:
            entry = running_entry(sequence)
            self._kv.advance(entry, n_chunk)
            is_whole = entry.n_evaluated == entry.n_tokens
            if sequence.scores_prompt:
                scored.append((sequence, n_rows, n_chunk))
                n_rows += n_chunk
            else:
                n_rows += is_whole
            if is_whole:
                ready.append(sequence)
                rows.append(n_rows - 1)
            if sequence.request.return_progress and not sequence.sampled:
                deliveries.append((sequence.generation, sequence.progress()))
        if not n_rows:
            return deliveries, ready, _NO_LOGITS
        logits = self._context.logits(n_rows)
        for sequence, first_row, n_chunk in scored:
            self._score(sequence, logits[first_row : first_row + n_chunk])
        if len(rows) < n_rows:
            logits = logits[rows]
        return deliveries, ready, logits

    def _score(self, sequence: Sequence, logits: LogitsArray) -> None:
        """Keep the log probabilities of the prompt's tokens that ``logits`` foretell."""
        scored = sequence.prompt_logprobs
        assert scored is not None
        n_top = sequence.request.top_logprobs or 0
        tokens = sequence.prompt[len(scored) : len(scored) + len(logits)].tolist()
        # The prompt's last token has a row too, which foretells the completion.
        for token, row in zip(tokens, logits, strict=False):
            scored.append(LogprobRow(row).of(token, n_top))


def _beginnings(plan: Plan) -> list[Delivery]:
    """Progress of prompts before anything of them is evaluated but what was cached."""
    new = [sequence for sequence in plan.decodes if not sequence.sampled]
    if plan.chunks:
        new += [sequence for sequence, _ in plan.chunks if not sequence.sampled]
    if not new:
        return []
    return [
        (sequence.generation, sequence.progress())
        for sequence in new
        if sequence.request.return_progress
        and running_entry(sequence).n_evaluated == sequence.n_cached
    ]
