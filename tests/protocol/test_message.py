"""Messages put together of an answer's outputs, however these are cut."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from shared.chat.deltas import DeltaParser, PlainParser
from shared.chat.reasoning import ReasoningFormat, ReasoningParser
from shared.chat.tools.hermes import HermesFormat
from shared.engine.types import FinishReason, Output
from shared.protocol.openai.chat_format import ChatStream, chat_body
from shared.protocol.openai.message import MessageChoice, MessageFormat
from tests.api.messages import Both
from tests.api.openai_types import chat_chunks, chat_completion
from tests.protocol.hand_made import HEAD, Vocabulary, scored, usage

THINK = ReasoningFormat("<think>", "</think>")
THOUGHT = "Let me see.\n</think>\n\n"
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Oslo"}}\n</tool_call>'
OTHER = '<tool_call>\n{"name": "get_time", "arguments": {}}\n</tool_call>'


def message_format(
    *, tools: bool = True, reasoning: bool = False, legacy: bool = False
) -> MessageFormat:
    def new_parser() -> DeltaParser:
        content = HermesFormat().parser([]) if tools else PlainParser()
        return ReasoningParser(THINK, content, opened=True) if reasoning else content

    return MessageFormat(
        new_parser=new_parser,
        call_id=lambda choice, call: f"call_{choice}_{call}",
        calls_tools=tools,
        is_legacy=legacy,
    )


def outputs(
    text: str,
    size: int = 3,
    *,
    reason: FinishReason = "stop",
    stop: str | None = None,
    index: int = 0,
) -> list[Output]:
    """``text`` as outputs of ``size`` characters, each of one token with its log probability."""
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    found = [Output(index, piece, [scored(0, -0.1)], tokens=[0]) for piece in pieces]
    end = Output(index, "", finish_reason=reason, stop=stop, usage=usage(), tokens=[9])
    return [*found, end]


def read(format: MessageFormat, *parts: Sequence[Output]) -> Both:
    """The outputs of each choice as a body and as a stream."""
    choices = [MessageChoice(format, index) for index in range(len(parts))]
    stream = ChatStream(HEAD, len(parts), include_usage=True, texts=Vocabulary(), format=format)
    events = stream.begin()
    for part in parts:
        for output in part:
            choices[output.index].add(output)
            events += stream.format([output])
    events += stream.end()
    body = chat_body(HEAD, choices, Vocabulary())
    return Both(chat_completion(body), chat_chunks(events.decode()))


def answer(format: MessageFormat, text: str, size: int = 3, **end: Any) -> dict[str, Any]:
    """The only choice, the same in body and stream."""
    (found,) = read(format, outputs(text, size, **end)).agree()
    return found


def functions(found: dict[str, Any]) -> list[tuple[str, str]]:
    return [(c["function"]["name"], c["function"]["arguments"]) for c in found["tool_calls"] or ()]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 1000])
class TestPieces:
    """How the text is cut changes nothing."""

    def test_a_call(self, size: int) -> None:
        found = answer(message_format(), CALL, size)

        assert functions(found) == [("get_weather", '{"city": "Oslo"}')]
        assert (found["content"], found["finish_reason"]) == (None, "tool_calls")

    def test_content_before_two_calls(self, size: int) -> None:
        found = answer(message_format(), f"I look.\n{CALL}\n{OTHER}", size)

        assert functions(found) == [("get_weather", '{"city": "Oslo"}'), ("get_time", "{}")]
        assert (found["content"], found["finish_reason"]) == ("I look.", "tool_calls")

    def test_reasoning_before_a_call(self, size: int) -> None:
        found = answer(message_format(reasoning=True), THOUGHT + CALL, size)

        assert found["reasoning_content"] == "Let me see."
        assert functions(found) == [("get_weather", '{"city": "Oslo"}')]
        assert found["content"] is None

    def test_reasoning_before_content(self, size: int) -> None:
        found = answer(message_format(tools=False, reasoning=True), THOUGHT + "It is <b>5.", size)

        assert found["reasoning_content"] == "Let me see."
        assert (found["content"], found["finish_reason"]) == ("It is <b>5.", "stop")

    def test_no_call(self, size: int) -> None:
        found = answer(message_format(), "5 < 6\n<tool_calls> & more", size)

        assert (found["content"], found["finish_reason"]) == ("5 < 6\n<tool_calls> & more", "stop")
        assert found["tool_calls"] is None

    def test_a_function_as_they_used_to_be(self, size: int) -> None:
        found = answer(message_format(legacy=True), CALL, size)

        assert found["function_call"] == {"name": "get_weather", "arguments": '{"city": "Oslo"}'}
        assert (found["tool_calls"], found["content"]) == (None, None)
        assert found["finish_reason"] == "function_call"

    def test_every_log_probability_comes_once(self, size: int) -> None:
        text = THOUGHT + "I look.\n" + CALL
        found = read(message_format(reasoning=True), outputs(text, size))

        (whole,) = found.agree()
        assert len(whole["logprobs"]) == -(-len(text) // size)


class TestEnds:
    """What the last output says, and what it leaves unsaid."""

    @pytest.mark.sweep(25)
    @pytest.mark.parametrize("length", range(1, len(CALL)))
    def test_a_call_may_be_cut_off_anywhere(self, length: int) -> None:
        found = answer(message_format(), CALL[:length], reason="length")

        assert found["finish_reason"] == "length"
        for name, arguments in functions(found):
            assert name == "get_weather"
            assert '{"city": "Oslo"}'.startswith(arguments)
        assert found["content"] or functions(found), "nothing is lost"

    @pytest.mark.sweep(2)
    @pytest.mark.parametrize(
        ("text", "stop", "reason"),
        [
            (CALL[:-20], "x", "stop"),
            (CALL[: -len("</tool_call>")], "</tool_call>", "tool_calls"),
            (f"{CALL}\n{OTHER}", "x", "tool_calls"),
            (f"{OTHER}\n{CALL[:-20]}", "x", "stop"),
            (CALL.replace('"Oslo"', "[" * 100_000), "x", "stop"),
            ("Hello", "x", "stop"),
        ],
        ids=lambda value: str(value)[:40],
    )
    def test_a_stop_string_within_arguments_is_no_call(
        self, text: str, stop: str, reason: str
    ) -> None:
        assert answer(message_format(), text, 1000, stop=stop)["finish_reason"] == reason

    def test_the_last_output_may_have_text(self) -> None:
        parts = outputs(THOUGHT + CALL)
        parts[-2:] = [
            Output(0, parts[-2].text, [scored(0, -0.1)], "stop", usage=usage(), tokens=[0, 9])
        ]

        (found,) = read(message_format(reasoning=True), parts).agree()

        assert functions(found) == [("get_weather", '{"city": "Oslo"}')]
        assert len(found["logprobs"]) == len(parts)

    def test_an_answer_may_be_empty(self) -> None:
        for format in (message_format(), message_format(tools=False, reasoning=True)):
            found = answer(format, "")
            assert (found["content"], found["finish_reason"]) == (None, "stop")

    def test_thoughts_may_have_no_end(self) -> None:
        found = answer(message_format(reasoning=True), "Let me see. \n", reason="length")

        assert found["reasoning_content"] == "Let me see. \n"
        assert found["content"] is None


class TestReasoningTokens:
    """Tokens of the thoughts and of the marks around them."""

    @pytest.mark.parametrize(
        ("text", "n_tokens"),
        [
            ("abc</think>def", len("abc</think>")),
            ("<think>abc</think>def", len("<think>abc</think>")),
            ("abc", len("abc") + 1),  # the end too: the thought never ended
            ("</think>def", len("</think>")),
        ],
    )
    def test_are_counted(self, text: str, n_tokens: int) -> None:
        found = read(message_format(tools=False, reasoning=True), outputs(text, 1))

        found.agree()
        assert found.streamed_usage["completion_tokens_details"]["reasoning_tokens"] == n_tokens

    def test_are_those_of_all_choices(self) -> None:
        found = read(
            message_format(reasoning=True),
            outputs("ab</think>" + CALL, 1),
            outputs("a</think>Hi", 1, index=1),
        )

        found.agree()
        counted = found.streamed_usage["completion_tokens_details"]["reasoning_tokens"]
        assert counted == len("ab</think>") + len("a</think>")


def test_choices_have_calls_of_their_own() -> None:
    found = read(
        message_format(),
        outputs(f"{CALL}\n{OTHER}"),
        outputs("Hello", index=1),
        outputs(OTHER, index=2),
    )

    assert [len(answer["tool_calls"] or ()) for answer in found.agree()] == [2, 0, 1]
    ids = [[call.id for call in choice.message.tool_calls or ()] for choice in found.body.choices]
    assert ids == [["call_0_0", "call_0_1"], [], ["call_2_0"]]


def test_a_stream_that_may_call_begins_without_content() -> None:
    calling = read(message_format(), outputs(CALL)).chunks[0].choices[0].delta
    thinking = read(message_format(tools=False, reasoning=True), outputs("x")).chunks[0]

    assert calling.model_dump(exclude_unset=True) == {
        "role": "assistant",
        "content": None,
        "refusal": None,
    }
    assert thinking.choices[0].delta.content == ""


def test_body_and_stream_name_a_call_alike() -> None:
    found = read(message_format(), outputs(CALL))

    streamed = [
        call.id
        for chunk in found.chunks
        for choice in chunk.choices
        for call in choice.delta.tool_calls or ()
        if call.id is not None
    ]
    assert streamed == ["call_0_0"]
    assert json.loads(functions(found.whole[0])[0][1]) == {"city": "Oslo"}
