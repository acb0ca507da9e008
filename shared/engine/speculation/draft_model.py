"""Draft model: a smaller model's greedy continuations, for all sequences of a step at once.

It drafts where that makes its sequences faster, by what it takes, what the rows take that verify
it, and how many of its tokens were accepted lately. Where that is not so it costs nothing, but for
a small share of the time in which it is tried whether it would be by now.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from time import perf_counter

import numpy as np

from shared.engine.batching.row_costs import RowCosts
from shared.engine.config import DRAFT_OUTPUTS
from shared.engine.llama.context import KVCacheFullError, LogitsArray
from shared.engine.llama.model import Model
from shared.engine.llama.tokenizer import as_tokens
from shared.engine.sequence import Sequence
from shared.engine.speculation.cost_estimates import CostEstimates
from shared.engine.speculation.draft import Draft
from shared.engine.speculation.draft_context import DraftContext, Piece
from shared.engine.speculation.draft_rounds import Course, best_rounds
from shared.engine.speculation.drafting import Drafting, likeliest
from shared.engine.speculation.lengths import LEAST_GAIN
from shared.engine.speculation.model_rates import ModelRates
from shared.engine.speculation.options import SpeculationOptions

_CLOSE = 8
"""Lacking tokens up to which they are evaluated in the round that drafts behind them."""
_HORIZON = 128
"""Tokens of a completion that catching up with its prompt has to pay off in."""
_TOLD = 4
"""Observations from which on a sequence is judged by its own."""
_RECENT = 16
"""Sequences whose rates tell what is to be expected of the next."""
_STEPS_OF_RATE = 50
"""Parts of the rates from 0 to 1 within which drafts are taken to save as much."""
_TRIED = 0.02
"""The part of the time in which it is tried whether drafts would be accepted where they weren't."""
_TRIED_MOST = 64
"""Steps whose time may be saved up for that: a prompt takes as much."""


