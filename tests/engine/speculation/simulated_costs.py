"""Engines on simulated processors: contexts whose decodes take what a table says, by a clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from typing import Any

import numpy as np
import pytest

from shared.engine.batching.plan import lengths_of_runs
from shared.engine.config import EngineConfig
from shared.engine.llama.context import Batch
from shared.engine.llama.model import Model
from shared.engine.speculation import setup
from shared.engine.speculation.draft_model import DraftModel
from tests.engine import exact_context
from tests.engine.conftest import DRAFT_MODEL_ONLY, LONG, CheckedEngine, request, run
from tests.engine.exact_context import (
    DraftKind,
    ExactContext,
    ExactDraftContext,
    exact_contexts,
    exact_draft_contexts,
)

FAVOURITES = list(range(100, 140))
PROMPT, ANSWER = 73, 48
_LOGITS_FACTOR = 1.4
PROCESSORS = {
    "AVX2": ([1, 2, 4, 8, 16, 64, 512], [18, 36, 52, 66, 97, 345, 2760]),
    "between": ([1, 2, 4, 8, 16, 64, 512], [17, 28, 36, 50, 80, 225, 1700]),
    "AVX-512": ([1, 2, 4, 8, 16, 48, 64, 512], [17, 30, 40, 55, 85, 207, 262, 2200]),
}
"""Rows with logits, and the milliseconds that they take: a 0.5 B model in Q8_0 on two cores of an
EPYC."""


class SimulatedProcessor:
    """Runs engines one after the other, and tells how long their decodes took."""

    def __init__(self, patch: pytest.MonkeyPatch, name: str, n_wrong: int) -> None:
        """``name``: of `PROCESSORS`; ``n_wrong``: see `DraftKind`."""
        self._table = PROCESSORS[name]
        self.now = 0.0
        self.decoding = 0.0
        """Seconds of all but prompts, with what the draft model took."""
        for module in (
            "evaluator",
            "step_loop",
            "speculation.draft_model",
            "speculation.draft_decodes",
            "speculation.catching_up",
        ):
            patch.setattr(f"shared.engine.{module}.perf_counter", lambda: self.now)
        patch.setattr(exact_context, "N_OUTPUTS", 512)
        patch.setattr(Model, "logits_factor", _LOGITS_FACTOR)
        make, make_draft = (
            exact_contexts(FAVOURITES),
            exact_draft_contexts(FAVOURITES, DraftKind(n_wrong)),
        )
        patch.setattr("shared.engine.engine.new_context", self._timed(make, 0))
        patch.setattr(setup, "new_draft_context", self._timed(make_draft, None))
        patch.setattr(setup, "DraftModel", _SmallDraftModel)

    def seconds(
        self,
        model: Model,
        *,
        drafts: bool,
        is_unified: bool,
        n_batches: int = 3,
        answers: Sequence[int] = (ANSWER,),
    ) -> float:
        """What the answers of several full batches take, but for their prompts.

        ``answers``: tokens of each, again and again.
        """
        config = EngineConfig(
            n_ctx=16 * 256,
            n_parallel=16,
            n_batch=512,
            kv_unified=is_unified,
            speculation=DRAFT_MODEL_ONLY if drafts else None,
        )
        engine = CheckedEngine(model, config, None, model if drafts else None)
        engine.start()
        before = self.decoding
        random = np.random.default_rng(0)
        for _ in range(n_batches):
            prompts = [random.choice(FAVOURITES, PROMPT).tolist() for _ in range(16)]
            asked = [
                request(prompt, n_tokens, sampling=LONG)
                for prompt, n_tokens in zip(prompts, cycle(answers), strict=False)
            ]
            run(engine, *asked)
        engine.stop()
        return self.decoding - before

    def _timed(self, make: Callable[..., Any], part: int | None) -> Callable[..., Any]:
        """The same contexts, which take time. ``part`` of what is made is the context, if any."""

        def make_timed(*arguments: Any) -> Any:
            made = make(*arguments)
            context: ExactContext = made if part is None else made[part]
            decode = context.decode

            def decode_timed(batch: Batch) -> None:
                decode(batch)
                self._advance(context, batch)

            context.decode = decode_timed  # type: ignore[method-assign]
            return made

        return make_timed

    def _advance(self, context: ExactContext, batch: Batch) -> None:
        is_draft = isinstance(context, ExactDraftContext)
        lengths = Counter(batch.sequence_ids().tolist())
        n_outputs = batch.n_outputs
        seconds = 0.0
        for n_tokens in [batch.size] if context.is_unified else list(_pieces(lengths)):
            part = n_outputs / batch.size
            if is_draft:
                seconds += 0.5e-3 + n_tokens * (0.06e-3 + 0.42e-3 * part)
            else:
                plain = float(np.interp(n_tokens, *self._table)) / 1e3
                seconds += plain * (part + (1 - part) / _LOGITS_FACTOR)
        self.now += seconds
        if is_draft or n_outputs == batch.size:
            self.decoding += seconds


def _pieces(lengths: Counter[int]) -> Iterator[int]:
    """Tokens that llama.cpp evaluates at a time where sequences have shares."""
    done = 0
    for length in sorted(set(lengths.values())):
        longer = sorted(seq_id for seq_id, n in lengths.items() if n >= length)
        for n_sequences in lengths_of_runs(longer):
            yield n_sequences * (length - done)
        done = length


class _SmallDraftModel(DraftModel):
    """A model with an eighth of the target's weights, most of which are for logits."""

    def __init__(self, *arguments: Any, **_: Any) -> None:
        super().__init__(*arguments, relative_size=0.13, logits_factor=1.9)
