"""Stand-in for a context whose logits depend on nothing but the tokens before them.

llama.cpp's depend on the batch, too, in their last bits: what is drafted changes the batch. With
these the same text is the very same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np

from shared.engine.config import EngineConfig
from shared.engine.llama.context import Batch, Context, ContextParams, LogitsArray
from shared.engine.llama.model import Model
from tests.engine.cells import Cells, Prefix

N_OUTPUTS = 48


class ExactContext(Cells):
    """Has cells as llama.cpp has, and favours some tokens by the two before them."""

    state_layout = None
    n_streams = 1

    def __init__(self, model: Model, config: EngineConfig, favourites: list[int]) -> None:
        n_seq_max = config.n_parallel + 3 * bool(config.kv_unified)
        super().__init__(config.n_ctx, n_seq_max, is_unified=bool(config.kv_unified))
        self.model = model
        self.n_batch = config.n_batch
        self.n_seq_max = n_seq_max
        self._favourites = favourites
        self._logits: list[LogitsArray] = []
        self._known: dict[Prefix, LogitsArray] = {}

    def decode(self, batch: Batch) -> None:
        """What llama_decode does with the batch's arrays."""
        raw: Any = batch.struct
        chunks: list[tuple[int, Prefix]] = []
        wanted: list[tuple[int, int]] = []
        lengths: dict[int, int] = {}
        for i in range(batch.size):
            seq_id, position = raw.seq_id[i][0], raw.pos[i]
            length = lengths.get(seq_id, len(self.rows.get(seq_id, ())))
            assert position == length, f"sequence {seq_id} has {length} tokens, not {position}"
            lengths[seq_id] = length + 1
            chunks.append((seq_id, (raw.token[i],)))
            if raw.logits[i]:
                wanted.append((seq_id, position))
        assert len(wanted) <= N_OUTPUTS
        self.evaluate(chunks)
        self._logits = [self._row(self.rows[seq_id][at].prefix) for seq_id, at in wanted]

    def logits(self, n_outputs: int) -> LogitsArray:
        """A copy, since samplers overwrite them."""
        assert n_outputs == len(self._logits)
        return np.array(self._logits)

    def close(self) -> None:
        """Nothing is to be freed."""

    def _row(self, prefix: Prefix) -> LogitsArray:
        known = self._known.get(prefix[-2:])
        if known is None:
            numbers = np.random.default_rng(prefix[-2:])
            known = numbers.normal(-12, 1, self.model.n_vocab).astype(np.float32)
            known[self._favourites] = numbers.normal(0, 2, len(self._favourites))
            self._known[prefix[-2:]] = known
        return known


def exact_contexts(
    favourites: list[int],
) -> Callable[[Model, EngineConfig], tuple[Context, ContextParams]]:
    """What to have in `new_context`'s place."""

    def make(model: Model, config: EngineConfig) -> tuple[Context, ContextParams]:
        context = ExactContext(model, config, favourites)
        params = ContextParams(
            n_ctx=context.n_ctx,
            n_batch=config.n_batch,
            n_ubatch=config.n_batch,
            n_seq_max=context.n_seq_max,
            n_outputs_max=N_OUTPUTS,
            n_threads=1,
            n_threads_batch=1,
            kv_unified=context.is_unified,
            flash_attn=False,
        )
        return cast("Context", context), params

    return make
