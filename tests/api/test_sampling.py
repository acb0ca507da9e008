"""What the sampling fields do to the text."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from shared.engine.llama.model import Model
from tests.api.conftest import StartServer
from tests.api.openai_types import chat_completion, text_chunks, text_completion
from tests.api.texts import STORY, chat_text, streamed_chat_text, token
from tests.server import Server


def test_temperature_zero_is_greedy(server: Server) -> None:
    texts = {chat_text(server, temperature=0, seed=seed) for seed in (1, 2, 3)}
    assert len(texts) == 1


@pytest.mark.sweep(1)
@pytest.mark.parametrize("fields", [{"top_p": 0}, {"top_p": 1e-6}, {"top_k": 1}, {"min_p": 1}])
def test_leaving_one_token_to_choose_from_is_greedy(
    server: Server, fields: dict[str, float]
) -> None:
    greedy = chat_text(server, temperature=0)
    assert chat_text(server, temperature=2, seed=5, **fields) == greedy


@pytest.mark.parametrize("top_k", [0, -1])
def test_top_k_of_nothing_keeps_all(server: Server, top_k: int) -> None:
    fields = {"temperature": 2, "seed": 5}
    assert chat_text(server, top_k=top_k, **fields) == chat_text(server, **fields)


@pytest.mark.sweep(1)
@pytest.mark.parametrize("temperature", [1e-7, 1e-45, 1e-100, 5e-324])
def test_a_temperature_of_almost_zero_is_greedy(server: Server, temperature: float) -> None:
    greedy = chat_text(server, temperature=0)
    assert chat_text(server, temperature=temperature, seed=5) == greedy
    assert chat_text(server, temperature=temperature, seed=5, top_k=50) == greedy


@pytest.mark.slow
def test_high_temperature_varies_with_the_seed(server: Server) -> None:
    texts = {chat_text(server, temperature=2, seed=seed) for seed in range(4)}
    assert len(texts) == 4


def test_without_a_seed_answers_differ(server: Server) -> None:
    assert len({chat_text(server, temperature=2) for _ in range(3)}) > 1


@pytest.mark.sweep(1)
@pytest.mark.parametrize("seed", [0, 42, -1, -(2**63), 2**64 - 1])
def test_the_same_seed_gives_the_same_text(server: Server, seed: int) -> None:
    first = chat_text(server, temperature=1.5, seed=seed)
    assert chat_text(server, temperature=1.5, seed=seed) == first
    assert streamed_chat_text(server, temperature=1.5, seed=seed) == first


@pytest.mark.slow
def test_the_same_seed_gives_the_same_text_after_a_restart(
    server: Server, start_server: StartServer
) -> None:
    extras: list[dict[str, Any]] = [{}, {"xtc_probability": 0.5}, {"mirostat": 2}, {"top_k": 20}]
    requests = [{"messages": STORY, "seed": 11, "max_tokens": 40, **extra} for extra in extras]
    before = [chat_completion(server.chat(**request).content) for request in requests]
    restarted = start_server()
    after = [chat_completion(restarted.chat(**request).content) for request in requests]
    for one, other in zip(before, after, strict=True):
        assert one.choices[0].message.content == other.choices[0].message.content
        assert one.system_fingerprint == other.system_fingerprint


def test_choices_of_one_request_differ_among_themselves(server: Server) -> None:
    response = server.chat(messages=STORY, n=4, seed=3, temperature=2, max_tokens=30)
    texts = [choice.message.content for choice in chat_completion(response.content).choices]
    assert len(set(texts)) == 4


@pytest.mark.parametrize("n_tokens", [1, 2, 33])
@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_the_limit_of_completion_tokens_is_exact(server: Server, field: str, n_tokens: int) -> None:
    response = server.chat(messages=STORY, ignore_eos=True, **{field: n_tokens})
    completion = chat_completion(response.content)
    assert completion.usage is not None
    assert completion.usage.completion_tokens == n_tokens
    assert completion.choices[0].finish_reason == "length"


def test_max_completion_tokens_wins_over_its_older_name(server: Server) -> None:
    fields = {"max_completion_tokens": 3, "max_tokens": 9, "ignore_eos": True}
    usage = chat_completion(server.chat(**fields).content).usage
    assert usage is not None
    assert usage.completion_tokens == 3


def test_a_limit_above_the_models_is_lowered_to_it(keyed_server: Server) -> None:
    response = keyed_server.post(
        "/v1/chat/completions",
        {"messages": STORY, "max_tokens": 10**18, "ignore_eos": True},
        headers={"authorization": "Bearer another-key"},
    )
    completion = chat_completion(response.content)
    assert completion.usage is not None
    assert completion.usage.completion_tokens == 20
    assert completion.choices[0].finish_reason == "length"


class TestStop:
    """`stop` ends the text and is never in it."""

    @pytest.fixture
    def text(self, server: Server) -> str:
        """A greedy answer of many tokens."""
        return chat_text(server, temperature=0)

    @pytest.mark.parametrize("as_list", [False, True])
    def test_ends_the_text_before_the_stop_string(
        self, server: Server, text: str, as_list: bool
    ) -> None:
        stop = text[20:23]
        response = server.chat(
            messages=STORY, temperature=0, max_tokens=40, stop=[stop] if as_list else stop
        )
        choice = chat_completion(response.content).choices[0]
        assert choice.message.content == text[: text.index(stop)]
        assert choice.finish_reason == "stop"

    @pytest.mark.sweep(1)
    @pytest.mark.parametrize("length", [1, 2, 7, 15, 30])
    def test_is_found_across_tokens(self, server: Server, text: str, length: int) -> None:
        stop = text[25 : 25 + length]
        expected = text[: text.index(stop)]
        assert chat_text(server, temperature=0, stop=stop) == expected
        assert streamed_chat_text(server, temperature=0, stop=stop) == expected

    def test_the_first_of_several_in_the_text_ends_it(self, server: Server, text: str) -> None:
        later, earlier = text[40:50], text[20:30]
        stops = ["not in there", later, earlier, *"\x01\x02\x03\x04\x05\x06\x07\x08"]
        expected = text[: text.index(earlier)]
        assert chat_text(server, temperature=0, stop=stops) == expected

    def test_text_held_back_for_a_stop_that_does_not_come_is_delivered(
        self, server: Server, text: str
    ) -> None:
        almost = text[-12:] + "\x00"
        assert chat_text(server, temperature=0, stop=almost) == text
        assert streamed_chat_text(server, temperature=0, stop=almost) == text

    def test_works_for_text_completions(self, server: Server) -> None:
        fields = {"temperature": 0, "max_tokens": 30}
        text = text_completion(server.text(**fields).content).choices[0].text
        stop = text[10:25]
        expected = text[: text.index(stop)]
        whole = text_completion(server.text(**fields, stop=stop).content).choices[0]
        streamed = text_chunks(server.text(**fields, stop=stop, stream=True).text)
        assert (whole.text, whole.finish_reason) == (expected, "stop")
        assert "".join(chunk.choices[0].text for chunk in streamed) == expected

    def test_a_control_token_is_not_needed_to_stop(self, server: Server) -> None:
        response = server.chat(messages=STORY, temperature=0, ignore_eos=True, stop=[" "])
        assert " " not in (chat_completion(response.content).choices[0].message.content or "")


class TestLogitBias:
    """`logit_bias` is added to the logits before sampling."""

    def test_100_forces_a_token(self, server: Server, vocabulary: Model) -> None:
        forced = token(vocabulary, "a")
        response = server.text(logit_bias={str(forced): 100}, max_tokens=10, temperature=1)
        assert text_completion(response.content).choices[0].text == "a" * 10

    def test_minus_100_bans_a_token(self, server: Server, vocabulary: Model) -> None:
        text = text_completion(server.text(temperature=0, max_tokens=30).content).choices[0].text
        banned = {
            str(t): -100
            for t in range(vocabulary.n_vocab)
            if set(vocabulary.piece(t).decode("utf-8", "replace")) & set("aeiou")
        }
        response = server.text(logit_bias=banned, max_tokens=60, temperature=1, ignore_eos=True)
        banned_text = text_completion(response.content).choices[0].text
        assert set(text) & set("aeiou")
        assert not set(banned_text) & set("aeiou")

    def test_works_for_chat(self, server: Server, vocabulary: Model) -> None:
        forced = token(vocabulary, "b")
        assert chat_text(server, logit_bias={str(forced): 100}, max_tokens=7) == "b" * 7

    def test_the_vocabulary_is_the_limit(self, server: Server, vocabulary: Model) -> None:
        last, beyond = vocabulary.n_vocab - 1, vocabulary.n_vocab
        assert server.text(logit_bias={str(last): -1}).status_code == 200
        refused = server.text(logit_bias={str(last): -1, str(beyond): -1})
        assert refused.status_code == 400
        assert refused.json()["error"]["param"] == "logit_bias"
        assert str(beyond) in refused.json()["error"]["message"]

    @pytest.mark.parametrize("temperature", [0, 1])
    @pytest.mark.parametrize("fields", [{}, {"top_p": 0.9}, {"ignore_eos": True}])
    def test_an_answer_that_may_say_nothing_ends(
        self, server: Server, vocabulary: Model, temperature: float, fields: dict[str, Any]
    ) -> None:
        everything = {str(t): -100 for t in range(vocabulary.n_vocab)}
        response = server.text(logit_bias=everything, temperature=temperature, **fields)
        choice = text_completion(response.content).choices[0]
        assert (choice.text, choice.finish_reason) == ("", "stop")

    def test_a_forced_end_token_ends_at_once(self, server: Server, vocabulary: Model) -> None:
        end = str(int(vocabulary.end_tokens[0]))
        response = server.chat(messages=STORY, logit_bias={end: 100})
        completion = chat_completion(response.content)
        assert completion.choices[0].message.content == ""
        assert completion.choices[0].finish_reason == "stop"


class TestPenalties:
    """Penalties count sampled tokens."""

    def counts(self, server: Server, vocabulary: Model, **fields: float) -> Counter[str]:
        """How often each of two tokens came when only these are possible."""
        forced = {str(token(vocabulary, letter)): 100 for letter in "ab"}
        response = server.text(
            logit_bias=forced, max_tokens=100, temperature=0, ignore_eos=True, **fields
        )
        text = text_completion(response.content).choices[0].text
        assert len(text) == 100
        return Counter(text)

    def test_a_frequency_penalty_balances_two_tokens(
        self, server: Server, vocabulary: Model
    ) -> None:
        balanced = self.counts(server, vocabulary, frequency_penalty=2)
        assert set(balanced) == {"a", "b"}
        assert min(balanced.values()) >= 30

    @pytest.mark.slow
    def test_a_negative_frequency_penalty_favours_what_came_first(
        self, server: Server, vocabulary: Model
    ) -> None:
        plain = self.counts(server, vocabulary)
        favoured = self.counts(server, vocabulary, frequency_penalty=-2)
        assert max(favoured.values()) >= max(plain.values())
        assert max(favoured.values()) >= 90

    @pytest.mark.slow
    def test_penalties_change_a_text_that_repeats_itself(self, server: Server) -> None:
        fields = {"temperature": 0, "ignore_eos": True, "max_tokens": 100}
        plain = chat_text(server, **fields)
        assert chat_text(server, **fields, frequency_penalty=1) != plain
        assert chat_text(server, **fields, presence_penalty=2) != plain
        assert chat_text(server, **fields, repeat_penalty=2) != plain

    @pytest.mark.slow
    def test_repetition_penalty_is_another_name_of_repeat_penalty(self, server: Server) -> None:
        fields = {"temperature": 0, "ignore_eos": True, "max_tokens": 100}
        penalised = chat_text(server, **fields, repeat_penalty=1.5)
        assert chat_text(server, **fields, repetition_penalty=1.5) == penalised
        assert chat_text(server, **fields, repetition_penalty=3, repeat_penalty=1.5) == penalised

    @pytest.mark.parametrize("last_n", [1, 5])
    def test_repeat_last_n_forgets_what_is_longer_ago(
        self, server: Server, vocabulary: Model, last_n: int
    ) -> None:
        """Each letter is likelier than the next one by far more than the model's opinion."""
        letters = "abcdefgh"
        bias = {str(token(vocabulary, letter)): 100 - 8 * i for i, letter in enumerate(letters)}
        response = server.text(
            logit_bias=bias, repeat_penalty=100, repeat_last_n=last_n, max_tokens=24, temperature=0
        )
        text = text_completion(response.content).choices[0].text
        assert set(text) == set(letters[: last_n + 1])
        assert all(text[i] not in text[max(0, i - last_n) : i] for i in range(len(text)))


def test_min_tokens_puts_off_the_end(server: Server) -> None:
    completion = chat_completion(server.chat(temperature=0, min_tokens=30, max_tokens=60).content)
    assert completion.usage is not None
    assert completion.usage.completion_tokens >= 30


def test_the_end_token_ends_an_answer_by_itself(server: Server) -> None:
    completion = chat_completion(server.chat(temperature=0).content)
    assert completion.usage is not None
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage.completion_tokens < 60
    assert "<|" not in (completion.choices[0].message.content or "")
