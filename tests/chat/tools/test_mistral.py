"""Calls behind ``[TOOL_CALLS]``: as a list, and one by one."""

from __future__ import annotations

import pytest

from shared.chat.deltas import Delta, ToolCallDelta
from shared.chat.tools.mistral import MistralListFormat, MistralNameFormat
from tests.chat.reading import TOOLS, call, content, read_calls

PARIS = '{"name": "get_weather", "arguments": {"city": "Paris"}}'
TIME = '{"name": "get_time", "arguments": {}}'


def read(text: str) -> list[Delta]:
    deltas = read_calls(MistralListFormat(), text)
    assert read_calls(MistralNameFormat(has_ids=True), text) == deltas
    return deltas


class TestLists:
    """``[TOOL_CALLS][{...}, {...}]``."""

    @pytest.mark.parametrize("space", ["", " ", "\n"])
    def test_one_call(self, space: str) -> None:
        assert read(f"[TOOL_CALLS]{space}[{space}{PARIS}{space}]{space}") == [
            call("get_weather", '{"city": "Paris"}')
        ]

    def test_two_calls_after_text(self) -> None:
        assert read(f"Je regarde… [TOOL_CALLS][{PARIS}, {TIME}]") == [
            content("Je regarde…"),
            call("get_weather", '{"city": "Paris"}'),
            call("get_time", "{}", 1),
        ]

    def test_ids(self) -> None:
        text = (
            '[TOOL_CALLS][{"name": "get_time", "arguments": {"z": "]"}, "id": "aB3dE6gH9"}, '
            '{"id": "123456789", "name": "get_weather", "arguments": {"city": "Z\\"ü"}}]'
        )
        assert read(text) == [
            call("get_time", '{"z": "]"}'),
            call("get_weather", '{"city": "Z\\"ü"}', 1),
        ]

    def test_a_call_without_a_list(self) -> None:
        assert read(f"[TOOL_CALLS]{PARIS}") == [call("get_weather", '{"city": "Paris"}')]

    def test_text_after_the_list(self) -> None:
        assert read(f"[TOOL_CALLS][{TIME}]\nDone, [sic].") == [
            call("get_time", "{}"),
            content("Done, [sic]."),
        ]

    def test_cut_off(self) -> None:
        assert read(f"[TOOL_CALLS][{PARIS[:-6]}") == [call("get_weather", '{"city": "Pa')]
        assert read(f"[TOOL_CALLS][{PARIS}, ") == [call("get_weather", '{"city": "Paris"}')]
        assert read(f'[TOOL_CALLS][{PARIS}, {{"na') == [
            call("get_weather", '{"city": "Paris"}'),
            content('{"na'),
        ]


class TestNames:
    """``[TOOL_CALLS]name[ARGS]{...}``."""

    def test_one_call(self) -> None:
        arguments = '{"city": "Paris", "why": "[TOOL_CALLS]x[ARGS]{\\"{"}'
        assert read(f"[TOOL_CALLS]get_weather[ARGS]{arguments}") == [call("get_weather", arguments)]

    def test_two_calls_after_text(self) -> None:
        text = '🌦️ [TOOL_CALLS]get_weather[ARGS]{"city": "東京"}[TOOL_CALLS]get-time.v2[ARGS]{}'
        assert read(text) == [
            content("🌦️"),
            call("get_weather", '{"city": "東京"}'),
            call("get-time.v2", "{}", 1),
        ]

    def test_ids(self) -> None:
        text = '[TOOL_CALLS]get_weather[CALL_ID]aB3dE6gH9[ARGS]{"city": "Paris"}\n'
        assert read(text) == [call("get_weather", '{"city": "Paris"}')]

    def test_without_the_second_marker(self) -> None:
        assert read('[TOOL_CALLS]get_weather{"city": "Paris"}') == [
            call("get_weather", '{"city": "Paris"}')
        ]

    def test_text_after_a_call(self) -> None:
        assert read("[TOOL_CALLS]get_time[ARGS]{}\n\nIt is late.") == [
            call("get_time", "{}"),
            content("It is late."),
        ]

    def test_cut_off(self) -> None:
        assert read("[TOOL_CALLS]get_time[ARGS]") == [call("get_time", "")]
        assert read('[TOOL_CALLS]get_time[ARGS]{"a') == [call("get_time", '{"a')]

    def test_arguments_come_as_they_are_written(self) -> None:
        parser = MistralNameFormat(has_ids=False).parser(TOOLS)
        assert parser.add("[TOOL_CALLS]get_weather[ARGS]") == []
        assert parser.add('{"ci') == [
            ToolCallDelta(0, "get_weather"),
            ToolCallDelta(0, arguments='{"ci'),
        ]
        assert parser.add('ty": 1}') == [ToolCallDelta(0, arguments='ty": 1}')]


@pytest.mark.parametrize(
    "text",
    [
        "Salut !",
        "A list: [1, 2], [TOOL], [TOOL_CALL",
        "[TOOL_CALLS]",
        "[TOOL_CALLS] none",
        "[TOOL_CALLS]get_weather",
        "[TOOL_CALLS]get_weather(city)",
        "[TOOL_CALLS]get_weather[ARGS]Paris",
        "[TOOL_CALLS]get_weather[CALL_ID]123",
        "[TOOL_CALLS][ARGS]{}",
        "[TOOL_CALLS][1, 2]",
        '[TOOL_CALLS][{"city": "Paris"}]',
        "[TOOL_CALLS][]",
        "[TOOL_CALLS]{}",
    ],
)
def test_anything_else_is_content(text: str) -> None:
    assert read(text) == [content(text)]


def test_ids_are_what_the_templates_demand() -> None:
    for tool_format in (MistralListFormat(), MistralNameFormat(has_ids=True)):
        ids = {tool_format.call_id(f"call-{i}") for i in range(100)}
        assert len(ids) == 100
        assert all(len(i) == 9 and i.isalnum() and i.isascii() for i in ids)


def test_control_tokens_that_have_to_be_seen() -> None:
    assert MistralListFormat().markers == ("[TOOL_CALLS]",)
    assert MistralNameFormat(has_ids=False).markers == ("[TOOL_CALLS]", "[ARGS]")
    assert MistralNameFormat(has_ids=True).markers == ("[TOOL_CALLS]", "[CALL_ID]", "[ARGS]")
