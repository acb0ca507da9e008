"""Bookkeeping of sequence ids, prefixes and evictions, without a model."""

from __future__ import annotations

import numpy as np
import pytest

from shared.engine.kv_cache.cache import KVCache
from shared.engine.kv_cache.cells import KVEntry
from shared.engine.kv_cache.copies import least_copied
from shared.engine.kv_cache.prefix_search import PrefixBusyError, TokenRows
from shared.engine.llama.sequence_state import Bytes
from shared.engine.llama.tokenizer import TokenArray, as_tokens


class Cells:
    """Stands in for llama.cpp's memory: which positions each sequence id holds."""

    n_ctx = 100
    n_ctx_seq = 100

    def __init__(self) -> None:
        self.held: dict[int, set[int]] = {}
        self.is_unified = True
        self.is_full = False

    def remove_cells(self, seq_id: int, start: int = 0) -> bool:
        self.held[seq_id] = {p for p in self.held.get(seq_id, set()) if p < start}
        return True

    def share_cells(self, source: int, target: int, n_tokens: int) -> bool:
        shared = {p for p in self.held[source] if p < n_tokens}
        self.held[target] = self.held.get(target, set()) | shared
        return True

    def write_state(self, seq_id: int, state: Bytes) -> bool:
        assert not self.held.get(seq_id)
        self.held[seq_id] = set() if self.is_full else set(range(len(state)))
        return not self.is_full

    def positions(self, seq_id: int) -> tuple[int, int]:
        held = self.held.get(seq_id)
        return (min(held), max(held)) if held else (-1, -1)


@pytest.fixture
def cells() -> Cells:
    return Cells()


@pytest.fixture
def cache(cells: Cells) -> KVCache:
    return KVCache(cells, n_seq_max=3)


def evaluate(cache: KVCache, cells: Cells, tokens: range | list[int]) -> KVEntry:
    """Acquire an entry for ``tokens`` and evaluate all of them."""
    entry = cache.acquire(as_tokens(list(tokens)))
    cells.held[entry.seq_id] = set(range(entry.n_tokens))
    cache.advance(entry, entry.n_tokens - entry.n_evaluated)
    return entry


def test_the_last_prompt_token_is_always_left_to_evaluate(cache: KVCache, cells: Cells) -> None:
    cache.finish(evaluate(cache, cells, range(10)))

    again = cache.acquire(as_tokens(list(range(10))))

    assert again.n_evaluated == 9


def test_a_finished_sequence_is_continued_in_place(cache: KVCache, cells: Cells) -> None:
    first = evaluate(cache, cells, range(10))
    cache.finish(first)

    second = cache.acquire(as_tokens(list(range(20))))

    assert second.seq_id == first.seq_id
    assert second.n_evaluated == 10
    assert cache.n_entries_finished == 0


def test_a_branch_leaves_the_original_for_others(cache: KVCache, cells: Cells) -> None:
    first = evaluate(cache, cells, range(10))
    cache.finish(first)

    branch = cache.acquire(as_tokens([0, 1, 2, 3, 4, 77, 78]))

    assert branch.seq_id != first.seq_id
    assert branch.n_evaluated == 5
    assert cells.held[branch.seq_id] == {0, 1, 2, 3, 4}
    assert cells.held[first.seq_id] == set(range(10))


def test_shared_cells_are_counted_once(cache: KVCache, cells: Cells) -> None:
    first = evaluate(cache, cells, range(10))
    second = evaluate(cache, cells, [*range(8), 50, 51, 52])

    assert cache.n_cells_running == 10 + 3
    cache.release(second)
    cache.release(first)
    assert cache.n_cells_free == 100


def test_whoever_shares_cells_keeps_them_when_their_owner_goes(cells: Cells) -> None:
    cache = KVCache(cells, n_seq_max=5)
    owner = evaluate(cache, cells, range(50))
    short = evaluate(cache, cells, [*range(20), 90])
    long = evaluate(cache, cells, [*range(40), 91, 92])
    assert cache.n_cells_running == 50 + 1 + 2

    cache.release(owner)
    assert (cache.n_cells_running, cache.n_cells_free) == (40 + 1 + 2, 100 - 43)
    cache.release(long)
    assert (cache.n_cells_running, cache.n_cells_free) == (20 + 1, 100 - 21)
    cache.check_integrity()
    cache.release(short)
    assert cache.n_cells_free == 100


def test_cells_of_a_prefix_that_is_cut_back_stay_with_those_that_share_it(cells: Cells) -> None:
    cells.is_unified = True
    cache = KVCache(cells, n_seq_max=2)
    first = evaluate(cache, cells, range(50))
    branch = evaluate(cache, cells, [*range(40), 91])
    cache.finish(first)
    assert (cache.n_cells_running, cache.n_cells_finished) == (41, 10)

    again = cache.acquire(as_tokens([*range(30), 92, 93]))

    assert (again.seq_id, again.n_evaluated) == (first.seq_id, 30)
    assert cache.n_cells_running == 41
    cache.release(again)
    assert cache.n_cells_running == 41
    cache.release(branch)
    assert cache.n_cells_free == 100


