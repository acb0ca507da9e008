"""Log probabilities in the chat API's shape and in the text API's."""

from __future__ import annotations

import math
from typing import Any

import pytest
from openai.types.chat import ChatCompletionTokenLogprob
from openai.types.completion_choice import Logprobs

from shared.engine.llama.model import Model
from tests.api.openai_types import chat_chunks, chat_completion, text_chunks, text_completion
from tests.rounding import LOGPROB_ROUNDING
from tests.server import CAPITAL, Server, user

EMOJI = user("Send me three emoji")
CHINESE = user("Say hello in Chinese")


def chat_tokens(server: Server, **fields: Any) -> list[ChatCompletionTokenLogprob]:
    """The tokens of a greedy chat completion."""
    response = server.chat(**{"temperature": 0, "logprobs": True, "max_tokens": 30, **fields})
    logprobs = chat_completion(response.raise_for_status().content).choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    return logprobs.content


def text_columns(server: Server, **fields: Any) -> tuple[str, Logprobs]:
    """A greedy text completion and its columns."""
    response = server.text(**{"temperature": 0, "logprobs": 3, **fields})
    choice = text_completion(response.raise_for_status().content).choices[0]
    assert choice.logprobs is not None
    return choice.text, choice.logprobs


class TestChatShape:
    """`choices[].logprobs.content[]`."""

    def test_there_is_an_entry_for_every_token_of_the_text(self, server: Server) -> None:
        response = server.chat(temperature=0, logprobs=True, ignore_eos=True, max_tokens=20)
        completion = chat_completion(response.content)
        tokens = chat_tokens(server, ignore_eos=True, max_tokens=20)
        assert len(tokens) == 20
        text = b"".join(bytes(entry.bytes or ()) for entry in tokens)
        assert text.decode() == completion.choices[0].message.content

    @pytest.mark.parametrize("n_top", [0, 1, 5, 20])
    def test_the_likeliest_tokens_come_in_order(self, server: Server, n_top: int) -> None:
        for entry in chat_tokens(server, top_logprobs=n_top):
            logprobs = [top.logprob for top in entry.top_logprobs]
            assert len(logprobs) == n_top
            assert logprobs == sorted(logprobs, reverse=True)
            assert sum(math.exp(logprob) for logprob in logprobs) <= 1 + 1e-6
            assert all(logprob <= 0 for logprob in logprobs)

    def test_a_greedy_token_is_the_likeliest(self, server: Server) -> None:
        for entry in chat_tokens(server, top_logprobs=2):
            assert entry.top_logprobs[0].token == entry.token
            assert entry.top_logprobs[0].bytes == entry.bytes
            assert entry.top_logprobs[0].logprob == pytest.approx(entry.logprob, abs=1e-6)

    def test_a_sampled_token_has_its_own_log_probability(self, server: Server) -> None:
        entries = chat_tokens(server, temperature=2, seed=4, top_logprobs=20, ignore_eos=True)
        among_top = [
            (entry.logprob, top.logprob)
            for entry in entries
            for top in entry.top_logprobs
            if (top.token, top.bytes) == (entry.token, entry.bytes)
        ]
        assert among_top
        assert all(own == pytest.approx(top, abs=1e-6) for own, top in among_top)

    def test_without_top_logprobs_there_are_no_alternatives(self, server: Server) -> None:
        assert all(entry.top_logprobs == [] for entry in chat_tokens(server))

    def test_they_are_the_models_own_whatever_the_sampling_does(
        self, server: Server, vocabulary: Model
    ) -> None:
        plain = chat_tokens(server, max_tokens=1, top_logprobs=5)[0]
        forced_id = vocabulary.tokenize("z", add_special=False)[0]
        forced = chat_tokens(
            server, max_tokens=1, top_logprobs=5, logit_bias={str(forced_id): 100}
        )[0]
        assert forced.token == "z"
        assert [top.token for top in forced.top_logprobs] == [
            top.token for top in plain.top_logprobs
        ]
        assert forced.logprob < -1

    @pytest.mark.parametrize("messages", [EMOJI, CHINESE])
    def test_characters_split_over_tokens_have_their_true_bytes(
        self, server: Server, messages: list[dict[str, Any]]
    ) -> None:
        response = server.chat(messages=messages, temperature=0, max_tokens=30)
        tokens = chat_tokens(server, messages=messages)
        text = b"".join(bytes(entry.bytes or ()) for entry in tokens).decode("utf-8", "ignore")
        content = chat_completion(response.content).choices[0].message.content
        assert content is not None
        assert text == content.removesuffix("\ufffd")
        assert any(ord(character) > 0x7F for character in text)

    def test_control_tokens_have_no_bytes(self, server: Server) -> None:
        tops = [top for entry in chat_tokens(server, top_logprobs=20) for top in entry.top_logprobs]
        ends = [top for top in tops if top.token == "<|im_end|>"]
        assert ends
        assert all(top.bytes is None for top in ends)
        assert all(top.bytes is not None for top in tops if not top.token.startswith("<|"))

    def test_a_stream_carries_the_same_entries(self, server: Server) -> None:
        fields = {"temperature": 0, "logprobs": True, "top_logprobs": 3, "max_tokens": 15}
        chunks = chat_chunks(server.chat(**fields, stream=True).text)
        streamed: list[ChatCompletionTokenLogprob] = []
        for chunk in chunks:
            logprobs = chunk.choices[0].logprobs
            if logprobs is not None:
                assert logprobs.content
                streamed += logprobs.content
        whole = chat_tokens(server, top_logprobs=3, max_tokens=15)
        assert [entry.token for entry in streamed] == [entry.token for entry in whole]
        assert [entry.bytes for entry in streamed] == [entry.bytes for entry in whole]
        assert [entry.logprob for entry in streamed] == pytest.approx(
            [entry.logprob for entry in whole], abs=LOGPROB_ROUNDING
        )

    def test_every_choice_has_its_own(self, server: Server) -> None:
        response = server.chat(logprobs=True, n=3, seed=1, temperature=2, max_tokens=6)
        for choice in chat_completion(response.content).choices:
            assert choice.logprobs is not None
            assert choice.logprobs.content is not None
            text = b"".join(bytes(entry.bytes or ()) for entry in choice.logprobs.content)
            assert text.decode("utf-8", "replace") == choice.message.content

    def test_without_logprobs_there_are_none(self, server: Server) -> None:
        completion = chat_completion(server.chat(messages=CAPITAL, max_tokens=2).content)
        assert completion.choices[0].logprobs is None


