"""Placement: sequences with shares run side by side, and what others need stays cached."""

from __future__ import annotations

import random
from collections.abc import Hashable

import numpy as np
import pytest

from shared.engine.context_window import ContextWindow
from shared.engine.kv_cache.cache import KVCache
from shared.engine.kv_cache.cells import KVEntry
from shared.engine.kv_cache.placement import beside
from shared.engine.llama.model import Model
from shared.engine.llama.tokenizer import as_tokens
from shared.engine.mailbox.generation import Generation
from shared.engine.prefixes.prompt import COMMON
from shared.engine.scheduler import Scheduler
from shared.engine.sequence import sequences_of
from shared.engine.types import GenerationRequest, SamplingParams
from tests.engine.cells import Cells
from tests.engine.conftest import EngineFactory, chat, one, request, run
from tests.engine.kv_cache.test_kv_machine import LOOP, VOCABULARY
from tests.engine.test_batching import QUESTIONS

N_PLACES = 16


def shares(n_places: int = N_PLACES) -> tuple[KVCache, Cells]:
    """A cache where each sequence has cells of its own, and those cells."""
    cells = Cells(512 * n_places, n_places, is_unified=False)
    return KVCache(cells, n_places, least_copied=2), cells


def begin(cache: KVCache, cells: Cells, prompt: list[int], n_next: int = 0) -> tuple[KVEntry, int]:
    """An entry for a prompt whose evaluation has ended, and how much of it was there before."""
    entry = cache.acquire(as_tokens(prompt), n_next=n_next)
    n_cached = entry.n_evaluated
    cells.evaluate([(entry.seq_id, tuple(prompt[n_cached:]))])
    cache.advance(entry, len(prompt) - n_cached)
    return entry, n_cached


@pytest.mark.parametrize(
    ("running", "n_next", "expected"),
    [
        ([4], 0, {3, 5}),
        ([4, 5, 6], 0, {3, 7}),
        ([4, 7], 0, {5, 6}),
        ([4, 7], 1, {5, 6}),
        ([4, 7], 2, {3, 5, 6, 8}),
        ([4, 7], 3, {2, 3, 5, 6, 8, 9}),
        ([4], 2, {1, 2, 3, 5, 6, 7}),
    ],
)
def test_places_leave_no_gap_that_is_not_filled(
    running: list[int], n_next: int, expected: set[int]
) -> None:
    assert set(beside(running, n_next)) == expected


@pytest.mark.parametrize("n_running", [1, 2, 4, 8])
@pytest.mark.parametrize("n_changed", [0, 9])
def test_conversations_are_continued_whoever_runs_beside_them(
    n_running: int, n_changed: int
) -> None:
    """Up to one for each place but one, in any order, answers of any length.

    ``n_changed``: tokens of an answer that are other ones when it is sent back.
    """
    cache, cells = shares()
    chance = random.Random(5)
    talks = [[i, *chance.choices(range(99), k=40)] for i in range(N_PLACES - 1)]
    n_prompt: dict[int, int] = {}
    running: dict[int, KVEntry] = {}
    for _ in range(200):
        while len(running) == n_running:
            which = chance.choice(list(running))
            entry = running.pop(which)
            for _ in range(chance.randint(9, 20)):
                token = chance.randrange(99)
                cache.append(entry, token)
                cells.evaluate([(entry.seq_id, (token,))])
                cache.advance(entry, 1)
                talks[which].append(token)
            cache.finish(entry)
            talks[which] = talks[which][: len(talks[which]) - n_changed] + [7] * n_changed
            talks[which] += chance.choices(range(99), k=5)
            talks[which] = talks[which][:400]
        which = chance.choice([i for i in range(len(talks)) if i not in running])
        running[which], n_cached = begin(cache, cells, talks[which])
        assert n_cached >= min(n_prompt.get(which, 0), len(talks[which]) - 1)
        n_prompt[which] = len(talks[which])
        cache.check_integrity()


def test_who_comes_back_together_is_continued_in_place() -> None:
    cache, cells = shares()
    prompts = [[i] * 50 for i in range(N_PLACES)]
    entries = [begin(cache, cells, prompt, N_PLACES - 1 - i)[0] for i, prompt in enumerate(prompts)]
    places = {prompt[0]: entry.seq_id for prompt, entry in zip(prompts, entries, strict=True)}
    for entry in entries:
        cache.finish(entry)

    random.Random(1).shuffle(prompts)
    for i, prompt in enumerate(prompts):
        entry = cache.acquire(as_tokens([*prompt, 1]), n_next=N_PLACES - 1 - i)
        assert (entry.seq_id, entry.n_evaluated) == (places[prompt[0]], 50)
    assert not cells.copied


def test_prompts_that_share_a_template_alone_leave_each_others_places() -> None:
    cache, cells = shares(3)
    prompts = [[99] * 10 + [i] * 15 for i in range(3)]
    for prompt in prompts:
        cache.finish(begin(cache, cells, prompt)[0])
    for prompt in prompts:
        entry, n_cached = begin(cache, cells, prompt)
        assert n_cached == len(prompt) - 1
        cache.finish(entry)