def test_a_prefix_that_cannot_be_cut_is_evaluated_anew(
    cells: Cells, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = KVCache(cells, n_seq_max=1)
    cache.finish(evaluate(cache, cells, range(50)))
    remove = cells.remove_cells
    monkeypatch.setattr(
        cells, "remove_cells", lambda seq_id, start=0: not start and remove(seq_id, start)
    )

    assert evaluate(cache, cells, [*range(30), 77]).n_shared == 0
    assert cache.n_cells_running == 31


def test_only_entries_with_the_same_salt_share(cells: Cells) -> None:
    cache = KVCache(cells, n_seq_max=4)
    prompt = as_tokens(list(range(90)))
    first = cache.acquire(prompt, salt="one")

    assert cache.acquire(prompt, salt="two").n_evaluated == 0  # nor is anything waited for
    cells.held[first.seq_id] = set(range(90))
    cache.advance(first, 90)
    cache.finish(first)
    assert cache.acquire(prompt, salt="three").n_evaluated == 0
    assert cache.acquire(prompt, salt="one").n_evaluated == 89


def test_running_sequences_share_what_they_have_evaluated(cache: KVCache, cells: Cells) -> None:
    evaluate(cache, cells, range(10))

    second = cache.acquire(as_tokens(list(range(10))))

    assert second.n_evaluated == 9


def test_a_long_prefix_in_the_making_is_waited_for(cells: Cells) -> None:
    cache = KVCache(cells, n_seq_max=3)
    first = cache.acquire(as_tokens(list(range(90))))

    with pytest.raises(PrefixBusyError):
        cache.acquire(as_tokens([*range(80), 99]))

    cells.held[first.seq_id] = set(range(90))
    cache.advance(first, 90)
    assert cache.acquire(as_tokens([*range(80), 99])).n_evaluated == 80


def test_a_short_prefix_in_the_making_is_not_worth_waiting(cache: KVCache) -> None:
    cache.acquire(as_tokens(list(range(30))))

    assert cache.acquire(as_tokens(list(range(30)))).n_evaluated == 0


def test_the_entry_used_longest_ago_is_evicted_first(cache: KVCache, cells: Cells) -> None:
    entries = [evaluate(cache, cells, [i] * 10) for i in (1, 2, 3)]
    for entry in entries:
        cache.finish(entry)
    cache.acquire(as_tokens([1] * 5 + [9]))  # uses the oldest, and needs a place

    assert cells.held[entries[1].seq_id] != set(range(10))
    assert cells.held[entries[2].seq_id] == set(range(10))


def test_room_is_made_from_finished_entries_only(cache: KVCache, cells: Cells) -> None:
    running = evaluate(cache, cells, [1] * 40)
    cache.finish(evaluate(cache, cells, [2] * 40))

    cache.make_room(60)

    assert cache.n_entries_finished == 0
    assert cells.held[running.seq_id] == set(range(40))
    assert cache.n_cells_free == 60


def test_without_a_pool_sequences_run_side_by_side(cells: Cells) -> None:
    cells.is_unified = False
    cache = KVCache(cells, n_seq_max=8)
    entries = [evaluate(cache, cells, [i] * 40) for i in range(1, 6)]
    assert [entry.seq_id for entry in entries] == [0, 1, 2, 3, 4]
    cache.finish(entries[1])
    cache.finish(entries[3])

    gap = evaluate(cache, cells, [9] * 40)
    other_gap = evaluate(cache, cells, [8] * 40)
    beside = evaluate(cache, cells, [7] * 40)

    assert (gap.seq_id, other_gap.seq_id, beside.seq_id) == (1, 3, 5)


@pytest.mark.parametrize(("n_alike", "n_evaluated"), [(3, 0), (4, 4), (9, 9)])
def test_without_a_pool_a_prefix_is_copied_from_some_length_on(
    cells: Cells, n_alike: int, n_evaluated: int
) -> None:
    cells.is_unified = False
    cache = KVCache(cells, n_seq_max=4, least_copied=4)
    evaluate(cache, cells, range(12))
    second = cache.acquire(as_tokens([*range(n_alike), 90, 91]))
    assert second.n_evaluated == n_evaluated
    cache.check_integrity()


def test_a_large_model_copies_a_share_for_few_tokens() -> None:
    """A template's beginning of 24 tokens takes 240 ms with 530 MB of weights, its copy 4."""
    assert least_copied(1024 * 12_288, 525_120_000) == 2
    assert least_copied(16_384 * 12_288, 525_120_000) == 14
    assert least_copied(1024 * 2560, 2_463_232) == 32
    assert least_copied(2**40, 0) == 32


def test_without_a_pool_a_prefix_elsewhere_is_copied_beside_the_running_ones(cells: Cells) -> None:
    cells.is_unified = False
    cache = KVCache(cells, n_seq_max=8)
    far = [evaluate(cache, cells, [i] * 40) for i in range(1, 7)]
    for entry in far[1:]:
        cache.finish(entry)

    continued = cache.acquire(as_tokens([6] * 60))

    assert continued.seq_id == 1
    assert continued.n_evaluated == 40


def test_a_prefix_in_the_only_place_is_cut_back_rather_than_lost(cells: Cells) -> None:
    cells.is_unified = False
    cache = KVCache(cells, n_seq_max=3)
    entries = [evaluate(cache, cells, [i] * 40) for i in range(1, 4)]
    cache.finish(entries[1])

    branch = cache.acquire(as_tokens([2] * 36 + [9] * 4))

    assert (branch.seq_id, branch.n_evaluated) == (1, 36)
    assert cells.held[1] == set(range(36))


def test_models_whose_memory_cannot_be_cut_share_nothing(cells: Cells) -> None:
    cache = KVCache(cells, n_seq_max=2, shares_prefixes=False)
    first = evaluate(cache, cells, range(50))
    cache.finish(first)

    assert cache.acquire(as_tokens(list(range(60)))).n_evaluated == 0
    assert cache.n_entries_finished == 0


def test_prefixes_match_what_a_plain_search_finds(cells: Cells) -> None:
    """Random prompts over two symbols, long enough to pass the head that is compared first."""
    generator = np.random.default_rng(7)
    cache = KVCache(cells, n_seq_max=3)
    known: list[KVEntry] = []
    for _ in range(300):
        n_common = int(generator.integers(0, 60))
        prompt = [0] * n_common + generator.integers(0, 2, 30).tolist()
        finished = {e.seq_id: cache.tokens(e, 0, e.n_evaluated).tolist() for e in known}
        entry = cache.acquire(as_tokens(prompt))
        best = max(
            (_common(tokens, prompt[:-1]) for tokens in finished.values()),
            default=0,
        )
        assert entry.n_evaluated == best
        cells.held[entry.seq_id] = set(range(entry.n_tokens))
        cache.advance(entry, entry.n_tokens - entry.n_evaluated)
        cache.finish(entry)
        known = [e for e in known if e.seq_id != entry.seq_id]
        known = [*known, entry][-3:]


def _common(tokens: list[int], prompt: list[int]) -> int:
    count = 0
    for a, b in zip(tokens, prompt, strict=False):
        if a != b:
            break
        count += 1
    return count


def test_a_few_shared_tokens_do_not_make_an_entry_recently_used(
    cache: KVCache, cells: Cells
) -> None:
    """Such as those of a chat template, which all prompts begin with."""
    older = evaluate(cache, cells, range(40))
    newer = evaluate(cache, cells, range(1000, 1030))
    cache.finish(older)
    cache.finish(newer)

    running = evaluate(cache, cells, [0, 1, 2, 77, 78])

    assert running.n_shared == 3
    cache.evict_oldest()
    assert cache.acquire(as_tokens(range(1000, 1030))).n_evaluated == 29


def test_choices_of_a_long_prompt_are_compared_with_one_that_has_it(
    cache: KVCache, cells: Cells, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all of them, many choices of a long prompt held up the step that admits them."""
    compared: list[KVEntry] = []
    common_prefix = TokenRows._common_prefix

    def note(rows: TokenRows, entry: KVEntry, prompt: TokenArray) -> int:
        compared.append(entry)
        return common_prefix(rows, entry, prompt)

    monkeypatch.setattr(TokenRows, "_common_prefix", note)
    first, second, third = (evaluate(cache, cells, range(60)) for _ in range(3))
    assert compared == [first, first]
    assert (second.n_shared, third.n_shared) == (59, 59)
    assert second.source is third.source is first


def test_prompts_with_a_long_beginning_in_common_are_compared_with_one_that_has_it(
    cells: Cells, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a system prompt: behind it a single token tells that the others have no more."""
    cache = KVCache(cells, n_seq_max=9)
    beginning = list(range(1, 50))
    for i in range(6):
        evaluate(cache, cells, [*beginning, 100 + i, 7])
    compared: list[KVEntry] = []
    common_prefix = TokenRows._common_prefix

    def note(rows: TokenRows, entry: KVEntry, prompt: TokenArray) -> int:
        compared.append(entry)
        return common_prefix(rows, entry, prompt)

    monkeypatch.setattr(TokenRows, "_common_prefix", note)

    last = cache.acquire(as_tokens([*beginning, 105, 7]))

    assert last.n_evaluated == len(beginning) + 1
    assert len(compared) == 2
