"""Stand-in for a context whose logits depend on nothing but the tokens before them.

llama.cpp's depend on the batch, too, in their last bits: what is drafted changes the batch. With
these the same text is the very same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from shared.engine.config import DRAFT_OUTPUTS, EngineConfig
from shared.engine.llama.context import Batch, Context, ContextParams, LogitsArray
from shared.engine.llama.model import Model
from tests.engine.cells import Cells, Prefix

N_OUTPUTS = 48

FavouredArray = npt.NDArray[np.float64]


class ExactContext(Cells):
    """Has cells as llama.cpp has, and favours some tokens by the two before them."""

    state_layout = None
    n_streams = 1

    def __init__(self, model: Model, params: ContextParams, favourites: list[int]) -> None:
        super().__init__(params.n_ctx, params.n_seq_max, is_unified=params.kv_unified)
        self.model = model
        self.n_batch = params.n_batch
        self.n_ubatch = params.n_ubatch
        self._n_outputs_max = params.n_outputs_max
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
        assert len(wanted) <= self._n_outputs_max
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
            favoured = numbers.normal(0, 2, len(self._favourites))
            known[self._favourites] = self._opinion(favoured, prefix[-2:])
            self._known[prefix[-2:]] = known
        return known

    def _opinion(self, favoured: FavouredArray, _prefix: Prefix) -> FavouredArray:
        """Logits of the favourites."""
        return favoured


@dataclass(frozen=True)
class DraftKind:
    """A draft model: what it knows of the model that it drafts for.

    - ``n_wrong``: of ten tokens, those behind which it expects something else.
    - ``n_ctx_train``, ``n_unknown``: tokens of its context, and at the vocabulary's end that it
      lacks.
    """

    n_wrong: int = 0
    n_ctx_train: int = 1024
    n_unknown: int = 0


@dataclass(frozen=True)
class _Described:
    n_vocab: int
    n_ctx_train: int


class ExactDraftContext(ExactContext):
    """The same of a draft model, which may be wrong."""

    def __init__(
        self, model: Model, params: ContextParams, favourites: list[int], kind: DraftKind
    ) -> None:
        known = [token for token in favourites if token < model.n_vocab - kind.n_unknown]
        super().__init__(model, params, known)
        self.model = cast("Model", _Described(model.n_vocab - kind.n_unknown, kind.n_ctx_train))
        self._n_wrong = kind.n_wrong

    def _opinion(self, favoured: FavouredArray, prefix: Prefix) -> FavouredArray:
        return -favoured if sum(prefix) % 10 < self._n_wrong else favoured


def exact_contexts(
    favourites: list[int],
) -> Callable[[Model, EngineConfig, Model | None], tuple[Context, ContextParams]]:
    """What to have in `new_context`'s place."""

    def make(
        model: Model, config: EngineConfig, _draft_model: Model | None
    ) -> tuple[Context, ContextParams]:
        is_unified = bool(config.kv_unified)
        params = ContextParams(
            n_ctx=config.n_ctx,
            n_batch=config.n_batch,
            n_ubatch=config.n_batch,
            n_seq_max=config.n_parallel + 3 * is_unified,
            n_outputs_max=N_OUTPUTS,
            n_threads=1,
            n_threads_batch=1,
            kv_unified=is_unified,
            flash_attn=False,
        )
        return cast("Context", ExactContext(model, params, favourites)), params

    return make


def exact_draft_contexts(
    favourites: list[int], kind: DraftKind
) -> Callable[[Model, ContextParams, int], Context]:
    """What to have in `new_draft_context`'s place."""

    def make(model: Model, params: ContextParams, _n_threads: int) -> Context:
        params = replace(params, n_outputs_max=max(params.n_seq_max, DRAFT_OUTPUTS))
        return cast("Context", ExactDraftContext(model, params, favourites, kind))

    return make