class DraftModel:
    """Drafts for the sequences of an engine. Of its thread."""

    def __init__(
        self,
        context: DraftContext,
        options: SpeculationOptions,
        costs: CostEstimates,
        target: Model,
        *,
        relative_size: float,
    ) -> None:
        """For the model ``target``, whose decodes have ``costs``.

        ``relative_size``: of this model, by the target's; what it takes at first is guessed by it.
        """
        self._target = target
        self._context = context
        self._options = options
        self._target_cost = costs
        self._n_vocab = min(target.n_vocab, context.n_vocab)
        self._costs = RowCosts()
        self._cost = CostEstimates(self._costs, lambda n_rows: relative_size * costs(n_rows))
        self._usual = ModelRates()
        self._recent: deque[ModelRates] = deque(maxlen=_RECENT)
        """Those of the sequences that came last."""
        self._savings: dict[tuple[int, int, int], float] = {}
        self._saved = 0.0
        """Seconds that trying may take."""

    def add_drafts(
        self,
        sequences: list[Sequence],
        drafts: dict[Sequence, Draft],
        n_sequences: int,
        room: int,
        remaining: float,
    ) -> float:
        """Draft for ``sequences``, of ``n_sequences`` in the batch; the seconds that it took.

        In ``drafts`` are others, which are left where they are more promising. ``room``: tokens
        that the target may evaluate beside one of each sequence. ``remaining``: seconds until
        somebody's deadline. Raises `LlamaError`.
        """
        started = perf_counter()
        if self._cost.begin_step():
            self._savings.clear()
        plain = self._target_cost(n_sequences)
        self._saved = min(self._saved + _TRIED * plain, _TRIED_MOST * plain)
        close: list[Drafting] = []
        n_close = min(_CLOSE, self._context.n_batch // n_sequences)
        budget = self._context.n_batch
        for sequence in sequences:
            drafting = self._candidate(sequence, drafts.get(sequence))
            if drafting is None:
                continue
            if drafting.n_lacking <= n_close:
                close.append(drafting)
            elif budget > 0:
                budget -= self._catch_up(drafting, n_sequences, budget, remaining)
        n_drafts = len({*drafts, *(each.sequence for each in close)})
        if close and (self._context.is_unified or n_drafts == n_sequences):
            self._draft(close, n_sequences, room, remaining)
        for each in close:
            other = drafts.get(each.sequence)
            if each.tokens and (other is None or sum(each.chances) > sum(other.chances)):
                drafts[each.sequence] = Draft(each.tokens, each.chances)
        return perf_counter() - started

    def call_before_decodes(self, function: Callable[[], None]) -> None:
        """Have it called right before each decode, see `Context.before_decode`."""
        self._context.call_before_decodes(function)

    def check_integrity(self) -> None:
        """See `DraftContext.check_integrity`."""
        self._context.check_integrity()

    def close(self) -> None:
        """Free the context."""
        self._context.close()

    def _candidate(self, sequence: Sequence, other: Draft | None) -> Drafting | None:
        """What drafting for a sequence would begin with; None where it can't, or need not."""
        drafter, entry = sequence.drafter, sequence.entry
        if drafter is None or entry is None:
            return None
        if drafter.model_rates is None:
            drafter.model_rates = ModelRates(self._usual)
            self._recent.append(drafter.model_rates)
        rates = drafter.model_rates
        rates.compare(sequence.sampled)
        room_here = self._context.n_tokens_most - entry.n_tokens
        longest = self._options.longest(sequence.request.drafts)
        n_most = min(longest, sequence.n_room - 1, room_here)
        if n_most < 1:
            return None
        course = Course(rates.mean)
        if other is not None:
            usual = sum(course.rate**n for n in range(1, n_most + 1))
            if sum(other.chances) >= usual:
                return None
        shares = sequence.request.cache_prompt or sequence.choice > 0
        n_lacking = self._context.lacking(entry, shares=shares)
        if n_lacking is None:
            return None
        return Drafting(sequence, entry, rates, n_most, n_lacking, course)

    def _catch_up(self, drafting: Drafting, n_sequences: int, budget: int, remaining: float) -> int:
        """Evaluate tokens of a sequence that drafts need, if it pays; how many were.

        All others wait for it.
        """
        n_lacking = drafting.n_lacking - 1
        seconds = self._cost(n_lacking)
        pays = n_sequences * seconds < self._worth(drafting, n_sequences)
        if not pays and seconds > self._saved:
            return 0
        n_tokens = min(n_lacking, budget)
        if self._cost(n_tokens) > remaining:
            return 0
        if not pays:
            self._saved -= self._cost(n_tokens)
        n_outputs = min(drafting.n_observable, _CLOSE) if n_tokens == n_lacking else 0
        pieces = [self._context.next_piece(drafting.entry, n_tokens, n_outputs)]
        started = perf_counter()
        logits = self._evaluate(pieces)
        if logits is not None:
            if n_outputs:
                drafting.observe(*likeliest(logits[:, : self._n_vocab]))
            self._observe(pieces, perf_counter() - started)
        return n_tokens

    def _worth(self, drafting: Drafting, n_sequences: int) -> float:
        """Seconds that drafts may save a sequence, if all others have them, too.

        Some texts are easy for a draft model and others hopeless. So as long as little is known of
        one, it is the mean of what drafts would save with the rates of those before it.
        """
        rates = drafting.rates
        longest = self._options.longest(drafting.sequence.request.drafts)
        if rates.n_observed >= _TOLD:
            means = [rates.mean]
        else:
            means = [each.mean for each in self._recent if each.n_observed >= _TOLD]
            means = means or [rates.mean]
        saved = sum(self._saving(mean, n_sequences, longest) for mean in means) / len(means)
        n_tokens = min(drafting.sequence.n_remaining, _HORIZON)
        return n_tokens * saved * self._target_cost(n_sequences)

    def _saving(self, rate: float, n_sequences: int, longest: int) -> float:
        """The part of a step's time that drafts for all sequences save with that rate.

        ``longest``: tokens that they may have.
        """
        key = n_sequences, round(_STEPS_OF_RATE * rate), longest
        if (known := self._savings.get(key)) is not None:
            return known
        rounds = self._cost(n_sequences)

        def seconds(n: int) -> float:
            return n * rounds + self._target_cost((1 + n) * n_sequences)

        _, gain = best_rounds([Course(rate)], 1, seconds, longest)
        saved = self._savings[key] = 1 - math.exp(-gain)
        return saved

    def _draft(self, going: list[Drafting], n_sequences: int, room: int, remaining: float) -> None:
        """Draft a token for all of ``going`` in each round, for as long as that pays."""
        going.sort(key=lambda each: each.entry.seq_id)
        started = perf_counter()
        n_drafted = 0

        def seconds(n: int) -> float:
            """Of a step with ``n`` more rounds."""
            spent = perf_counter() - started if n_drafted else 0.0
            drafting = n * self._cost(len(going))
            if n and not n_drafted:
                n_lacking = sum(each.n_lacking for each in going)
                drafting += self._cost(n_lacking) - self._cost(len(going))
            return spent + drafting + self._target_cost(n_sequences + n_drafted + n * len(going))

        while going:
            most = max(each.n_most - len(each.tokens) for each in going)
            most = min(most, (room - n_drafted) // len(going))
            courses = [each.course for each in going]
            n_rounds, gain = best_rounds(courses, n_sequences, seconds, most)
            least = 0.0 if n_drafted else LEAST_GAIN * n_sequences
            if not n_rounds or gain < least or self._cost(len(going)) > remaining:
                return
            pieces = [self._next_piece(each, len(going)) for each in going]
            round_started = perf_counter()
            logits = self._evaluate(pieces)
            if logits is None:
                return
            n_before = len(going)
            going = list(self._take(going, pieces, logits))
            n_drafted += n_before
            self._observe(pieces, perf_counter() - round_started)

    def _next_piece(self, each: Drafting, n_going: int) -> Piece:
        """What is evaluated to draft one more token."""
        if each.tokens:
            return Piece(each.entry, as_tokens(each.tokens[-1:]), 1)
        n_observed = min(each.n_observable, max(DRAFT_OUTPUTS // n_going - 1, 0))
        return self._context.next_piece(each.entry, each.n_lacking, 1 + n_observed)

    def _take(
        self, going: list[Drafting], pieces: list[Piece], logits: LogitsArray
    ) -> Iterator[Drafting]:
        """Note the likeliest tokens; yields those behind which drafting goes on."""
        ends = [sum(piece.n_outputs for piece in pieces[: i + 1]) for i in range(len(pieces))]
        for each, end in zip(going, ends, strict=True):
            if each.sequence.request.sampling.ignore_eos:
                ends_here = self._target.end_tokens
                logits[end - 1, ends_here[ends_here < self._n_vocab]] = -np.inf
        tokens, probabilities = likeliest(logits[:, : self._n_vocab])
        for each, piece, end in zip(going, pieces, ends, strict=True):
            start = end - piece.n_outputs
            each.observe(tokens[start : end - 1], probabilities[start : end - 1])
            token, probability = tokens[end - 1], probabilities[end - 1]
            least = self._options.least_probability(each.sequence.request.drafts)
            is_drafted = probability >= least
            is_drafted &= not self._target.is_end_of_generation(token)
            if each.take(token, probability, is_drafted=is_drafted):
                yield each

    def _evaluate(self, pieces: list[Piece]) -> LogitsArray | None:
        """The logits that were asked for; None where there are too few cells."""
        try:
            return self._context.evaluate(pieces)
        except KVCacheFullError:
            return None

    def _observe(self, pieces: list[Piece], seconds: float) -> None:
        """Take what it took to evaluate ``pieces``, and to find what is likeliest behind them.

        On a GPU the latter takes longer, where the vocabulary is large.
        """
        n_rows = sum(len(piece.tokens) for piece in pieces)
        if n_rows == sum(piece.n_outputs for piece in pieces):
            self._costs.observe(n_rows, seconds)
        else:
            self._costs.observe_prompt(n_rows, seconds)
