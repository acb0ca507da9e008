"""Calls between ``<tool_call>`` and ``</tool_call>``."""

from __future__ import annotations

import pytest

from shared.chat.deltas import ContentDelta, Delta, ToolCallDelta
from shared.chat.tools.hermes import HermesFormat
from tests.chat.reading import TOOLS, call, content, read_calls

PARIS = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>'


def read(text: str) -> list[Delta]:
    return read_calls(HermesFormat(), text)


class TestCalls:
    """What models write when all goes well."""

    def test_one_call(self) -> None:
        assert read(PARIS) == [call("get_weather", '{"city": "Paris"}')]

    def test_text_before_a_call(self) -> None:
        assert read("Let me look <that> up.\n\n" + PARIS) == [
            content("Let me look <that> up."),
            call("get_weather", '{"city": "Paris"}'),
        ]

    def test_two_calls(self) -> None:
        text = f'{PARIS}\n<tool_call>\n{{"name": "get_time", "arguments": {{}}}}\n</tool_call>\n'
        assert read(text) == [
            call("get_weather", '{"city": "Paris"}'),
            call("get_time", "{}", 1),
        ]

    def test_text_after_a_call_is_content_without_the_white_space_around(self) -> None:
        assert read(f"\n{PARIS}\n\nThat's it.\n") == [
            call("get_weather", '{"city": "Paris"}'),
            content("That's it.\n"),
        ]

    def test_arguments_stay_as_they_were_written(self) -> None:
        arguments = (
            '{ "city":"S\\u00e3o \\"Paulo\\" }]\\\\", "é": [1.5e3, {"{": null}, []],\n "b" : true}'
        )
        text = f'<tool_call>{{"name":"get_weather","arguments":{arguments}}}</tool_call>'
        assert read(text) == [call("get_weather", arguments)]

    def test_characters_of_many_bytes(self) -> None:
        text = (
            '天気を🌦️調べます。<tool_call>{"name": "get_weather", "arguments": {"city": "東京🗼"}}'
        )
        assert read(text) == [
            content("天気を🌦️調べます。"),
            call("get_weather", '{"city": "東京🗼"}'),
        ]

    def test_an_unknown_name_is_a_call_too(self) -> None:
        """The marker says that it is meant as one, and the caller can tell the model."""
        text = '<tool_call>{"name": "no_such_tool", "arguments": {}}</tool_call>'
        assert read(text) == [call("no_such_tool", "{}")]


class TestVariants:
    """What models write as well."""

    @pytest.mark.sweep(2)
    @pytest.mark.parametrize(
        "written",
        [
            '{"name": "get_weather", "parameters": {"city": "Paris"}}',
            '{"arguments": {"city": "Paris"}, "name": "get_weather"}',
            '{"id": 7, "name": "get_weather", "why": ["}"], "arguments": {"city": "Paris"}, "x": 1}',
            '[{"name": "get_weather", "arguments": {"city": "Paris"}}]',
            '{"name": "get_weather", "arguments": {"city": "Paris"},}',
            '{"name": "get_weather" "arguments": {"city": "Paris"}',
        ],
        ids=["parameters", "arguments first", "other keys", "list", "comma", "no comma or brace"],
    )
    def test_is_understood(self, written: str) -> None:
        text = f"<tool_call>\n{written}\n</tool_call>\n{PARIS}"
        assert read(text) == [
            call("get_weather", '{"city": "Paris"}'),
            call("get_weather", '{"city": "Paris"}', 1),
        ]

    @pytest.mark.parametrize("arguments", ['"Paris"', "[1, 2]", "-1.5"])
    def test_arguments_of_any_type(self, arguments: str) -> None:
        text = f'<tool_call>{{"name": "get_time", "arguments": {arguments}}}</tool_call>'
        assert read(text) == [call("get_time", arguments)]

    def test_no_arguments_are_an_empty_object(self) -> None:
        assert read('<tool_call>{"name": "get_time"}</tool_call>') == [call("get_time", "{}")]

    def test_several_calls_in_a_block(self) -> None:
        text = '<tool_call>\n{"name": "get_time", "arguments": {}}\n{"name": "get_weather"}</tool_call>'
        assert read(text) == [call("get_time", "{}"), call("get_weather", "{}", 1)]

    def test_a_block_that_is_not_closed_before_the_next(self) -> None:
        text = f'<tool_call>{{"name": "get_time", "arguments": {{}}}}\n{PARIS}'
        assert read(text) == [
            call("get_time", "{}"),
            call("get_weather", '{"city": "Paris"}', 1),
        ]