class TestTextShape:
    """`choices[].logprobs` in columns."""

    def test_columns_have_an_entry_for_every_token(self, server: Server) -> None:
        text, columns = text_columns(server, max_tokens=12, ignore_eos=True)
        assert columns.tokens is not None
        assert columns.token_logprobs is not None
        assert columns.top_logprobs is not None
        assert columns.text_offset is not None
        assert "".join(columns.tokens) == text
        lengths = {
            len(columns.tokens),
            len(columns.token_logprobs),
            len(columns.top_logprobs),
            len(columns.text_offset),
        }
        assert lengths == {12}

    def test_offsets_point_into_the_text(self, server: Server) -> None:
        text, columns = text_columns(server, max_tokens=12, ignore_eos=True)
        assert columns.tokens is not None
        assert columns.text_offset is not None
        for token, offset in zip(columns.tokens, columns.text_offset, strict=True):
            assert text[offset : offset + len(token)] == token

    def test_offsets_count_characters_of_the_text_where_these_are_split_over_tokens(
        self, server: Server
    ) -> None:
        """A part of a character reads ``bytes:\\xe4``, but adds at most one character."""
        prompt = "<|im_start|>user\nSay hello in Chinese<|im_end|>\n<|im_start|>assistant\n"
        text, columns = text_columns(server, prompt=prompt, max_tokens=60)
        assert columns.tokens is not None
        assert columns.text_offset is not None
        assert any(token.startswith("bytes:") for token in columns.tokens)
        assert max(columns.text_offset) <= len(text)
        for token, offset in zip(columns.tokens, columns.text_offset, strict=True):
            if not token.startswith("bytes:"):
                assert text[offset : offset + len(token)] == token

    def test_the_likeliest_tokens_are_sorted_and_hold_the_greedy_one(self, server: Server) -> None:
        _, columns = text_columns(server, max_tokens=10, ignore_eos=True, logprobs=4)
        assert columns.tokens is not None
        assert columns.token_logprobs is not None
        assert columns.top_logprobs is not None
        for token, logprob, top in zip(
            columns.tokens, columns.token_logprobs, columns.top_logprobs, strict=True
        ):
            assert len(top) == 4
            assert list(top.values()) == sorted(top.values(), reverse=True)
            assert next(iter(top)) == token
            assert top[token] == pytest.approx(logprob, abs=1e-6)

    def test_the_sampled_token_is_present_even_if_it_is_unlikely(
        self, server: Server, vocabulary: Model
    ) -> None:
        """OpenAI: "there may be up to logprobs+1 elements in the response"."""
        forced = vocabulary.tokenize("z", add_special=False)[0]
        _, columns = text_columns(server, max_tokens=3, logit_bias={str(forced): 100}, logprobs=2)
        assert columns.tokens == ["z"] * 3
        assert columns.token_logprobs is not None
        assert columns.top_logprobs is not None
        assert all(logprob < -1 for logprob in columns.token_logprobs)
        assert [top.get("z") for top in columns.top_logprobs] == columns.token_logprobs
        assert all(len(top) == 3 for top in columns.top_logprobs)

    def test_both_shapes_agree(self, server: Server) -> None:
        chat = chat_tokens(server, max_tokens=8, top_logprobs=1)
        prompt = (
            "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
        )
        _, columns = text_columns(server, prompt=prompt, max_tokens=8, logprobs=1)
        assert columns.tokens == [entry.token for entry in chat]
        assert columns.token_logprobs == pytest.approx(
            [entry.logprob for entry in chat], abs=LOGPROB_ROUNDING
        )

    def test_a_stream_carries_the_same_columns(self, server: Server) -> None:
        fields = {"temperature": 0, "logprobs": 2, "max_tokens": 12}
        _, whole = text_columns(server, max_tokens=12, logprobs=2)
        chunks = text_chunks(server.text(**fields, stream=True).text)
        tokens: list[str] = []
        logprobs: list[float] = []
        offsets: list[int] = []
        for chunk in chunks:
            part = chunk.choices[0].logprobs
            if part is not None:
                tokens += part.tokens or ()
                logprobs += part.token_logprobs or ()
                offsets += part.text_offset or ()
        assert tokens == whole.tokens
        assert offsets == whole.text_offset
        assert logprobs == pytest.approx(whole.token_logprobs, abs=LOGPROB_ROUNDING)
