"""Engine outputs as chat completions: bodies and chunks."""

from __future__ import annotations

import pytest
from openai.types.chat import ChatCompletionChunk

from shared.engine.types import Output
from shared.protocol.errors import APIError
from shared.protocol.openai.chat_format import ChatStream, chat_body
from tests.api.openai_types import chat_chunks, chat_completion
from tests.protocol.hand_made import END, HEAD, Vocabulary, finished, last, scored, usage


def stream(
    *batches: list[Output], n: int = 1, include_usage: bool = False, logprobs: bool = False
) -> list[ChatCompletionChunk]:
    """The chunks for outputs that come in ``batches``."""
    chat = ChatStream(
        HEAD, n, include_usage=include_usage, texts=Vocabulary() if logprobs else None
    )
    raw = chat.begin() + b"".join(chat.format(batch) for batch in batches) + chat.end()
    return chat_chunks(raw.decode())


def test_a_body_holds_the_text_the_reason_and_the_usage() -> None:
    body = chat_body(HEAD, finished(Output(0, "Hel"), Output(0, "lo"), last()), None)
    completion = chat_completion(body)
    choice = completion.choices[0]
    assert (choice.index, choice.message.content, choice.finish_reason) == (0, "Hello", "stop")
    assert choice.message.role == "assistant"
    assert choice.logprobs is None
    assert completion.id == "id-1"
    assert completion.created == 1_700_000_000
    assert completion.model == "test/model"
    assert completion.system_fingerprint == "fp_0"
    assert completion.service_tier == "default"


def test_choices_that_end_at_different_times_keep_their_index() -> None:
    outputs = [Output(1, "b"), last(2, "c", "length"), Output(0, "a"), last(1, "B"), last(0)]
    completion = chat_completion(chat_body(HEAD, finished(*outputs, n=3), None))
    assert [choice.message.content for choice in completion.choices] == ["a", "bB", "c"]
    assert [choice.finish_reason for choice in completion.choices] == ["stop", "stop", "length"]


def test_usage_counts_the_prompt_once_and_every_completion() -> None:
    outputs = [
        last(0, cost=usage(10, 8, 3)),
        last(1, cost=usage(10, 9, 4)),
        last(2, cost=usage(10, 9, 5)),
    ]
    total = chat_completion(chat_body(HEAD, finished(*outputs, n=3), None)).usage
    assert total is not None
    assert total.prompt_tokens_details is not None
    assert total.completion_tokens_details is not None
    assert (total.prompt_tokens, total.completion_tokens, total.total_tokens) == (10, 12, 22)
    assert total.prompt_tokens_details.cached_tokens == 8
    assert total.completion_tokens_details.reasoning_tokens == 0


def test_an_empty_answer_is_an_empty_string() -> None:
    completion = chat_completion(chat_body(HEAD, finished(last()), None))
    assert completion.choices[0].message.content == ""


@pytest.mark.parametrize("text", ['"\\\n\t\x00', "你好 🔥", "\u2028", "</script>", "é" * 1000])
def test_any_text_survives_body_and_stream(text: str) -> None:
    completion = chat_completion(chat_body(HEAD, finished(last(text=text)), None))
    chunks = stream([Output(0, text)], [last()])
    assert completion.choices[0].message.content == text
    assert chunks[1].choices[0].delta.content == text


def test_a_stream_begins_with_the_role_of_each_choice() -> None:
    chunks = stream([last(0), last(1)], n=2)
    assert [c.choices[0].index for c in chunks[:2]] == [0, 1]
    assert [c.choices[0].delta.role for c in chunks[:2]] == ["assistant", "assistant"]
    assert [c.choices[0].delta.content for c in chunks[:2]] == ["", ""]


def test_a_streams_last_chunk_of_a_choice_carries_only_the_reason() -> None:
    chunks = stream([Output(0, "a")], [last(0, "b", "length")])
    assert [chunk.choices[0].delta.content for chunk in chunks[1:-1]] == ["a", "b"]
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None, None, None, "length"]
    assert chunks[-1].choices[0].delta.content is None
    assert all(chunk.id == "id-1" for chunk in chunks)


