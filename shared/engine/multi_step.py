"""Multi-step decoding: several tokens of each sequence in one turn of the engine's loop.

Right after ``llama_decode`` the interpreter's code is no longer in the processor's caches, so what
counts is how much of it a token touches. Planning, detokenizing and handing over took 0.1 ms for
each, which is a third of a tiny model's step. Here a turn only decodes and samples, for as long as
nobody would notice, and all the rest follows for its tokens together.

vLLM had it as multi-step scheduling: https://blog.vllm.ai/2024/09/05/perf-update.html
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

from shared.engine.batching.plan import are_consecutive
from shared.engine.batching.row_costs import RowCosts
from shared.engine.config import EngineStats
from shared.engine.kv_cache.cache import KVCache
from shared.engine.late_masks import LateSequences
from shared.engine.llama.context import Batch, Context, KVCacheFullError
from shared.engine.llama.errors import LlamaError
from shared.engine.mailbox.generation import Delivery
from shared.engine.sampling_step import SamplingStep
from shared.engine.sequence import Sequence, running_entry

TURN_SECONDS = 0.002
"""What a turn takes, but for its last step: its first token is handed over so much later."""


class MultiStep:
    """Evaluates and samples token after token. Of the engine's thread."""

    def __init__(
        self,
        context: Context,
        kv: KVCache,
        late: LateSequences,
        sampling: SamplingStep,
        *,
        costs: RowCosts,
        stats: EngineStats,
        batch: Batch,
        is_interrupted: Callable[[], bool],
    ) -> None:
        """``batch``: the evaluator's, which has room for a token of each sequence.

        ``is_interrupted`` tells whether a caller has asked for anything meanwhile.
        """
        self._context = context
        self._kv = kv
        self._late = late
        self._sampling = sampling
        self._costs = costs
        self._stats = stats
        self._is_interrupted = is_interrupted
        self._batch = batch

    def suits(self, sequences: list[Sequence], remaining: float | None) -> bool:
        """Whether a turn has several steps of ``sequences``, none of which can be one too many.

        ``remaining``: seconds until the next deadline, None where there is none.
        """
        return (
            0 < 2 * self._late.decode_seconds <= TURN_SECONDS
            and self._kv.can_cut
            and (remaining is None or remaining > TURN_SECONDS)
            and all(map(_needs_only_tokens, sequences))
        )

    def evaluate(self, sequences: list[Sequence]) -> list[Delivery]:
        """The outputs of a turn; raises what `Evaluator.evaluate` does.

        Whatever fails behind the first step is left to the next turn, which meets it again.
        """
        steps: list[list[int]] = []
        try:
            self._add_steps(sequences, steps)
        except (KVCacheFullError, LlamaError):
            if not steps:
                raise
            for sequence in sequences:
                entry = running_entry(sequence)
                self._kv.remove_behind(entry.seq_id, entry.n_evaluated + len(steps))
        self._stats.steps += len(steps)
        self._stats.evaluated_tokens += len(steps) * len(sequences)
        for sequence in sequences:
            self._kv.advance(running_entry(sequence), len(steps))
        return self._sampling.take(sequences, steps)

    def _add_steps(self, sequences: list[Sequence], steps: list[list[int]]) -> None:
        """Add to ``steps`` what each samples, until the turn is over or a sequence ends."""
        context, batch = self._context, self._batch
        sample, is_end = self._sampling.draw, self._sampling.is_end
        samplers = [sequence.sampler for sequence in sequences]
        n_rows = len(sequences)
        n_most = self._fill(sequences)
        started = perf_counter()
        while True:
            context.decode(batch)
            if not steps:
                self._late.decode_seconds = perf_counter() - started
            tokens = sample(context.logits(n_rows), samplers)
            steps.append(tokens)
            if (
                len(steps) >= n_most
                or self._is_interrupted()
                or perf_counter() - started > TURN_SECONDS
                or any(map(is_end, tokens))
            ):
                break
            batch.advance(tokens)
        if self._kv.is_unified or are_consecutive(sequences):
            self._costs.observe(n_rows, self._late.decode_seconds)

    def _fill(self, sequences: list[Sequence]) -> int:
        """Begin a batch with each one's last token; how many steps there is room for."""
        entries = [running_entry(sequence) for sequence in sequences]
        self._batch.clear()
        self._batch.add_decodes(
            [sequence.last_token for sequence in sequences],
            [entry.n_evaluated for entry in entries],
            [entry.seq_id for entry in entries],
        )
        n_most = min(sequence.n_room for sequence in sequences)
        return min(n_most, self._kv.n_cells_free // len(entries)) if self._kv.is_unified else n_most


def _needs_only_tokens(sequence: Sequence) -> bool:
    """Whether the next token needs none of what is made of the one before.

    Stop strings are found in text, and masks of constraints need the token before.
    """
    request = sequence.request
    return (
        bool(sequence.sampled)
        and not request.stop
        and request.constraint is None
        and request.top_logprobs is None
    )
