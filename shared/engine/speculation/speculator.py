"""Speculation of an engine: which sequences of a batch get drafts, and how long these are."""

from __future__ import annotations

import logging
from collections.abc import Callable

from shared.engine.batching.plan import Plan
from shared.engine.kv_cache.cache import KVCache
from shared.engine.llama.errors import LlamaError
from shared.engine.sequence import Sequence, running_entry
from shared.engine.speculation.batch_shape import BatchShape
from shared.engine.speculation.cost_estimates import CostEstimates
from shared.engine.speculation.draft import Draft
from shared.engine.speculation.draft_model import DraftModel
from shared.engine.speculation.drafter import Drafter
from shared.engine.speculation.lengths import choose_common_length, choose_lengths
from shared.engine.speculation.options import SpeculationOptions

_log = logging.getLogger("pilotlight.engine")

_LEAST_SPEED = 1.2
"""Below what the best case gains by, nobody looks for drafts."""


class Speculator:
    """Adds drafts to plans, where that makes their sequences faster.

    Nobody is evicted or preempted for them: they use cells that are free.
    """

    def __init__(
        self,
        kv: KVCache,
        costs: CostEstimates,
        options: SpeculationOptions,
        n_rows_max: int,
        draft_model: DraftModel | None,
    ) -> None:
        """``n_rows_max``: tokens with logits that a batch may have."""
        self.draft_model = draft_model
        self._kv = kv
        self._cost = costs
        self._options = options
        self._n_rows_max = n_rows_max

    def add_drafts(self, plan: Plan, remaining: float | None = None) -> None:
        """Let sequences that decode have drafts; none beside prompts, whose batches are large.

        ``remaining``: seconds until the next deadline, None where there is none.
        """
        if plan.chunks or not any(map(self.may_draft, plan.decodes)):
            return
        self._cost.begin_step()
        n_sequences = len(plan.decodes)
        seq_ids = [running_entry(each).seq_id for each in plan.decodes]
        shape = BatchShape.of(seq_ids, is_unified=self._kv.is_unified, pads=True)
        sensible = shape.n_rows(self._cost.n_rows_sensible)
        room = min(self._n_rows_max, sensible) - n_sequences
        if self._kv.is_unified:
            room = min(room, self._kv.n_cells_free - n_sequences)
        if room <= 0 or not self._can_pay(shape):
            return
        sequences = [sequence for sequence in plan.decodes if _can_verify(sequence)]
        drafts: dict[Sequence, Draft] = {}
        for sequence in sequences:
            draft = self._draft(sequence)
            if draft is not None:
                drafts[sequence] = draft
        spent = self._add_model_drafts(sequences, drafts, shape, room, remaining)
        if not drafts:
            return
        choose = choose_lengths if self._kv.is_unified else choose_common_length
        lengths = choose(drafts, n_sequences, lambda n: spent + shape.seconds(self._cost, n), room)
        plan.drafts = {
            s: drafts[s].cut(length)
            for s, length in lengths.items()
            if length >= self._options.shortest(s.request.drafts)
        }
        if not self._kv.is_unified and len(plan.drafts) < n_sequences:
            plan.drafts = {}  # of one length, see `choose_common_length`

    def call_before_decodes(self, function: Callable[[], None]) -> None:
        """Have it called right before the draft model lets go of the interpreter."""
        if self.draft_model is not None:
            self.draft_model.call_before_decodes(function)

    def check_integrity(self) -> None:
        """See `DraftContext.check_integrity`."""
        if self.draft_model is not None:
            self.draft_model.check_integrity()

    def close(self) -> None:
        """Free the draft model's context."""
        if self.draft_model is not None:
            self.draft_model.close()
            self.draft_model = None

    def _add_model_drafts(
        self,
        sequences: list[Sequence],
        drafts: dict[Sequence, Draft],
        shape: BatchShape,
        room: int,
        remaining: float | None,
    ) -> float:
        """See `DraftModel.add_drafts`. Where it fails, the engine goes on without it."""
        if self.draft_model is None or not self._cost.are_known:
            return 0.0
        until = float("inf") if remaining is None else remaining
        try:
            return self.draft_model.add_drafts(sequences, drafts, shape, room, until)
        except LlamaError:
            _log.exception("the draft model failed: from now on there are no drafts of it")
            self.close()
            return 0.0

    def may_draft(self, sequence: Sequence) -> bool:
        """Whether there is anything to draft from, which is asked before what rows cost."""
        is_anywhere = self._options.looks_up or self.draft_model is not None
        return is_anywhere or bool(sequence.request.prediction)

    def _draft(self, sequence: Sequence) -> Draft | None:
        """All that may be drafted for a sequence."""
        request = sequence.request
        n_tokens = min(self._options.longest(request.drafts), sequence.n_room - 1)
        if n_tokens < 1 or not sequence.sampled:
            return None
        if not self.may_draft(sequence):
            return None
        if sequence.drafter is None:
            sequence.drafter = Drafter(
                sequence.draft_texts,
                sequence.n_prompt + len(sequence.sampled) + sequence.n_remaining,
                looks_up=self._options.looks_up,
            )
        return sequence.drafter.draft(sequence.sampled, n_tokens)

    def _can_pay(self, shape: BatchShape) -> bool:
        """Whether drafts of all sequences would, if all of them were accepted."""
        plain = shape.seconds(self._cost, shape.n_sequences)
        n_drafted = self._options.n_max
        with_drafts = shape.seconds(self._cost, shape.n_sequences * (1 + n_drafted))
        return (1 + n_drafted) * plain > _LEAST_SPEED * with_drafts


def _can_verify(sequence: Sequence) -> bool:
    """Whether more than a token can be sampled in a step: there have to be masks for all."""
    constraint = sequence.sampler.constraint
    return constraint is None or not constraint.is_slow