def test_outputs_without_text_give_no_chunk() -> None:
    assert len(stream([Output(0, "")], [Output(0, "")], [last()])) == 2


def test_many_outputs_at_once_give_a_chunk_each() -> None:
    chunks = stream([Output(0, "a"), Output(1, "b"), last(0, "c"), last(1, "d")], n=2)
    texts = {0: "", 1: ""}
    for choice in (chunk.choices[0] for chunk in chunks):
        texts[choice.index] += choice.delta.content or ""
    assert texts == {0: "ac", 1: "bd"}


def test_usage_comes_in_a_chunk_without_choices_and_is_null_before() -> None:
    chunks = stream(
        [last(0, "a", cost=usage(7, 2, 3)), last(1, "b", cost=usage(7, 6, 4))],
        n=2,
        include_usage=True,
    )
    assert all(chunk.usage is None and chunk.choices for chunk in chunks[:-1])
    assert all("usage" in chunk.model_fields_set for chunk in chunks)
    total = chunks[-1].usage
    assert chunks[-1].choices == []
    assert total is not None
    assert (total.prompt_tokens, total.completion_tokens, total.total_tokens) == (7, 7, 14)


def test_without_asking_chunks_do_not_mention_usage() -> None:
    assert not any("usage" in chunk.model_fields_set for chunk in stream([last()]))


def test_log_probabilities_have_text_bytes_and_alternatives() -> None:
    entry = scored(0, -0.5, (0, -0.5), (2, -1.5))
    completion = chat_completion(
        chat_body(HEAD, finished(last(text="Hello", logprobs=[entry])), Vocabulary())
    )
    logprobs = completion.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    token = logprobs.content[0]
    assert (token.token, token.logprob, token.bytes) == ("Hello", -0.5, list(b"Hello"))
    assert [(top.token, top.logprob) for top in token.top_logprobs] == [
        ("Hello", -0.5),
        ("!", -1.5),
    ]


def test_control_tokens_have_no_bytes() -> None:
    entry = scored(0, -0.5, (0, -0.5), (END, -2.0))
    completion = chat_completion(
        chat_body(HEAD, finished(last(text="Hello", logprobs=[entry])), Vocabulary())
    )
    logprobs = completion.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    end = logprobs.content[0].top_logprobs[1]
    assert (end.token, end.bytes) == ("<|end|>", None)


def test_parts_of_a_character_have_their_true_bytes() -> None:
    parts = [scored(token, -0.1) for token in (3, 4, 5)]
    chunks = stream([Output(0, "你", parts)], [last()], logprobs=True)
    logprobs = chunks[1].choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert [entry.bytes for entry in logprobs.content] == [[0xE4], [0xBD], [0xA0]]


def test_log_probabilities_come_also_with_the_last_output() -> None:
    chunks = stream(
        [Output(0, "Hello", [scored(0, -0.1)])],
        [last(0, "", logprobs=[scored(1, -0.2)])],
        logprobs=True,
    )
    tokens = [
        entry.token
        for chunk in chunks
        if chunk.choices[0].logprobs
        for entry in chunk.choices[0].logprobs.content or ()
    ]
    assert tokens == ["Hello", " world"]


@pytest.mark.parametrize("streamed", [False, True])
def test_a_failed_sequence_is_a_server_error(streamed: bool) -> None:
    failed = last(0, reason="error")
    with pytest.raises(APIError) as caught:
        _ = stream([failed]) if streamed else finished(failed)
    assert caught.value.status == 500
    assert caught.value.type == "server_error"


def test_log_probabilities_stand_where_the_texts_say_that_there_are_none() -> None:
    """They are put into the body's JSON: no text may be taken for their place."""
    text = '"logprobs":null, \\"logprobs\\":null'
    outputs = [Output(0, text, logprobs=[scored(0, -0.5)]), last(0), last(1, text)]
    body = chat_completion(chat_body(HEAD, finished(*outputs, n=2), Vocabulary()))
    assert [choice.message.content for choice in body.choices] == [text, text]
    found = [choice.logprobs.content for choice in body.choices if choice.logprobs]
    assert [len(content or []) for content in found] == [1, 0]
