"""Plan: one batch as the scheduler wants it, and the parts that are evaluated apart.

Where sequences have KV cells of their own, llama.cpp cuts a batch into pieces with equally many
tokens of each sequence. Prompts of different lengths would leave many small pieces, each of which
reads all weights once more. There, the plan is evaluated in parts: all decodes, then each chunk, of
which short ones are sampled from together, and share a batch where padding makes them equal
(`prompt_groups`).
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as Items
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING

from shared.engine.sequence import Sequence, running_entry

if TYPE_CHECKING:
    from shared.engine.speculation.draft import Draft


@dataclass(slots=True)
class Plan:
    """One batch: sequences that decode one token, and sequences with a chunk of their prompt.

    ``drafts``: for sequences that decode, tokens that are evaluated behind it, see `speculation`.
    ``is_multi_step``: whether its sequences go on for several steps, see `MultiStep`.
    """

    decodes: list[Sequence] = field(default_factory=list)
    drafts: dict[Sequence, Draft] = field(default_factory=dict)
    chunks: list[tuple[Sequence, int]] = field(default_factory=list)
    admitted: list[Sequence] = field(default_factory=list)
    n_scored: int = 0
    is_multi_step: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to evaluate."""
        return not (self.decodes or self.chunks)

    @property
    def n_tokens(self) -> int:
        """Tokens in the batch."""
        n_tokens = len(self.decodes)
        if self.drafts:
            n_tokens += sum(len(draft.tokens) for draft in self.drafts.values())
        return n_tokens + self.n_prompt if self.chunks else n_tokens

    @property
    def n_prompt(self) -> int:
        """Prompt tokens in the batch."""
        return sum(n for _, n in self.chunks)

    def sequences(self) -> list[Sequence]:
        """All sequences that have tokens in the batch."""
        if not self.chunks:
            return self.decodes
        return self.decodes + [sequence for sequence, _ in self.chunks]

    def parts(
        self, n_short: float = 0, n_together: float = 0, call_tokens: float = 0
    ) -> Iterator[Plan]:
        """The decodes by sequence id, then the chunks, whose batches need not be cut up.

        Chunks of up to ``n_short`` tokens come together, as long as they take no longer than
        ``n_together`` tokens. A call takes ``call_tokens`` besides, and each has one of its own or
        all share one, padded to one length: see `Evaluator` and `prompt_groups`.
        """
        if len(self.decodes) > 1:
            self.decodes.sort(key=_sequence_id)
        if not self.chunks:
            yield self
            return
        if self.decodes:
            yield Plan(decodes=self.decodes, drafts=self.drafts)
        together: list[tuple[Sequence, int]] = []
        n_tokens = longest = 0
        for chunk in self.chunks:
            n_chunk = chunk[1]
            if together:
                n = len(together) + 1
                apart = n_tokens + n_chunk + n * call_tokens
                joint = n * max(longest, n_chunk) + call_tokens
                if max(longest, n_chunk) > n_short or min(apart, joint) > n_together:
                    yield Plan(chunks=together)
                    together, n_tokens, longest = [], 0, 0
            together.append(chunk)
            n_tokens += n_chunk
            longest = max(longest, n_chunk)
        yield Plan(chunks=together)


def lengths_of_runs(seq_ids: Items[int]) -> Iterator[int]:
    """How many consecutive ids there are at a time, of some that ascend.

    Where sequences have shares, llama.cpp decodes these together, and what is on both sides of a
    gap one after the other.
    """
    start = 0
    for i in range(1, len(seq_ids) + 1):
        if i == len(seq_ids) or seq_ids[i] != seq_ids[i - 1] + 1:
            yield i - start
            start = i


_sequence_id = attrgetter("entry.seq_id")


def are_consecutive(decodes: list[Sequence]) -> bool:
    """Whether llama.cpp decodes all of them together where each has a share of cells."""
    first, last = running_entry(decodes[0]), running_entry(decodes[-1])
    return last.seq_id - first.seq_id == len(decodes) - 1
