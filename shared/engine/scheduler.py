"""Scheduler: which tokens the next batch evaluates, and who is preempted when KV cells run out.

A step decodes one token for every running sequence, then fills the batch with chunks of prompts,
so that a long prompt delays nobody's next token by more than one batch.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from shared.engine.admission import AdmissionQueue
from shared.engine.batching.plan import Plan
from shared.engine.context_window import ContextWindow
from shared.engine.kv_cache.cache import KVCache
from shared.engine.kv_cache.prefix_search import PrefixBusyError
from shared.engine.sequence import Sequence

if TYPE_CHECKING:
    from shared.engine.mailbox.generation import Generation

_GROWTH_RESERVE = 64
"""Tokens that every running sequence should be able to add before a newcomer is admitted."""


def _expendability(sequence: Sequence) -> tuple[int, int]:
    """The sort key for preemption: the newest of the lowest service tier comes last.

    Nobody is preempted for a low tier twice, so that the oldest always gets on.
    """
    tier = 0 if sequence.was_preempted else int(sequence.request.priority)
    return tier, sequence.arrival


def _n_needed(sequence: Sequence) -> int:
    """Cells that a sequence likely needs beside those that it has."""
    n_evaluated = sequence.entry.n_evaluated if sequence.entry is not None else 0
    return sequence.n_tokens - n_evaluated + min(sequence.n_remaining, _GROWTH_RESERVE)


class Scheduler:
    """Admits waiting sequences and plans batches."""

    def __init__(
        self, kv: KVCache, *, n_batch: int, n_parallel: int, n_scored: int, window: ContextWindow
    ) -> None:
        """``n_parallel`` sequences live at once, at most ``n_batch`` tokens go into a batch.

        ``n_scored`` of these may be prompt tokens whose log probabilities are wanted.
        """
        self._window = window
        self._kv = kv
        self._n_batch = n_batch
        self._n_parallel = n_parallel
        self._n_scored = n_scored
        self._n_arrivals = 0
        self._waiting = AdmissionQueue()
        self._held: dict[Generation, list[Sequence]] = {}
        self._is_crowded = False
        """Whether nobody is admitted until a running sequence has ended."""
        self._is_full = False
        """Whether whose turn it is had no likely cells, and since then nobody came, went or gave up
        some."""
        self.running: list[Sequence] = []
        self.n_preemptions = 0
        self.n_context_shifts = 0

    @property
    def n_waiting(self) -> int:
        """Sequences that wait for a place in the batch."""
        return len(self._waiting) + sum(map(len, self._held.values()))

    def __iter__(self) -> Iterator[Sequence]:
        """All live sequences, running ones first."""
        yield from self.running
        yield from self._waiting
        for sequences in self._held.values():
            yield from sequences

    def hold(self, sequences: list[Sequence]) -> None:
        """Take new sequences of a caller that can't be queued yet."""
        self._held[sequences[0].generation] = sequences

    def release(self, generation: Generation) -> None:
        """Queue those of a caller's sequences that were held, and have not ended since."""
        for sequence in self._held.pop(generation, ()):
            self.add(sequence)

    def add(self, sequence: Sequence) -> None:
        """Queue a new sequence."""
        self._n_arrivals += 1
        sequence.arrival = self._n_arrivals
        self._waiting.add(sequence)
        self._is_full = False

    def remove(self, ended: Collection[Sequence], *, keeps_cells: bool = True) -> None:
        """Drop sequences that ended, wherever they are.

        Their cells stay as prefixes for others, unless it is not known what is in them.
        """
        self._is_full = False
        waiting: list[Sequence] = []
        for sequence in ended:
            if sequence.entry is None:
                waiting.append(sequence)
                continue
            self.running.remove(sequence)
            if keeps_cells:
                self._kv.finish(sequence.entry)
            else:
                self._kv.release(sequence.entry)
            sequence.entry = None
            self._is_crowded = False
        for sequence in waiting:
            if sequence in (held := self._held.get(sequence.generation, [])):
                held.remove(sequence)
        if waiting:
            self._waiting.remove(waiting)

    def schedule(self, n_prompt: int | None = None) -> Plan:
        """The next batch; empty when there is nothing to do.

        It has ``n_prompt`` tokens of prompts at most, or as many as it can hold.
        """
        if self._window.shifts:
            self._shift_contexts()
        plan = Plan()
        room = self._n_batch
        for sequence in self.running:
            entry = sequence.entry
            assert entry is not None
            if entry.n_tokens - entry.n_evaluated == 1:
                plan.decodes.append(sequence)
                room -= 1
        if n_prompt is not None:
            room = min(room, n_prompt)
        if len(plan.decodes) < len(self.running):
            room = self._add_chunks(plan, self.running, room)
        if self._waiting and room > 0 and not (self._is_crowded or self._is_full):
            self._admit(plan, room)
        if self._kv.is_unified:
            self._kv.make_room(plan.n_tokens)
        return plan

    def relieve_pressure(self) -> bool:
        """Free cells for a plan that found too few; False where one sequence alone runs.

        A cached prefix is evicted, or else a sequence is preempted. Then nobody is admitted until
        one that runs has ended: whatever the counts of cells say, those that are left get on.
        """
        return self._kv.evict_oldest() or self._preempt()

    def _shift_contexts(self) -> None:
        """Let full contexts drop tokens, so that their sequences go on."""
        for sequence in self.running:
            entry = sequence.entry
            assert entry is not None
            if entry.n_tokens >= self._window.n_ctx and sequence.n_remaining > 0:
                n_kept = sequence.shift_context()
                self._kv.replace(entry, sequence.tokens, n_kept)
                self.n_context_shifts += 1
                self._is_full = False

    def _preempt(self) -> bool:
        """Give up the cells of one sequence; it is recomputed later."""
        if len(self.running) < 2:
            return False
        sequence = max(self.running, key=_expendability)
        assert sequence.entry is not None
        self.running.remove(sequence)
        self._kv.release(sequence.entry)
        sequence.entry = None
        sequence.was_preempted = True
        self.n_preemptions += 1
        self._waiting.put_back(sequence)
        self._is_crowded = True
        return True

    def _add_chunks(self, plan: Plan, sequences: list[Sequence], room: int) -> int:
        for sequence in sequences:
            entry = sequence.entry
            assert entry is not None
            n_pending = entry.n_tokens - entry.n_evaluated
            if n_pending < 2:
                continue
            n_chunk = min(n_pending, room)
            if sequence.scores_prompt:
                n_chunk = min(n_chunk, self._n_scored - plan.n_scored)
                plan.n_scored += n_chunk
            if n_chunk > 0:
                plan.chunks.append((sequence, n_chunk))
                room -= n_chunk
        return room

    def _admit(self, plan: Plan, room: int) -> None:
        """Admit waiting sequences while there are places, tokens and likely cells for them."""
        n_needed = sum(map(_n_needed, self.running)) if self._kv.is_unified else 0
        for sequence in self._waiting.turns(self.running):
            if room <= 0 or len(self.running) >= self._n_parallel:
                break
            if self.running and not self._likely_fits(sequence, n_needed):
                self._is_full = True
                break  # nobody overtakes: a long prompt must not starve
            try:
                entry = self._kv.acquire(
                    sequence.tokens,
                    salt=sequence.cache_salt,
                    shares=sequence.shares_prefix,
                    state=sequence.prefix.state if sequence.prefix else None,
                    n_state=sequence.prefix.n_tokens if sequence.prefix else 0,
                    n_next=min(len(self._waiting), self._n_parallel - len(self.running)) - 1,
                )
            except PrefixBusyError:
                continue
            sequence.admit(entry)
            self.running.append(sequence)
            n_needed += _n_needed(sequence)
            plan.admitted.append(sequence)
            if entry.n_tokens - entry.n_evaluated == 1:
                plan.decodes.append(sequence)
                room -= 1
            else:
                room = self._add_chunks(plan, [sequence], room)

    def _likely_fits(self, newcomer: Sequence, n_needed: int) -> bool:
        """Whether the cells suffice for all prompts and for some growth of every sequence.

        ``n_needed``: cells that those which run will need more, of which each newcomer's are added
        rather than all counted again: with 128 that took 10 ms.
        An estimate: a prefix to share makes it pessimistic, growth beyond the reserve optimistic.
        Where it errs on that side, preemption puts it right; the reserve makes that rare.
        """
        if not self._kv.is_unified:
            return True
        n_needed += _n_needed(newcomer)
        return n_needed <= self._kv.n_cells - self._kv.n_cells_running
