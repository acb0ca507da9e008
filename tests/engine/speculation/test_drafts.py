"""Drafts: what is looked up where, how sure that is, and how long drafts are for what rows cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from shared.engine.batching.row_costs import RowCosts
from shared.engine.context_window import ContextWindow
from shared.engine.detokenizer import Vocabulary
from shared.engine.llama.tokenizer import as_tokens
from shared.engine.mailbox.generation import Generation
from shared.engine.sequence import sequences_of
from shared.engine.speculation.acceptance import AcceptanceRates
from shared.engine.speculation.draft import Draft
from shared.engine.speculation.drafter import Drafter
from shared.engine.speculation.lengths import choose_common_length, choose_lengths
from shared.engine.speculation.ngrams import GrowingNgramIndex, NgramIndex
from shared.engine.speculation.texts import DraftTexts
from shared.engine.types import GenerationRequest, SamplingParams


def drafter(prompt: list[int], prediction: list[int], *, looks_up: bool = True) -> Drafter:
    texts = DraftTexts(np.array(prompt, dtype=np.int32), prediction)
    return Drafter(texts, len(prompt) + 500, looks_up=looks_up)


def drafted(found: Draft | None) -> list[int]:
    return [] if found is None else found.tokens


TEXT = list(range(100, 160))
LOOP: Any = None


class TestPredictions:
    """A prediction is followed from its beginning, and come back to."""

    def draft(self, *sampled: int, n_tokens: int = 4) -> list[int]:
        following = drafter([1, 2, 3], TEXT, looks_up=False)
        for n in range(len(sampled)):
            following.draft(list(sampled[:n]), n_tokens)
        return drafted(following.draft(list(sampled), n_tokens))

    def test_it_is_expected_from_the_first_token_on(self) -> None:
        assert self.draft() == [100, 101, 102, 103]
        assert self.draft(100, 101) == [102, 103, 104, 105]

    def test_the_end_is_no_draft(self) -> None:
        assert self.draft(*TEXT[:-2]) == [158, 159]
        assert self.draft(*TEXT) == []

    def test_another_token_is_a_substitution_at_first(self) -> None:
        assert self.draft(100, 101, 9) == [103, 104, 105, 106]
        assert self.draft(100, 101, 9, 103) == [104, 105, 106, 107]

    @pytest.mark.parametrize(
        "said",
        [
            pytest.param([*TEXT[:20], 7, 8, *TEXT[20:22]], id="two more"),
            pytest.param([*TEXT[:20], *TEXT[23:25]], id="three fewer"),
            pytest.param([*TEXT[:20], 7, 8, 9, *TEXT[21:23]], id="three for one"),
        ],
    )
    def test_two_tokens_nearby_are_enough_to_come_back(self, said: list[int]) -> None:
        assert self.draft(*said) == list(range(said[-1] + 1, said[-1] + 5))

    def test_three_tokens_are_found_anywhere(self) -> None:
        assert self.draft(9, 9, 9, 9, 150, 151, 152) == [153, 154, 155, 156]
        assert self.draft(9, 9, 9, 9, 150, 151) == []


class TestPromptLookup:
    """What the prompt and the answer have said before comes again."""

    def test_what_followed_the_last_three_tokens(self) -> None:
        following = drafter([1, 2, 3, 4, 5, 6], [])
        assert drafted(following.draft([1, 2, 3], 3)) == [4, 5, 6]

    def test_two_tokens_are_followed_where_there_are_no_three(self) -> None:
        prompt = [7, 1, 2, 3, 4, 5, 8, 1, 2, 6, 6]
        assert drafted(drafter(prompt, []).draft([9, 9, 1], 3)) == []
        assert drafted(drafter(prompt, []).draft([9, 9, 1, 2], 2)) == [6, 6]
        assert drafted(drafter(prompt, []).draft([9, 7, 1, 2], 3)) == [3, 4, 5]

    def test_how_often_two_tokens_are_right_is_learned_from_the_text(self) -> None:
        def first_chance(*, goes_on: bool) -> float:
            prompt = [token for i in range(0, 60, 4) for token in (i, i + 1, i + 2, 900)]
            following = drafter(prompt, [])
            said: list[int] = []
            for i in range(0, 40, 4):
                for token in (i, i + 1, i + 2 if goes_on else 800 + i):
                    said.append(token)
                    following.draft(said, 4)
            draft = following.draft([*said, 40, 41], 4)
            assert draft is not None
            assert draft.tokens[0] == 42
            return draft.chances[0]

        assert first_chance(goes_on=False) < 0.2
        assert first_chance(goes_on=True) > 0.8

    def test_the_latest_occurrence_counts(self) -> None:
        following = drafter([1, 2, 3, 4, 1, 2, 3, 7], [])
        assert drafted(following.draft([8, 1, 2, 3], 2)) == [7, 8]

    def test_what_goes_round_goes_on(self) -> None:
        following = drafter([9], [])
        assert drafted(following.draft([1, 2, 3, 1, 2, 3], 7)) == [1, 2, 3, 1, 2, 3, 1]

    def test_the_end_of_the_text_is_no_place_to_come_back_to(self) -> None:
        text = list(range(1, 13))
        following = drafter(text, [])
        said = [*text, 50, 51, *text[:4]]
        for n in range(1, len(said)):
            following.draft(said[:n], 4)
        assert drafted(following.draft(said, 4)) == [5, 6, 7, 8]

    def test_it_is_off_where_only_predictions_are_followed(self) -> None:
        following = drafter([1, 2, 3, 4, 5, 6], [], looks_up=False)
        assert following.draft([1, 2, 3], 3) is None


def test_an_index_knows_where_three_tokens_were_last() -> None:
    tokens = as_tokens([1, 2, 3, 4, 1, 2, 3])
    index = NgramIndex(tokens)
    assert index.find(as_tokens([3, 2, 1])) == 0
    assert (index.find(tokens[:3]), index.find(tokens[1:4])) == (7, 4)
    both = NgramIndex(tokens, (3, 2))
    assert (both.find(tokens[:3]), both.find(tokens[:2]), both.find(tokens[2:4])) == (7, 6, 4)
    answer, other = GrowingNgramIndex(index), GrowingNgramIndex(index)
    assert answer.replace(tokens[:3], 9) == 7
    assert answer.replace(tokens[:3], 12) == 9
    assert other.replace(tokens[:3], 20) == 7


def test_one_at_a_time_indexes_what_all_at_once_does() -> None:
    tokens = np.random.default_rng(0).integers(0, 2**31, 20, dtype=np.int32)
    whole, single = NgramIndex(tokens), GrowingNgramIndex(NgramIndex(tokens[:0]))
    for end in range(3, 21):
        assert single.replace(tokens[end - 3 : end], end) == 0
    for end in range(3, 21):
        ngram = tokens[end - 3 : end]
        assert whole.find(ngram) == single.replace(ngram, end)


def test_choices_share_the_indexes_of_their_request() -> None:
    asked = GenerationRequest(
        prompt=[1, 2, 3, 4], max_tokens=5, sampling=SamplingParams(seed=0), n=3, prediction=TEXT
    )
    generation = Generation([asked, asked], LOOP, lambda _: None)
    vocabulary = Vocabulary(lambda _token, special=False: b"x")
    sequences = sequences_of(generation, vocabulary, ContextWindow(100))
    texts = [sequence.draft_texts for sequence in sequences]
    assert len(texts) == 6
    assert len({id(each.indexed_prompt) for each in texts[:3]}) == 1
    assert len({id(each.indexed_prediction) for each in texts[:3]}) == 1
    one, other = (Drafter(each, 12, looks_up=True) for each in texts[:2])
    assert drafted(one.draft([7, 1, 2, 3], 1)) == [4]
    assert drafted(one.draft([7, 1, 2, 3, 9, 1, 2, 3], 1)) == [9]
    assert drafted(other.draft([8, 1, 2, 3], 1)) == [4]


class TestAcceptanceRates:
    """Rates follow what was accepted lately, for each length of a match."""

    def test_long_matches_are_trusted_more(self) -> None:
        rates = AcceptanceRates()
        assert [rates.rate(n) for n in (0, 3, 8, 40)] == sorted(
            rates.rate(n) for n in (0, 3, 8, 40)
        )

    def test_they_follow_the_last_tokens(self) -> None:
        rates = AcceptanceRates()
        for _ in range(30):
            rates.observe(3, is_accepted=False)
        assert rates.rate(3) < 0.15
        assert rates.rate(20) == AcceptanceRates().rate(20)
        for _ in range(30):
            rates.observe(3, is_accepted=True)
        assert rates.rate(3) > 0.8

    def test_chances_are_of_all_tokens_up_to_one(self) -> None:
        rates = AcceptanceRates()
        first, second = rates.chances(2, 2)
        assert (first, second) == (rates.rate(2), rates.rate(2) * rates.rate(3))
        anywhere = rates.rate(2, is_anywhere=True)
        assert rates.chances(2, 2, is_anywhere=True) == [anywhere, anywhere * rates.rate(3)]

    def test_two_tokens_anywhere_are_not_what_is_come_back_to(self) -> None:
        rates = AcceptanceRates()
        assert rates.rate(2, is_anywhere=True) < rates.rate(3) < rates.rate(2)
        for _ in range(20):
            rates.observe(2, is_accepted=False, is_anywhere=True)
        assert rates.rate(2, is_anywhere=True) < 0.2
        assert rates.rate(2) == AcceptanceRates().rate(2)

    @pytest.mark.parametrize("length", [7, 12, 16, 30])
    def test_drafts_end_where_passages_of_one_length_do(self, length: int) -> None:
        rates = AcceptanceRates()
        for _ in range(8):
            for n in range(3, length):
                rates.observe(n, is_accepted=True)
            rates.observe(length, is_accepted=False)
        assert rates.rate(length) < 0.5
        assert all(rates.rate(n) > 0.8 for n in range(3, length))


def sure(n_tokens: int, chance: float = 1.0) -> Draft:
    return Draft([0] * n_tokens, [chance**n for n in range(1, n_tokens + 1)])


def per_row(slope: float) -> Callable[[int], float]:
    return lambda n_rows: 1 + slope * (n_rows - 1)


class TestLengths:
    """Lengths are those with the largest product of all sequences' speeds."""

    def test_a_single_stream_gets_what_is_fastest(self) -> None:
        assert choose_lengths({"a": sure(16)}, 1, per_row(0.1), 100) == {"a": 16}
        assert choose_lengths({"a": sure(16)}, 1, per_row(1.1), 100) == {}
        some = choose_lengths({"a": sure(16, 0.7)}, 1, per_row(0.2), 100)
        assert 1 <= some["a"] <= 4

    def test_lengths_that_kernels_waste_are_passed_over(self) -> None:
        def tiles(n_rows: int) -> float:
            return 1 + 0.5 * (-(-n_rows // 4) - 1)

        assert choose_lengths({"a": sure(9, 0.95)}, 1, tiles, 100) == {"a": 7}

    def test_who_has_no_draft_is_not_slowed_down_for_others(self) -> None:
        drafts = {"a": sure(16)}
        assert choose_lengths(drafts, 8, per_row(0.5), 100) == {}
        assert choose_lengths(drafts, 8, per_row(0.001), 100) == {"a": 16}

    def test_the_surer_drafts_are_longer(self) -> None:
        lengths = choose_lengths({"a": sure(8), "b": sure(8, 0.4)}, 2, per_row(0.2), 100)
        assert lengths["a"] > lengths.get("b", 0)

    def test_there_are_no_more_rows_than_there_is_room(self) -> None:
        lengths = choose_lengths({"a": sure(8), "b": sure(8)}, 2, per_row(0.0), 5)
        assert sum(lengths.values()) == 5
        assert choose_common_length({"a": sure(8), "b": sure(8)}, 2, per_row(0.0), 5) == {
            "a": 2,
            "b": 2,
        }

    def test_a_common_length_is_for_all_or_for_none(self) -> None:
        drafts = {"a": sure(8), "b": sure(3)}
        assert choose_common_length(drafts, 2, per_row(0.1), 100) == {"a": 3, "b": 3}
        assert choose_common_length(drafts, 3, per_row(0.1), 100) == {}


class TestExpectedCosts:
    """What drafts are measured by: means, but nothing bad that was seen once or twice."""

    def test_a_mean_leaves_out_the_slowest(self) -> None:
        costs = RowCosts()
        for seconds in (1.0, 2.0, 3.0, 50.0):
            costs.observe(1, seconds)
        assert costs.expected(1) == 2.0

    def test_one_bad_moment_rules_nothing_out(self) -> None:
        costs = RowCosts()
        for _ in range(3):
            costs.observe(1, 1.0)
        before = costs.expected(8)
        costs.observe(8, 100.0)
        assert costs.expected(8) == before
        costs.observe(8, before / 4)
        costs.observe(8, before / 4)
        assert costs.expected(8) < before

    def test_what_was_long_ago_is_tried_again(self) -> None:
        costs = RowCosts()
        for _ in range(3):
            costs.observe(8, 100.0)
        assert costs.expected(8) == 100.0
        for _ in range(600):
            costs.observe(1, 1.0)
        assert costs.expected(8) < 100.0

    def test_prompts_tell_what_many_rows_cost(self) -> None:
        costs = RowCosts()
        for _ in range(3):
            costs.observe(1, 1.0)
        costs.observe_prompt(101, 10.0)
        assert costs.expected(11) == pytest.approx(2.0)  # a tenth more than without logits