def test_what_all_prompts_begin_with_stays() -> None:
    """Each tenant's prompt begins with it, and has its copy beside one that runs."""
    cache, cells = shares(4)
    warm = [5] * 60

    def evaluate(prompt: list[int], salt: Hashable) -> KVEntry:
        entry = cache.acquire(as_tokens(prompt), salt=salt)
        cells.evaluate([(entry.seq_id, tuple(prompt[entry.n_evaluated :]))])
        cache.advance(entry, len(prompt) - entry.n_evaluated)
        return entry

    cache.finish(evaluate(warm, COMMON))
    evaluate([8] * 50, "runs")
    for i in range(12):
        cache.finish(evaluate([*warm, *[10 + i] * 50], f"tenant {i}"))
        cache.finish(evaluate([40 + i] * 50, f"tenant {i}"))
        assert COMMON in [entry.salt for entry in cache._finished.values()]


def moving() -> tuple[KVCache, Cells, list[int]]:
    """A cache where what was in place 1 is to be copied to place 2, and what it lets others keep."""
    cache, cells = shares(3)
    kept: list[int] = []
    cache.on_evict = lambda entry: kept.append(int(cache.tokens(entry, 0, 1)[0]))
    entries = [begin(cache, cells, [i] * 50)[0] for i in range(3)]
    for i in (0, 2, 1):
        cache.finish(entries[i])
    begin(cache, cells, [0] * 51)
    cache.acquire(as_tokens([8] * 50))
    assert kept == [2]  # the oldest; what was beside the running one goes to its place
    assert cells.copies == {2}
    return cache, cells, kept


def test_what_is_not_copied_yet_is_kept_nowhere_when_it_goes() -> None:
    cache, _, kept = moving()
    cache.acquire(as_tokens([9] * 50))
    assert kept == [2]


def test_nor_when_it_is_cut() -> None:
    cache, _, kept = moving()
    entry = cache.acquire(as_tokens([1] * 10 + [9] * 40))
    assert (entry.seq_id, entry.n_evaluated) == (2, 10)
    assert kept == [2]


def test_no_state_is_written_where_something_is_to_be_copied_to() -> None:
    cache, cells, _ = moving()
    state = as_tokens([9] * 64).view(np.uint8)
    entry = cache.acquire(as_tokens([9] * 80), state=state, n_state=64)
    assert entry.n_evaluated == 0
    assert cells.copies == {2}


def test_what_is_shared_does_not_go_first_though_it_is_the_oldest() -> None:
    cache, cells = shares(3)
    entries = [begin(cache, cells, [i] * 50)[0] for i in range(3)]
    for i in (0, 2, 1):
        cache.finish(entries[i])
    begin(cache, cells, [0] * 51)

    branch = cache.acquire(as_tokens([2] * 10 + [8] * 40))

    assert (branch.seq_id, branch.n_evaluated) == (1, 10)
    assert cells.rows[1][-1].prefix == (2,) * 10
    assert cells.rows[2][-1].prefix == (2,) * 50


def test_a_branch_does_not_keep_the_rest_of_what_it_began_with() -> None:
    cache, cells = shares(3)
    entries = [begin(cache, cells, [i] * 100)[0] for i in range(3)]
    for i in (1, 0, 2):
        cache.finish(entries[i])
    cache.finish(begin(cache, cells, [0] * 40 + [8] * 40)[0])  # where the oldest was

    cache.finish(begin(cache, cells, [9] * 50)[0])

    assert cells.rows[0][-1].prefix == (9,) * 50


def test_the_scheduler_tells_how_many_come_together() -> None:
    cache, cells = shares(6)
    sizes = {"n_batch": 512, "n_parallel": 6, "n_scored": 0}
    scheduler = Scheduler(cache, **sizes, window=ContextWindow(512, shifts=False))
    for order in [range(6), (3, 0, 5, 1, 4, 2)]:
        for i in order:
            sampling = SamplingParams(seed=0)
            asked = GenerationRequest(prompt=[i] * 40, max_tokens=1, sampling=sampling)
            generation = Generation([asked], LOOP, lambda _: None, "")
            for sequence in sequences_of(generation, VOCABULARY, ContextWindow(512, shifts=False)):
                scheduler.add(sequence)
        scheduler.schedule()
        assert not cells.copied
        running = list(scheduler.running)
        assert len(running) == 6
        for sequence in running:
            entry = sequence.entry
            assert entry is not None
            tokens = cache.tokens(entry, entry.n_evaluated, 40).tolist()
            cells.evaluate([(entry.seq_id, tuple(tokens))])
            cache.advance(entry, len(tokens))
        scheduler.remove(running)


@pytest.mark.slow
def test_texts_are_the_same_where_cells_have_moved(
    model: Model, make_engine: EngineFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [request(chat(model, question), max_tokens=12) for question in QUESTIONS[:12]]
    alone = [one(make_engine(n_parallel=1), each).text for each in requests]
    moved: list[int] = []
    move = KVCache._move

    def moving(cache: KVCache, entry: KVEntry, seq_id: int) -> None:
        moved.append(seq_id)
        move(cache, entry, seq_id)

    monkeypatch.setattr(KVCache, "_move", moving)
    monkeypatch.setattr("shared.engine.engine.least_copied", lambda *_: 2)
    engine = make_engine(n_parallel=16, kv_unified=False, n_ctx=16 * 256)
    chance = random.Random(3)
    for _ in range(4):
        order = list(range(len(requests)))
        chance.shuffle(order)
        for at in range(0, len(order), 3):
            asked = order[at : at + 3]
            texts = [r.text for r in run(engine, *(requests[i] for i in asked))]
            assert texts == [alone[i] for i in asked]
    assert moved
