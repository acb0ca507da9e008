"""Admission queue: the order of waiting sequences.

A freed place goes to the tenant with the fewest running sequences, there to the request of the best
service tier, and among these to the one with the fewest running choices. Among equals it goes to
whoever had a turn longest ago. So a caller with a thousand waiting sequences delays another's
single one by no more than its fair share, and so does a request beside others of its tenant.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from shared.engine.sequence import Sequence

if TYPE_CHECKING:
    from shared.engine.mailbox.generation import Generation

_AGING = 32
"""Admissions for which a request waits before it counts as of the next better service tier."""

_Turn = tuple[int, int, int, "_Line"]
"""Effective tier, running choices, last turn: the least is next. No two turns are alike."""


class _Line:
    """A request's waiting choices, in their order."""

    def __init__(self, first: Sequence, turn: int, n_admitted: int) -> None:
        """``turn`` and ``n_admitted``: the queue's at arrival."""
        self.generation = first.generation
        self.sequences = deque([first])
        self.turn = turn
        self._tier = int(first.request.priority)
        self._n_admitted = n_admitted

    def order(self, n_running: int, n_admitted: int) -> _Turn:
        """The sort key, with this request's running choices and all admissions until now."""
        tier = max(self._tier - (n_admitted - self._n_admitted) // _AGING, 0)
        return tier, n_running, self.turn, self


class AdmissionQueue:
    """Waiting sequences, of which `turns` gives those whose turn it is."""

    def __init__(self) -> None:
        self._tenants: dict[str, dict[Generation, _Line]] = {}
        self._tenant_turns: dict[str, int] = {}
        self._preempted: list[Sequence] = []
        self._n_waiting = 0
        self._n_admitted = 0
        self._turn = 0

    def __len__(self) -> int:
        return self._n_waiting

    def __iter__(self) -> Iterator[Sequence]:
        yield from self._preempted
        for lines in self._tenants.values():
            for line in lines.values():
                yield from line.sequences

    def add(self, sequence: Sequence) -> None:
        """Queue a new sequence behind those of its request."""
        tenant = sequence.generation.tenant
        self._n_waiting += 1
        self._turn += 1
        self._tenant_turns.setdefault(tenant, self._turn)
        lines = self._tenants.setdefault(tenant, {})
        line = lines.get(sequence.generation)
        if line is None:
            lines[sequence.generation] = _Line(sequence, self._turn, self._n_admitted)
        else:
            line.sequences.append(sequence)

    def put_back(self, sequence: Sequence) -> None:
        """Queue a sequence that was preempted: its turn comes before those of all new ones."""
        self._n_waiting += 1
        self._preempted.append(sequence)
        self._preempted.sort(key=lambda preempted: preempted.arrival)

    def remove(self, ended: Collection[Sequence]) -> None:
        """Drop waiting sequences."""
        gone = set(ended)
        self._preempted = [s for s in self._preempted if s not in gone]
        for generation in {sequence.generation for sequence in ended}:
            line = self._tenants.get(generation.tenant, {}).get(generation)
            if line is not None:
                line.sequences = deque(s for s in line.sequences if s not in gone)
                self._drop_if_empty(line)
        self._n_waiting = sum(1 for _ in self)

    def turns(self, running: Collection[Sequence]) -> Iterator[Sequence]:
        """Waiting sequences in the order of their turns, beside those that are ``running``.

        One that has a KV entry when the iteration goes on was admitted, and leaves the queue. If
        not, its request is passed over.
        """
        for sequence in list(self._preempted):
            yield sequence
            if sequence.entry is not None:
                self._preempted.remove(sequence)
                self._n_waiting -= 1
        if self._n_waiting == 1 and self._tenants:  # as at most times: there is no choice
            (lines,) = self._tenants.values()
            (line,) = lines.values()
            sequence = line.sequences[0]
            yield sequence
            if sequence.entry is not None:
                self._take_turn(line)
            return
        n_running = Counter(sequence.generation for sequence in running)
        n_of_tenant = Counter(sequence.generation.tenant for sequence in running)
        tenants = [(n_of_tenant[name], self._tenant_turns[name], name) for name in self._tenants]
        heapq.heapify(tenants)
        orders: dict[str, list[_Turn]] = {}
        while tenants:
            n_tenant, turn, name = heapq.heappop(tenants)
            if name not in orders:
                orders[name] = [
                    line.order(n_running[generation], self._n_admitted)
                    for generation, line in self._tenants[name].items()
                ]
                heapq.heapify(orders[name])
            _, n_line, _, line = heapq.heappop(orders[name])
            sequence = line.sequences[0]
            yield sequence
            if sequence.entry is not None:
                n_tenant, turn = n_tenant + 1, self._take_turn(line)
                if line.sequences:
                    heapq.heappush(orders[name], line.order(n_line + 1, self._n_admitted))
            if orders[name]:
                heapq.heappush(tenants, (n_tenant, turn, name))

    def _take_turn(self, line: _Line) -> int:
        line.sequences.popleft()
        self._n_waiting -= 1
        self._n_admitted += 1
        self._turn += 1
        line.turn = self._tenant_turns[line.generation.tenant] = self._turn
        self._drop_if_empty(line)
        return self._turn

    def _drop_if_empty(self, line: _Line) -> None:
        tenant = line.generation.tenant
        if not line.sequences:
            del self._tenants[tenant][line.generation]
            if not self._tenants[tenant]:
                del self._tenants[tenant], self._tenant_turns[tenant]
