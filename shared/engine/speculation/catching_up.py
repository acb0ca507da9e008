"""Catching up: a draft model evaluates what it lacks of sequences, where drafts pay it off."""

from __future__ import annotations

from functools import partial
from time import perf_counter

from shared.engine.llama.context import LogitsArray
from shared.engine.speculation.batch_shape import BatchShape
from shared.engine.speculation.draft_context import DraftContext
from shared.engine.speculation.draft_decodes import DraftDecodes
from shared.engine.speculation.draft_worth import FEW, DraftWorth, is_told
from shared.engine.speculation.drafting import Drafting, likeliest

CLOSE = 8
"""Lacking tokens up to which they are evaluated in the round that drafts behind them."""
_MANY_TIMES = 4
"""How many times over catching up has to pay to be begun for all sequences at once."""
_TRIED_ALONE, _TRIED = 0.02, 0.005
"""The part of the time in which it is tried whether drafts would be accepted where they weren't:
that of a single sequence, or of several, most of which only wait."""
_TOLD_TRIED = 0.25
"""What of this is left where it is known of all: few texts change in the middle."""
_TRIED_MOST = 64
"""Steps whose time may be saved up for that: a prompt takes as much."""


class CatchingUp:
    """Decides with which sequences to catch up, and does. Of the engine's thread."""

    def __init__(
        self, context: DraftContext, decodes: DraftDecodes, worth: DraftWorth, n_vocab: int
    ) -> None:
        """``n_vocab``: the target's, of whose tokens this model may have more."""
        self._context = context
        self._decodes = decodes
        self._worth = worth
        self._n_vocab = n_vocab
        self._saved = 0.0
        """Seconds that trying may take."""

    def begin_step(self, found: list[Drafting], n_sequences: int, seconds: float) -> None:
        """Note that a step begins, of so many sequences, some of which there may be drafts for.

        ``seconds``: what it takes anyway.
        """
        tried = _TRIED if n_sequences > 1 else _TRIED_ALONE
        n_told = sum(map(is_told, found))
        tried *= 1 - (1 - _TOLD_TRIED) * n_told / n_sequences
        most = _TRIED_MOST * seconds
        self._saved = max(min(self._saved + tried * seconds, most), -most)

    def run(
        self,
        far: list[Drafting],
        close: list[Drafting],
        shape: BatchShape,
        remaining: float,
        *,
        n_close: int,
        may_be_used: bool,
    ) -> None:
        """Evaluate tokens of sequences that drafts need, where it pays. All others wait for it.

        Where sequences have shares, all have drafts or none, so it has to pay for all of them: what
        it takes for those that are ``far``, beside others that are ``close``, of which each lacks
        ``n_close`` tokens at most. ``may_be_used``: whether there could be drafts for all then.
        """
        paying: list[Drafting] = []
        if self._context.is_unified:
            paying = self._paying_apart(far, close, shape)
        elif may_be_used:
            paying = self._paying_together(far, close, shape)
        sequences = {each.sequence for each in paying}
        budget = self._context.n_batch
        for drafting in far:
            if budget > 0 and self._lacking(drafting) > n_close:
                pays = drafting.sequence in sequences
                budget -= self._evaluate_lacking(drafting, budget, remaining, pays=pays)

    def _lacking(self, drafting: Drafting) -> int:
        """What a sequence lacks since others were caught up with.

        It may begin like one of these, and share its cells now.
        """
        drafting.n_lacking = self._context.lacking_of(drafting.sequence) or 0
        return drafting.n_lacking

    def _paying_together(
        self, far: list[Drafting], close: list[Drafting], shape: BatchShape
    ) -> list[Drafting]:
        """Which of ``far`` to catch up with, to draft for all: all, none, or first a few."""
        cost = sum(self._costs_of(far, shape))
        everyone = [*far, *close]
        if cost > sum(map(self._worth.seconds, everyone)):
            return []
        saved = self._worth.common_seconds(everyone)
        if cost > saved:
            return []
        return far if saved > _MANY_TIMES * cost else _few_first(far, everyone)

    def _paying_apart(
        self, far: list[Drafting], close: list[Drafting], shape: BatchShape
    ) -> list[Drafting]:
        """Which of ``far`` to catch up with, for drafts of each by itself."""
        costs = self._costs_of(far, shape)
        worths = map(self._worth.seconds, far)
        paying: list[Drafting] = []
        cost_in_all = worth_in_all = 0.0
        for each, cost, worth in zip(far, costs, worths, strict=True):
            if cost < worth:
                paying.append(each)
                cost_in_all += cost
                worth_in_all += worth
        if worth_in_all > _MANY_TIMES * cost_in_all:
            return paying
        return _few_first(paying, [*far, *close])

    def _costs_of(self, far: list[Drafting], shape: BatchShape) -> list[float]:
        """Seconds that all sequences together wait while it is caught up with each.

        Choices of one prompt share it: the first one's is evaluated, and what the others have said.
        """
        costs: list[float] = []
        prompts: set[int] = set()
        for each in far:
            n_tokens = each.n_lacking - 1
            prompt = id(each.sequence.request)
            if prompt in prompts:
                n_tokens = min(n_tokens, len(each.sequence.sampled))
            prompts.add(prompt)
            costs.append(shape.n_sequences * self._decodes.prompt_cost(n_tokens))
        return costs

    def _evaluate_lacking(
        self, drafting: Drafting, budget: int, remaining: float, *, pays: bool
    ) -> int:
        """Evaluate what a sequence lacks but its last token; how many of these were.

        What does not pay has only the time that may be spent on trying.
        """
        n_lacking = drafting.n_lacking - 1
        if not pays and self._decodes.prompt_cost(n_lacking) > self._saved:
            return 0
        n_tokens = min(n_lacking, budget)
        seconds = self._decodes.prompt_cost(n_tokens)
        if seconds > remaining:
            return 0
        n_outputs = min(drafting.n_observable, CLOSE) if n_tokens == n_lacking else 0
        pieces = [self._context.next_piece(drafting.entry, n_tokens, n_outputs)]
        started = perf_counter()
        self._decodes.evaluate(pieces, partial(self._observe, drafting))
        if not pays:
            self._saved -= max(perf_counter() - started, seconds)
        return n_tokens

    def _observe(self, drafting: Drafting, logits: LogitsArray) -> None:
        """Compare what would have been drafted with what was sampled."""
        if len(logits):
            drafting.observe(*likeliest(logits[:, : self._n_vocab]))


def _few_first(paying: list[Drafting], everyone: list[Drafting]) -> list[Drafting]:
    """Those that tell, if too few have told yet; else all of ``paying``.

    Where it does not pay many times over, what comes of it depends on how well this batch's texts
    suit the draft model, which only they can tell.
    """
    n_missing = min(FEW, len(everyone) - 1) - sum(map(is_told, everyone))
    if n_missing <= 0:
        return paying
    telling = [each for each in paying if each.n_observable >= CLOSE and not is_told(each)]
    return telling[:n_missing]