class TestUnfinished:
    """Cut off by ``max_tokens`` or a stop string."""

    @pytest.mark.parametrize(
        "end", ["", "}", "}\n", "}\n</tool", '}\n</tool_call>\n<tool_call>\n{"name": "g']
    )
    def test_after_the_arguments(self, end: str) -> None:
        text = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}' + end
        deltas = read(text)
        assert deltas[0] == call("get_weather", '{"city": "Paris"}')
        left = end.removeprefix("}").removeprefix("\n").removeprefix("</tool_call>\n")
        assert deltas[1:] == ([content(left)] if left else [])

    @pytest.mark.parametrize("arguments", ["", "{", '{"city', '{"city": "Par\\', "nul", "1"])
    def test_within_the_arguments(self, arguments: str) -> None:
        text = '<tool_call>\n{"name": "get_weather", "arguments": ' + arguments
        assert read(text) == [call("get_weather", arguments)]

    @pytest.mark.parametrize("end", ["", ",", ', "arg', ', "arguments"', ', "arguments":'])
    def test_after_the_name(self, end: str) -> None:
        assert read('<tool_call>\n{"name": "get_weather"' + end) == [call("get_weather", "")]

    @pytest.mark.parametrize(
        "text",
        [
            "<",
            "Look: <tool_c",
            "<tool_call>",
            "<tool_call>\n  ",
            "<tool_call>{",
            '<tool_call>\n{"name": "get_wea',
            '<tool_call>\n{"arguments": {"city": "Paris"}',
        ],
    )
    def test_before_the_name_it_is_content(self, text: str) -> None:
        assert read(text) == [content(text)]


class TestNoCalls:
    """Everything else is content, to the last character."""

    @pytest.mark.parametrize(
        "text",
        [
            "Hello!",
            " \n Hello\n\n",
            "  \n",
            "a < b, <tool>, <tool_calls>, </tool_call>",
            "<tool_call>\nget_weather(city='Paris')\n</tool_call>",
            "<tool_call>\n{'name': 'get_weather', 'arguments': {}}\n</tool_call>",
            '<tool_call>\n{"city": "Paris", "days": 2}\n</tool_call>',
            '<tool_call>{"name": 5, "arguments": {}}</tool_call>',
            '<tool_call>{"name": "", "arguments": {}}</tool_call>',
            '<tool_call>{"name": "\\ud800", "arguments": {}}</tool_call>',
            '<tool_call>{"name": "\\x", "arguments": {}}</tool_call>',
            '<tool_call>{"name": "get_weather" or so}</tool_call>',
            '<tool_call>{"arguments": {"a": [1}, "name": "get_time"}</tool_call>',
            "<tool_call>[]</tool_call>",
            "<tool_call>{}</tool_call>",
            '{"name": "get_weather", "arguments": {"city": "Paris"}}',
        ],
    )
    def test_is_unchanged(self, text: str) -> None:
        assert read(text) == [content(text)]

    def test_nothing(self) -> None:
        assert read("") == []

    def test_a_call_behind_a_block_that_is_none(self) -> None:
        assert read(f"<tool_call> <tool_call>or so {PARIS}") == [
            content("<tool_call> <tool_call>or so"),
            call("get_weather", '{"city": "Paris"}'),
        ]

    def test_what_goes_wrong_after_the_arguments_is_content(self) -> None:
        text = '<tool_call>{"name": "get_time", "arguments": {}} oops </tool_call>'
        assert read(text) == [call("get_time", "{}"), content("oops </tool_call>")]

    def test_brackets_that_do_not_match_end_the_arguments(self) -> None:
        text = '<tool_call>{"name": "get_time", "arguments": {"a": [1}}</tool_call>'
        assert read(text) == [call("get_time", '{"a": [1'), content("}}</tool_call>")]


class TestStreaming:
    """What comes out when."""

    def test_content_waits_only_while_it_may_be_a_marker_or_space_before_one(self) -> None:
        parser = HermesFormat().parser(TOOLS)
        assert parser.add("Hello") == [ContentDelta("Hello")]
        assert parser.add(" \n") == []
        assert parser.add("<tool") == []
        assert parser.add("s>") == [ContentDelta(" \n<tools>")]

    def test_arguments_come_as_they_are_written(self) -> None:
        parser = HermesFormat().parser(TOOLS)
        assert parser.add('<tool_call>{"name": "get_weather", "arg') == []
        assert parser.add('uments": ') == []
        assert parser.add('{"ci') == [
            ToolCallDelta(0, "get_weather"),
            ToolCallDelta(0, arguments='{"ci'),
        ]
        assert parser.add('ty": "}') == [ToolCallDelta(0, arguments='ty": "}')]
        assert parser.add('"}') == [ToolCallDelta(0, arguments='"}')]
        assert parser.add("}\n</tool_call>") == []
        assert parser.finish() == []


def test_ids_are_openais() -> None:
    ids = {HermesFormat().call_id(f"call-{i}") for i in range(100)}
    assert len(ids) == 100
    assert all(len(i) == 29 and i.startswith("call_") and i[5:].isalnum() for i in ids)
