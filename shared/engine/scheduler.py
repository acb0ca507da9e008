"""Which tokens the next batch evaluates: the policy, and nothing else.

A step decodes one token for every running sequence, then fills the batch with chunks of prompts,
so that a long prompt delays nobody's next token by more than one batch.

Where sequences have KV cells of their own, llama.cpp cuts a batch into pieces with equally many
tokens of each sequence. Prompts of different lengths would leave many small pieces, each of which
reads all weights once more. There, the plan is evaluated in parts: all decodes, then each chunk.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from shared.engine.kv_cache import KVCache, PrefixBusyError
from shared.engine.sequence import Sequence

_GROWTH_RESERVE = 64
"""Tokens that every running sequence should be able to add before a newcomer is admitted."""


@dataclass(slots=True)
class Plan:
    """One batch: sequences that decode one token, and sequences with a chunk of their prompt."""

    decodes: list[Sequence] = field(default_factory=list)
    chunks: list[tuple[Sequence, int]] = field(default_factory=list)
    admitted: list[Sequence] = field(default_factory=list)
    n_scored: int = 0

    @property
    def n_tokens(self) -> int:
        """Tokens in the batch."""
        return len(self.decodes) + sum(n for _, n in self.chunks)

    @property
    def n_prompt(self) -> int:
        """Prompt tokens in the batch."""
        return sum(n for _, n in self.chunks)

    def sequences(self) -> Iterator[Sequence]:
        """All sequences that have tokens in the batch."""
        yield from self.decodes
        for sequence, _ in self.chunks:
            yield sequence

    def parts(self) -> Iterator[Plan]:
        """The decodes by sequence id, then each chunk: batches that need not be cut up."""
        if self.decodes:
            yield Plan(decodes=sorted(self.decodes, key=_sequence_id))
        for chunk in self.chunks:
            yield Plan(chunks=[chunk])


def _sequence_id(sequence: Sequence) -> int:
    assert sequence.entry is not None
    return sequence.entry.seq_id


class Scheduler:
    """Admits waiting sequences by service tier, then arrival, and plans batches."""

    def __init__(self, kv: KVCache, *, n_batch: int, n_parallel: int, n_scored: int) -> None:
        """``n_parallel`` sequences live at once, at most ``n_batch`` tokens go into a batch.

        ``n_scored`` of these may be prompt tokens whose log probabilities are wanted.
        """
        self._kv = kv
        self._n_batch = n_batch
        self._n_parallel = n_parallel
        self._n_scored = n_scored
        self._arrivals = 0
        self._waiting: list[tuple[int, int, Sequence]] = []
        self._arrival: dict[Sequence, int] = {}
        self.running: list[Sequence] = []
        self.n_preemptions = 0

    @property
    def n_waiting(self) -> int:
        """Sequences that wait for a place in the batch."""
        return len(self._waiting)

    def __iter__(self) -> Iterator[Sequence]:
        """All live sequences, running ones first."""
        yield from self.running
        for _, _, sequence in self._waiting:
            yield sequence

    def add(self, sequence: Sequence) -> None:
        """Queue a new sequence."""
        self._arrivals += 1
        self._arrival[sequence] = self._arrivals
        self._enqueue(sequence)

    def remove(self, ended: Collection[Sequence]) -> None:
        """Drop sequences that ended, wherever they are; their cells stay as prefixes for others."""
        has_waiting = False
        for sequence in ended:
            del self._arrival[sequence]
            if sequence.entry is None:
                has_waiting = True
            else:
                self.running.remove(sequence)
                self._kv.finish(sequence.entry)
                sequence.entry = None
        if has_waiting:
            self._waiting = [item for item in self._waiting if item[2] in self._arrival]
            heapq.heapify(self._waiting)

    def schedule(self, n_prompt: int | None = None) -> Plan:
        """The next batch; empty when there is nothing to do.

        It has ``n_prompt`` tokens of prompts at most, or as many as it can hold.
        """
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
        if self._waiting and room > 0:
            room = self._admit(plan, room)
        self._kv.make_room(plan.n_tokens)
        return plan

    def preempt(self) -> bool:
        """Give up the KV cells of the newest sequence of the lowest tier; it is recomputed later.

        False when there is only one sequence left, for which there must be room.
        """
        if len(self.running) < 2:
            return False
        newest = max(self.running, key=self._rank)
        assert newest.entry is not None
        self.running.remove(newest)
        self._kv.release(newest.entry)
        newest.entry = None
        self.n_preemptions += 1
        self._enqueue(newest)
        return True

    def _rank(self, sequence: Sequence) -> tuple[int, int]:
        return sequence.request.priority, self._arrival[sequence]

    def _enqueue(self, sequence: Sequence) -> None:
        heapq.heappush(self._waiting, (*self._rank(sequence), sequence))

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

    def _admit(self, plan: Plan, room: int) -> int:
        """Admit waiting sequences while there are places, tokens and likely cells for them."""
        postponed: list[tuple[int, int, Sequence]] = []
        while self._waiting and room > 0 and len(self.running) < self._n_parallel:
            item = heapq.heappop(self._waiting)
            sequence = item[2]
            if self.running and not self._likely_fits(sequence):
                postponed.append(item)
                break  # nobody overtakes: a long prompt must not starve
            try:
                entry = self._kv.acquire(sequence.tokens, shares=sequence.shares_prefix)
            except PrefixBusyError:
                postponed.append(item)
                continue
            sequence.admit(entry)
            self.running.append(sequence)
            plan.admitted.append(sequence)
            if entry.n_tokens - entry.n_evaluated == 1:
                plan.decodes.append(sequence)
                room -= 1
            else:
                room = self._add_chunks(plan, [sequence], room)
        for item in postponed:
            heapq.heappush(self._waiting, item)
        return room

    def _likely_fits(self, newcomer: Sequence) -> bool:
        """Whether the cells suffice for all prompts and for some growth of every sequence.

        An estimate: a shared prefix makes it pessimistic, growth beyond the reserve optimistic.
        Where it errs on that side, preemption puts it right; the reserve makes that rare.
        """
        if not self._kv.is_unified:
            return True
        needed = newcomer.n_tokens + min(newcomer.n_remaining, _GROWTH_RESERVE)
        for sequence in self.running:
            assert sequence.entry is not None
            needed += sequence.n_tokens - sequence.entry.n_evaluated
            needed += min(sequence.n_remaining, _GROWTH_RESERVE)
        return needed <= self._kv.n_cells - self._kv.n_cells_running
