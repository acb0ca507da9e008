"""Speculation of an engine: which sequences of a batch get drafts, and how long these are."""

from __future__ import annotations

from shared.engine.kv_cache import KVCache
from shared.engine.row_costs import RowCosts
from shared.engine.scheduler import Plan
from shared.engine.sequence import Sequence
from shared.engine.speculation.draft import Draft
from shared.engine.speculation.drafter import Drafter
from shared.engine.speculation.lengths import choose_common_length, choose_lengths
from shared.engine.speculation.options import SpeculationOptions

_COSTS_HOLD = 8
"""Steps for which estimates of costs hold: they change slowly, and take longer than a look-up."""
_LEAST_SPEED = 1.2
"""Below what the best case gains by, nobody looks for drafts."""


class Speculator:
    """Adds drafts to plans, where that makes their sequences faster.

    Nobody is evicted or preempted for them: they use cells that are free.
    """

    def __init__(
        self, kv: KVCache, costs: RowCosts, options: SpeculationOptions, n_rows_max: int
    ) -> None:
        """``n_rows_max``: tokens with logits that a batch may have."""
        self._kv = kv
        self._costs = costs
        self._options = options
        self._n_rows_max = n_rows_max
        self._n_steps = 0
        self._costs_known: dict[int, float] = {}

    def add_drafts(self, plan: Plan) -> None:
        """Let sequences that decode have drafts; none beside prompts, whose batches are large."""
        if plan.chunks or not any(map(self._may_have_drafts, plan.decodes)):
            return
        self._n_steps += 1
        if self._n_steps % _COSTS_HOLD == 0:
            self._costs_known.clear()
        n_sequences = len(plan.decodes)
        room = self._n_rows_max - n_sequences
        if self._kv.is_unified:
            room = min(room, self._kv.n_cells_free - n_sequences)
        if room <= 0 or not self._can_pay(n_sequences):
            return
        drafts: dict[Sequence, Draft] = {}
        for sequence in plan.decodes:
            constraint = sequence.sampler.constraint
            if constraint is not None and constraint.is_slow:
                continue  # only the first token's mask would be there
            draft = self._draft(sequence)
            if draft is not None:
                drafts[sequence] = draft
        if not drafts:
            return
        choose = choose_lengths if self._kv.is_unified else choose_common_length
        lengths = choose(drafts, n_sequences, self._cost, room)
        plan.drafts = {s: drafts[s].cut(length) for s, length in lengths.items()}

    def _may_have_drafts(self, sequence: Sequence) -> bool:
        """Whether there is anything to draft from, which is asked before what rows cost."""
        return self._options.looks_up or bool(sequence.request.prediction)

    def _draft(self, sequence: Sequence) -> Draft | None:
        """All that may be drafted for a sequence."""
        request = sequence.request
        n_tokens = min(self._options.n_max, sequence.n_room - 1)
        if n_tokens < 1 or not sequence.sampled:
            return None
        if not self._may_have_drafts(sequence):
            return None
        if sequence.drafter is None:
            sequence.drafter = Drafter(
                sequence.prompt,
                request.prediction,
                sequence.n_prompt + len(sequence.sampled) + sequence.n_remaining,
                looks_up=self._options.looks_up,
            )
        return sequence.drafter.draft(sequence.sampled, n_tokens)

    def _can_pay(self, n_sequences: int) -> bool:
        """Whether drafts of all sequences would, if all of them were accepted."""
        plain = self._cost(n_sequences)
        n_drafted = self._options.n_max
        with_drafts = self._cost(n_sequences * (1 + n_drafted))
        return (1 + n_drafted) * plain > _LEAST_SPEED * with_drafts

    def _cost(self, n_rows: int) -> float:
        cost = self._costs_known.get(n_rows)
        if cost is None:
            cost = self._costs_known[n_rows] = self._costs.expected(n_rows)
        return cost
