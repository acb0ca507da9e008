"""Decodes of a draft model: they are timed, and so is what is read from their logits."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import perf_counter
from typing import TypeVar

from shared.engine.batching.row_costs import RowCosts
from shared.engine.llama.context import KVCacheFullError, LogitsArray
from shared.engine.speculation.batch_shape import BatchShape
from shared.engine.speculation.cost_estimates import CostEstimates, RowCost
from shared.engine.speculation.draft_context import DraftContext, Piece

Result = TypeVar("Result")


class DraftDecodes:
    """Evaluates tokens with a draft model, and knows what that takes."""

    def __init__(self, context: DraftContext, guess: RowCost, logits_factor: float) -> None:
        """``guess``: of the cost, until some is known. ``logits_factor``: the model's."""
        self._context = context
        self._costs = RowCosts(logits_factor)
        self.cost = CostEstimates(self._costs, guess)

    def prompt_cost(self, n_tokens: int) -> float:
        """Seconds of tokens of which hardly one has logits."""
        return max(self.cost(1), self.cost(n_tokens) / self._costs.logits_factor)

    def round_cost(self, seq_ids: Iterable[int]) -> float:
        """Seconds of a token of each of some sequences."""
        shape = BatchShape.of(seq_ids, is_unified=self._context.is_unified)
        return shape.seconds(self.cost, shape.n_sequences)

    def evaluate(self, pieces: list[Piece], read: Callable[[LogitsArray], Result]) -> Result | None:
        """What ``read`` finds in the logits of ``pieces``; None where there are too few cells.

        That is a part of what a decode takes. On a GPU, and with a large vocabulary, it is the
        larger one.
        """
        started = perf_counter()
        try:
            logits = self._context.evaluate(pieces)
        except KVCacheFullError:
            return None
        found = read(logits)
        self._observe(pieces, perf_counter() - started)
        return found

    def _observe(self, pieces: list[Piece], seconds: float) -> None:
        """Take what it took, unless that were several decodes of different sizes."""
        n_decodes = 1
        if not self._context.is_unified:
            shape = BatchShape.of((piece.entry.seq_id for piece in pieces), is_unified=False)
            if len(set(shape.groups)) > 1 or len({len(piece.tokens) for piece in pieces}) > 1:
                return
            n_decodes = len(shape.groups)
        n_rows = sum(len(piece.tokens) for piece in pieces) // n_decodes
        n_outputs = sum(piece.n_outputs for piece in pieces) // n_decodes
        seconds /= n_decodes
        if n_rows == n_outputs:
            self._costs.observe(n_rows, seconds)
        else:
            self._costs.observe_prompt(n_rows, seconds, n_outputs)
