"""Late masks: sequences whose logits are there before the mask of their constraint is.

Others shall not wait for one caller's grammar. So these sit out: their logits are kept, and the
steps go on without them until the mask is ready.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from shared.engine.batching.plan import Plan
from shared.engine.kv_cache.cells import KVEntry
from shared.engine.llama.context import LogitsArray
from shared.engine.sequence import Sequence, running_entry

if TYPE_CHECKING:
    from shared.engine.grammar.constraint import ConstraintMatcher
    from shared.engine.grammar.masks import MaskThreads

_GRACE = 0.25
"""What the mask of a slow grammar may take beyond a decode, of that one's time."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """A row of logits, and the cells that it came from: after a preemption there are others."""

    entry: KVEntry
    logits: LogitsArray


class LateSequences:
    """Starts masks, and keeps the sequences that they are late for. Of the engine's thread."""

    def __init__(self, on_ready: Callable[[], None]) -> None:
        """``on_ready`` is called from another thread when the mask of a late sequence is ready."""
        self._on_ready = on_ready
        self.decode_seconds = 0.0
        """What the last step's decodes took."""
        self._threads: MaskThreads | None = None
        self._kept: dict[Sequence, _Kept] = {}
        self._constrained: set[Sequence] = set()
        """All live sequences that have constraints: without any there is nothing to do."""

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, sequence: Sequence) -> bool:
        return sequence in self._kept

    def expect(self, sequences: Iterable[Sequence]) -> None:
        """Take new sequences, some of which may have constraints."""
        self._constrained.update(s for s in sequences if s.sampler.constraint is not None)

    def start_masks(self, plan: Plan) -> None:
        """Have the masks computed for the next tokens of those that have constraints."""
        if self._constrained and (matchers := _matchers(plan.sequences())):
            if self._threads is None:  # llguidance is not loaded before somebody needs it
                from shared.engine.grammar.masks import MaskThreads

                self._threads = MaskThreads(self._on_ready)
            self._threads.start(matchers)

    def keep(self, ready: list[Sequence], logits: LogitsArray) -> list[Sequence]:
        """Those of ``ready`` whose masks are late, after a moment; their rows are copied."""
        threads = self._threads
        if threads is None or not self._constrained or not (matchers := _matchers(ready)):
            return []
        threads.wait(matchers, _GRACE * self.decode_seconds)
        late: list[Sequence] = []
        for sequence, row in zip(ready, logits, strict=True):
            matcher = sequence.sampler.constraint
            if matcher is None or not (sequence.n_remaining or sequence.sampled):
                continue
            if threads.is_late(matcher):
                self._kept[sequence] = _Kept(running_entry(sequence), row.copy())
                late.append(sequence)
        return late

    def take_ready(self) -> tuple[list[Sequence], LogitsArray] | None:
        """Those that are late no more, and their logits."""
        ready: list[Sequence] = []
        rows: list[LogitsArray] = []
        for sequence, kept in list(self._kept.items()):
            matcher = sequence.sampler.constraint
            assert matcher is not None
            if sequence.entry is not kept.entry:
                del self._kept[sequence]
            elif not matcher.is_pending:
                del self._kept[sequence]
                ready.append(sequence)
                rows.append(kept.logits)
        return (ready, np.stack(rows)) if ready else None

    def forget(self, ended: Collection[Sequence]) -> None:
        """Drop what is kept of sequences that ended."""
        if self._constrained:
            self._constrained.difference_update(ended)
            for sequence in ended:
                self._kept.pop(sequence, None)

    def close(self) -> None:
        """End the threads that compute masks."""
        if self._threads is not None:
            self._threads.close()


def _matchers(sequences: Iterable[Sequence]) -> list[ConstraintMatcher]:
    return [each.sampler.constraint for each in sequences if each.sampler.constraint is not None]
