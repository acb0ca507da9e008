"""Draft model: a smaller model's greedy continuations, for all sequences of a step at once.

It drafts where that makes its sequences faster, by what it takes, what the rows take that verify
it, and how many of its tokens were accepted lately. Where that is not so it costs nothing, but for
a small share of the time in which it is tried whether it would be by now.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import perf_counter

import numpy as np

from shared.engine.config import DRAFT_OUTPUTS
from shared.engine.llama.context import LogitsArray
from shared.engine.llama.model import Model
from shared.engine.llama.tokenizer import as_tokens
from shared.engine.sequence import Sequence
from shared.engine.speculation.batch_shape import BatchShape, seconds_in_pieces
from shared.engine.speculation.catching_up import CLOSE, CatchingUp
from shared.engine.speculation.cost_estimates import CostEstimates
from shared.engine.speculation.draft import Draft
from shared.engine.speculation.draft_context import DraftContext, Piece
from shared.engine.speculation.draft_decodes import DraftDecodes
from shared.engine.speculation.draft_rounds import Course, best_rounds
from shared.engine.speculation.draft_worth import DraftWorth
from shared.engine.speculation.drafting import Drafting, likeliest
from shared.engine.speculation.lengths import LEAST_GAIN
from shared.engine.speculation.model_rates import ModelRates
from shared.engine.speculation.options import SpeculationOptions

_TOLD_WELL = 8
"""Observations of a sequence from which on its drafts tell enough of what is accepted."""
_OBSERVED = 16
"""Tokens, of all sequences, that are compared with what was sampled, where others are drafted."""


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
        logits_factor: float,
    ) -> None:
        """For the model ``target``, whose decodes have ``costs``.

        ``relative_size``: of this model, by the target's; what it takes at first is guessed by it.
        ``logits_factor``: this model's, see `Model.logits_factor`.
        """
        self._target = target
        self._context = context
        self._options = options
        self._target_cost = costs
        self._n_vocab = min(target.n_vocab, context.n_vocab)
        self._decodes = DraftDecodes(context, lambda n: relative_size * costs(n), logits_factor)
        self._cost = self._decodes.cost
        self._usual = ModelRates()
        self._worth = DraftWorth(self._cost, costs)
        self._catching_up = CatchingUp(context, self._decodes, self._worth, target.n_vocab)

    def add_drafts(
        self,
        sequences: list[Sequence],
        drafts: dict[Sequence, Draft],
        shape: BatchShape,
        room: int,
        remaining: float,
    ) -> float:
        """Draft for ``sequences``, of a batch of ``shape``; the seconds that it took.

        In ``drafts`` are others, which are left where they are more promising. ``room``: tokens
        that the target may evaluate beside one of each sequence. ``remaining``: seconds until
        somebody's deadline. Raises `LlamaError`.
        """
        started = perf_counter()
        self._worth.begin_step(shape, forgets=self._cost.begin_step())
        n_sequences = shape.n_sequences
        n_close = min(CLOSE, self._context.n_batch // n_sequences)
        candidates = [self._candidate(each, drafts.get(each)) for each in sequences]
        found = [each for each in candidates if each is not None]
        plain = shape.seconds(self._target_cost, n_sequences)
        self._catching_up.begin_step(found, n_sequences, plain)
        close = [each for each in found if each.n_lacking <= n_close]
        n_drafts = len({*drafts, *(each.sequence for each in found)})
        may_be_used = self._context.is_unified or n_drafts == n_sequences
        if len(close) < len(found):
            far = [each for each in found if each.n_lacking > n_close]
            self._catching_up.run(
                *(far, close, shape, remaining), n_close=n_close, may_be_used=may_be_used
            )
            may_be_used = self._context.is_unified
            close = [each for each in close if self._is_still_close(each, n_close)]
        if close and may_be_used:
            self._draft(close, shape, room, remaining)
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
            self._worth.add(drafter.model_rates)
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
        n_lacking = self._context.lacking_of(sequence)
        if n_lacking is None:
            return None
        return Drafting(sequence, entry, rates, longest, n_most, n_lacking, course)

    def _is_still_close(self, drafting: Drafting, n_close: int) -> bool:
        """Whether a sequence has its cells yet: where there were too few it has given them up."""
        drafting.n_lacking = self._context.lacking_of(drafting.sequence) or 0
        return 0 < drafting.n_lacking <= n_close

    def _draft(self, going: list[Drafting], shape: BatchShape, room: int, remaining: float) -> None:
        """Draft a token for all of ``going`` in each round, for as long as that pays.

        Where sequences have shares, drafts of one length are what is evaluated: nobody's is longer
        than that of the first whose next token is not worth one.
        """
        going.sort(key=lambda each: each.entry.seq_id)
        n_sequences, n_first = shape.n_sequences, len(going)
        is_unified = self._context.is_unified
        further = self._align(going) - self._decodes.round_cost(each.entry.seq_id for each in going)
        if 0 < n_sequences * further < self._worth.common_seconds(going):
            further = 0.0  # what is evaluated now is not to be evaluated later
        started = perf_counter()
        n_drafted = 0

        def seconds(n: int) -> float:
            """Of a step with ``n`` more rounds."""
            spent = perf_counter() - started if n_drafted else 0.0
            drafting = n * round_seconds + (further if n and not n_drafted else 0.0)
            n_rows = n_sequences + n_drafted + n * len(going)
            return spent + drafting + shape.seconds(self._target_cost, n_rows)

        while going and (is_unified or len(going) == n_first):
            round_seconds = self._decodes.round_cost(each.entry.seq_id for each in going)
            rooms = [each.n_most - len(each.tokens) for each in going]
            most = max(rooms) if is_unified else min(rooms)
            most = min(most, (room - n_drafted) // len(going))
            courses = [each.course for each in going]
            n_rounds, gain = best_rounds(courses, n_sequences, seconds, most)
            least = 0.0 if n_drafted else LEAST_GAIN * n_sequences
            if not n_rounds or gain < least:
                return
            if round_seconds > remaining:
                return
            pieces = [self._next_piece(each, len(going)) for each in going]
            further_going = self._decodes.evaluate(pieces, partial(self._take, going, pieces))
            if further_going is None:
                return
            n_drafted += len(going)
            going = further_going

    def _next_piece(self, each: Drafting, n_going: int) -> Piece:
        """What is evaluated to draft one more token."""
        if each.tokens:
            return Piece(each.entry, as_tokens(each.tokens[-1:]), 1)
        n_observed = 0
        if each.rates.n_observed < _TOLD_WELL:  # logits are most of what a small model takes
            n_observed = min(each.n_observable, max(_OBSERVED // n_going, 1))
            n_observed = min(n_observed, max(DRAFT_OUTPUTS // n_going - 1, 0))
        if each.n_repeated:
            self._context.give_up(each.entry, each.n_repeated)
        n_tokens = each.n_lacking + each.n_repeated
        return self._context.next_piece(each.entry, n_tokens, 1 + n_observed)

    def _align(self, going: list[Drafting]) -> float:
        """Let all have equally many tokens in the first round, if that is faster; its seconds.

        See `BatchShape`: those that lack fewer have some evaluated once more.
        """
        n_lacking = {each.entry.seq_id: each.n_lacking for each in going}
        if self._context.is_unified:
            return self._cost(sum(n_lacking.values()))
        as_they_are = seconds_in_pieces(self._cost, n_lacking)
        longest = max(n_lacking.values())
        if min(each.entry.n_tokens for each in going) < longest:
            return as_they_are
        aligned = seconds_in_pieces(self._cost, dict.fromkeys(n_lacking, longest))
        if aligned >= as_they_are:
            return as_they_are
        for each in going:
            each.n_repeated = longest - each.n_lacking
        return aligned

    def _take(
        self, going: list[Drafting], pieces: list[Piece], logits: LogitsArray
    ) -> list[Drafting]:
        """Note the likeliest tokens; those behind which drafting goes on."""
        ends = [sum(piece.n_outputs for piece in pieces[: i + 1]) for i in range(len(pieces))]
        for each, end in zip(going, ends, strict=True):
            if each.sequence.request.sampling.ignore_eos:
                ends_here = self._target.end_tokens
                logits[end - 1, ends_here[ends_here < self._n_vocab]] = -np.inf
        tokens, probabilities = likeliest(logits[:, : self._n_vocab])
        further: list[Drafting] = []
        for each, piece, end in zip(going, pieces, ends, strict=True):
            start = end - piece.n_outputs
            each.observe(tokens[start : end - 1], probabilities[start : end - 1])
            token, probability = tokens[end - 1], probabilities[end - 1]
            least = self._options.least_probability(each.sequence.request.drafts)
            is_drafted = probability >= least
            is_drafted &= not self._target.is_end_of_generation(token)
            if each.take(token, probability, is_drafted=is_drafted):
                further.append(each)
        return further
