"""Who is admitted next."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest

from shared.engine.admission import _AGING, AdmissionQueue
from shared.engine.context_window import ContextWindow
from shared.engine.detokenizer import Vocabulary
from shared.engine.kv_cache.cells import KVEntry
from shared.engine.mailbox.generation import Generation
from shared.engine.sequence import Sequence, sequences_of
from shared.engine.types import GenerationRequest, Priority, SamplingParams

VOCABULARY = Vocabulary(lambda token, special=False: b"x")
LOOP: Any = None


class Place:
    """Serves the queue with some places; whoever has run longest ends first."""

    def __init__(self, n_places: int) -> None:
        self.queue = AdmissionQueue()
        self.running: deque[Sequence] = deque()
        self.n_places = n_places
        self.names: dict[Generation, str] = {}
        self.n_arrivals = 0

    def arrive(
        self, name: str, n: int = 1, *, tenant: str = "", tier: Priority = Priority.DEFAULT
    ) -> list[Sequence]:
        asked = GenerationRequest(
            prompt=[1], max_tokens=1, sampling=SamplingParams(seed=0), n=n, priority=tier
        )
        generation = Generation([asked], LOOP, lambda _: None, tenant)
        self.names[generation] = name
        sequences = sequences_of(generation, VOCABULARY, ContextWindow(9))
        for sequence in sequences:
            self.n_arrivals += 1
            sequence.arrival = self.n_arrivals
            self.queue.add(sequence)
        return sequences

    def admit(self) -> str:
        """End one sequence if all places are taken, and admit one."""
        if len(self.running) == self.n_places:
            self.running.popleft()
        for sequence in self.queue.turns(self.running):
            if len(self.running) == self.n_places:
                break
            sequence.entry = KVEntry(0)
            self.running.append(sequence)
        return self.names[self.running[-1].generation]

    def serve(self, n: int) -> str:
        return "".join(self.admit() for _ in range(n))


@pytest.mark.parametrize("n_places", [1, 3])
def test_tenants_have_fair_shares(n_places: int) -> None:
    place = Place(n_places)
    place.arrive("a", 100, tenant="A")
    place.serve(10)
    place.arrive("b", 3, tenant="B")
    place.arrive("c", 1, tenant="C")

    assert sorted(place.serve(8).replace("a", "")) == ["b", "b", "b", "c"]


def test_many_small_requests_are_no_better_than_one_large() -> None:
    place = Place(4)
    for _ in range(50):
        place.arrive("a", tenant="A")
    place.arrive("b", 50, tenant="B")

    assert place.serve(4).count("b") == 2
    assert place.serve(40).count("b") == 20


def test_requests_of_a_tenant_take_turns_too() -> None:
    place = Place(1)
    place.arrive("a", 100)
    place.serve(5)
    place.arrive("b")
    place.arrive("c", 2)

    assert place.serve(7) == "abcacaa"


def test_a_stream_of_newcomers_does_not_starve_a_large_request() -> None:
    place = Place(1)
    place.arrive("a", 5)
    served = ""
    while served.count("a") < 5:
        place.arrive("b")
        served += place.admit()
        assert len(served) < 50


def test_service_tiers_come_first_within_a_tenant() -> None:
    place = Place(1)
    place.arrive("x")
    place.admit()
    place.arrive("f", tier=Priority.FLEX)
    place.arrive("d")
    place.arrive("p", tier=Priority.PRIORITY)

    assert place.serve(3) == "pdf"


@pytest.mark.parametrize("tier", [Priority.FLEX, Priority.DEFAULT])
def test_a_low_tier_is_served_in_the_end(tier: Priority) -> None:
    place = Place(1)
    place.arrive("p", tier=Priority.PRIORITY)
    place.admit()
    place.arrive("f", tier=tier)
    served = ""
    while "f" not in served:
        place.arrive("p", tier=Priority.PRIORITY)
        served += place.admit()
        assert len(served) <= _AGING * tier + 2

    assert len(served) > _AGING * (tier - 1)


def test_priority_takes_nothing_from_other_tenants() -> None:
    place = Place(2)
    for _ in range(20):
        place.arrive("p", tenant="A", tier=Priority.PRIORITY)
        place.arrive("f", tenant="B", tier=Priority.FLEX)

    assert place.serve(20).count("f") == 10


def test_the_preempted_come_back_first_the_oldest_before_others() -> None:
    place = Place(2)
    first, second = place.arrive("a"), place.arrive("b")
    place.admit()  # both
    place.arrive("c", tier=Priority.PRIORITY)
    for sequence in (second[0], first[0]):
        sequence.entry = None
        place.running.remove(sequence)
        place.queue.put_back(sequence)

    assert list(place.queue)[:2] == [first[0], second[0]]
    assert len(place.queue) == 3
    place.admit()
    assert list(place.running) == [first[0], second[0]]


def test_withdrawn_sequences_leave_no_trace() -> None:
    place = Place(1)
    place.arrive("x")
    place.admit()
    many = place.arrive("a", 50, tenant="A")
    place.arrive("b", 2, tenant="A")
    place.queue.remove(many[1:])
    place.queue.remove(many[:1])

    assert len(place.queue) == 2
    assert place.serve(2) == "bb"
    assert len(place.queue) == 0
    assert not list(place.queue)
