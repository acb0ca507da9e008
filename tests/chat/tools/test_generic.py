"""Calls of models that were not taught any: what they are told, and how it is read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.chat.deltas import Delta
from shared.chat.tools.base import Message
from shared.chat.tools.generic import GenericFormat
from tests.chat.reading import TIME, TOOLS, WEATHER, call, content, read_calls

PARIS = '{"name": "get_weather", "arguments": {"city": "Paris"}}'
CALLED: dict[str, Any] = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        {
            "id": "call_1",
            "type": "function",
            "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'},
        },
        {
            "id": "call_2",
            "type": "function",
            "function": {"name": "get_time", "arguments": {"zone": "é"}},
        },
    ],
}
RESULTS: list[dict[str, Any]] = [
    {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
    {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "noon"}]},
]


def read(text: str) -> list[Delta]:
    return read_calls(GenericFormat(), text)


class TestReading:
    """What such a model writes."""

    @pytest.mark.parametrize("space", ["", "\n", " \n "])
    def test_one_call(self, space: str) -> None:
        assert read(space + PARIS + space) == [call("get_weather", '{"city": "Paris"}')]

    def test_a_call_on_each_line(self) -> None:
        time = '{"name": "get_time", "parameters": {"x": "{\\"🕛"}}'
        assert read(f"{PARIS}\n{time}\n") == [
            call("get_weather", '{"city": "Paris"}'),
            call("get_time", '{"x": "{\\"🕛"}', 1),
        ]

    def test_a_list_of_calls(self) -> None:
        assert read(f"[{PARIS},\n {PARIS}]") == [
            call("get_weather", '{"city": "Paris"}'),
            call("get_weather", '{"city": "Paris"}', 1),
        ]

    @pytest.mark.parametrize("fence", ["```json\n", "```\n", "``` json"])
    def test_a_fenced_block(self, fence: str) -> None:
        deltas = read(f"I need the weather:\n\n{fence}{PARIS}\n```\nOne moment.")
        if fence == "``` json":
            assert len(deltas) == 1
            return
        assert deltas == [
            content("I need the weather:"),
            call("get_weather", '{"city": "Paris"}'),
            content("One moment."),
        ]

    def test_cut_off(self) -> None:
        assert read(f"```json\n{PARIS[:-6]}") == [call("get_weather", '{"city": "Pa')]
        assert read(f"{PARIS}\n``") == [call("get_weather", '{"city": "Paris"}'), content("``")]

    @pytest.mark.parametrize(
        "text",
        [
            "Sunny.\n",
            f"Write {PARIS}",
            '{"name": "Bob", "arguments": {}}',
            '{"name": "get_weather", "arguments": {}, "comment": "no call"'.replace(
                '"arguments": {}, ', ""
            ),
            '[{"name": "Bob"}, {"name": "get_time"}]',
            '```json\n{"name": "Bob", "age": 31}\n```\n',
            "```python\nprint({})\n```",
            "```",
            "``` `` `",
            "{",
        ],
    )
    def test_anything_else_is_content(self, text: str) -> None:
        assert read(text) == [content(text)]


class TestPreparing:
    """What the template is given: messages that say everything in words."""

    def test_the_system_message_tells_of_the_tools(self) -> None:
        messages: list[Message] = [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hello"},
        ]
        prepared, tools = GenericFormat().prepare(messages, TOOLS)
        assert tools is None
        assert [message["role"] for message in prepared] == ["system", "user"]
        system = prepared[0]["content"]
        assert system.startswith("Be brief.\n\n")
        lines = [json.loads(line) for line in system.splitlines() if line.startswith('{"name": "g')]
        assert lines == [
            {
                k: v
                for k, v in tool["function"].items()
                if k in ("name", "description", "parameters")
            }
            for tool in TOOLS
        ]
        assert prepared[1] == messages[1]

    def test_one_is_written_if_there_is_none(self) -> None:
        prepared, _ = GenericFormat().prepare([{"role": "user", "content": "Hello"}], [WEATHER])
        assert [message["role"] for message in prepared] == ["system", "user"]
        assert "get_weather" in prepared[0]["content"]

    def test_a_developers_message_in_parts_is_one_too(self) -> None:
        parts = [{"type": "text", "text": "Be "}, {"type": "text", "text": "brief."}]
        messages: list[Message] = [
            {"role": "developer", "content": parts},
            {"role": "user", "content": "Hello"},
        ]
        prepared, _ = GenericFormat().prepare(messages, [WEATHER])
        assert [message["role"] for message in prepared] == ["developer", "user"]
        assert prepared[0]["content"].startswith("Be brief.\n\n")

    def test_the_users_message_tells_of_them_where_the_template_has_no_system_message(self) -> None:
        messages = [{"role": "user", "content": "Hello"}]
        prepared, _ = GenericFormat(has_system_role=False).prepare(messages, [WEATHER])
        assert [message["role"] for message in prepared] == ["user"]
        assert "get_weather" in prepared[0]["content"]
        assert prepared[0]["content"].endswith("\n\nHello")

    def test_calls_are_what_the_model_would_have_written(self) -> None:
        messages = [{"role": "user", "content": "Hello"}, CALLED]
        prepared, _ = GenericFormat().prepare(messages, None)
        assert prepared[1] == {
            "role": "assistant",
            "content": PARIS + '\n{"name": "get_time", "arguments": {"zone": "é"}}',
        }
        assert read(prepared[1]["content"]) == [
            call("get_weather", '{"city": "Paris"}'),
            call("get_time", '{"zone": "é"}', 1),
        ]

    def test_text_with_calls_is_kept(self) -> None:
        prepared, _ = GenericFormat().prepare([{**CALLED, "content": "Let me see."}], None)
        assert prepared[0]["content"].startswith("Let me see.\n" + PARIS)

    def test_results_are_the_users_next_message(self) -> None:
        """Roles alternate, as some templates demand."""
        question = {"role": "user", "content": "And tomorrow?"}
        messages = [{"role": "user", "content": "Hello"}, CALLED, *RESULTS, question]
        prepared, _ = GenericFormat().prepare(messages, None)
        assert [message["role"] for message in prepared] == ["user", "assistant", "user"]
        assert prepared[2]["content"] == (
            "Result of get_weather:\nsunny\n\nResult of get_time:\nnoon\n\nAnd tomorrow?"
        )

    def test_results_of_two_turns_stay_apart(self) -> None:
        messages = [CALLED, *RESULTS, {"role": "assistant", "content": "Fine."}, CALLED, RESULTS[0]]
        prepared, _ = GenericFormat().prepare(messages, None)
        assert [message["role"] for message in prepared] == [
            "assistant",
            "user",
            "assistant",
            "assistant",
            "user",
        ]

    def test_other_messages_are_left_alone(self) -> None:
        messages: list[Message] = [
            {"role": "user", "content": [{"type": "text", "text": "Hello"}]},
            {"role": "assistant", "content": "Hi", "name": "Bob"},
            {"role": "user", "content": "Bye"},
        ]
        assert GenericFormat().prepare(messages, None) == (messages, None)
        assert GenericFormat().prepare(messages, []) == (messages, None)

    def test_the_callers_messages_are_not_changed(self) -> None:
        messages = [{"role": "system", "content": "Be brief."}, CALLED, *RESULTS]
        before = json.dumps(messages)
        GenericFormat().prepare(messages, [TIME])
        assert json.dumps(messages) == before
