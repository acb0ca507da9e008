"""Arguments that a model wrote as a string, as OpenAI's API has them, or left empty."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from shared.chat.tools.base import ToolFormat
from shared.chat.tools.generic import GenericFormat
from shared.chat.tools.hermes import HermesFormat
from shared.chat.tools.llama3 import Llama3Format
from shared.chat.tools.mistral import MistralListFormat, MistralNameFormat
from tests.chat.reading import call, read_calls

_NAME = "get_weather"
FORMATS: list[tuple[ToolFormat, Callable[[str], str]]] = [
    (
        HermesFormat(),
        lambda it: f'<tool_call>\n{{"name": "{_NAME}", "arguments": {it}}}\n</tool_call>',
    ),
    (Llama3Format(), lambda it: f'{{"name": "{_NAME}", "parameters": {it}}}'),
    (Llama3Format(), lambda it: f'<|python_tag|>{{"parameters": {it}, "name": "{_NAME}"}}'),
    (MistralListFormat(), lambda it: f'[TOOL_CALLS][{{"name": "{_NAME}", "arguments": {it}}}]'),
    (MistralNameFormat(has_ids=False), lambda it: f"[TOOL_CALLS]{_NAME}[ARGS]{it}"),
    (GenericFormat(), lambda it: f'{{"name": "{_NAME}", "arguments": {it}}}'),
    (GenericFormat(), lambda it: f'```json\n{{"arguments": {it}, "name": "{_NAME}"}}\n```'),
]
formats = pytest.mark.parametrize(
    ("tool_format", "write"), FORMATS, ids=lambda value: getattr(value, "name", "")
)
Write = Callable[[str], str]


@pytest.mark.sweep(24)
@formats
@pytest.mark.parametrize(
    "arguments",
    [
        '{"a": 1}',
        "{}",
        ' {"a":1}\n',
        '{"a": "\\"quoted\\", back\\\\slash, 東京 🌦️, tab\\t"}',
        '{"a": {"b": "{\\"c\\": 1}"}}',
        '{"a": "\\ud83d\\ude00", "b": "\\ud83d"}',
        '{"a": 1.50, "a": 1e400}',
    ],
)
@pytest.mark.parametrize("ascii_only", [True, False])
def test_they_are_the_object_that_was_written(
    tool_format: ToolFormat, write: Write, arguments: str, ascii_only: bool
) -> None:
    string = json.dumps(arguments, ensure_ascii=ascii_only)

    assert read_calls(tool_format, write(string)) == [call(_NAME, arguments)]
    twice = json.dumps(string, ensure_ascii=ascii_only)
    assert read_calls(tool_format, write(twice)) == [call(_NAME, arguments)]


@pytest.mark.parametrize(
    ("string", "meaning"),
    [
        (r'"{\"a\": \"two\nlines\"}"', {"a": "two\nlines"}),  # escaped once too few
        ('"{\\"a\\": \\"two\nlines\\"}"', {"a": "two\nlines"}),
        (r'"{\"a\": \"\ud83d\ude00\"}"', {"a": "😀"}),
        (r'"{\"a\": \"\ud83d\"}"', {"a": "\ud83d"}),  # half a character
    ],
)
@formats
def test_they_are_json_that_can_be_sent(
    tool_format: ToolFormat, write: Write, string: str, meaning: dict[str, Any]
) -> None:
    (delta,) = read_calls(tool_format, write(string))

    arguments = delta.arguments  # type: ignore[union-attr]
    assert json.loads(arguments) == meaning
    assert arguments.encode("utf-8")


@formats
@pytest.mark.parametrize("nothing", ['""', '" \\n"', '"null"', '"\\"\\""'])
def test_empty_ones_are_an_empty_object(
    tool_format: ToolFormat, write: Write, nothing: str
) -> None:
    assert read_calls(tool_format, write(nothing)) == [call(_NAME, "{}")]


@pytest.mark.parametrize(
    ("tool_format", "write"), [each for each in FORMATS if "name" in each[1]("")]
)
def test_null_is_an_empty_object(tool_format: ToolFormat, write: Write) -> None:
    assert read_calls(tool_format, write("null")) == [call(_NAME, "{}")]


@formats
@pytest.mark.parametrize(
    "string",
    ['"Paris"', '"{"', '"[1, 2]"', '"3"', r'"{\"a\": }"', r'"\x"', r'"{\"a\": \u12}"'],
)
def test_a_string_that_has_no_object_in_it_stays(
    tool_format: ToolFormat, write: Write, string: str
) -> None:
    assert read_calls(tool_format, write(string)) == [call(_NAME, string)]


def test_depth_is_no_trouble() -> None:
    deep = '{"a": ' * 100_000 + "1" + "}" * 100_000
    tool_format, write = FORMATS[0]
    parser = tool_format.parser(())

    deltas = [*parser.add(write(json.dumps(deep))), *parser.finish()]

    assert [delta.arguments for delta in deltas][-1] in (deep, json.dumps(deep))  # type: ignore[union-attr]


@pytest.mark.sweep(1)
@formats
def test_cut_off_they_are_the_beginning_of_the_object(
    tool_format: ToolFormat, write: Write
) -> None:
    arguments = '{"city": "S\\u00e3o \\"Paulo\\" \\\\"}'
    whole = write(json.dumps(arguments))
    if not whole.startswith("<|python_tag|>") and "```" not in whole:  # these have the name last
        start = whole.index('"{')
        for end in range(start + 2, whole.index('}"')):
            (delta,) = read_calls(tool_format, whole[:end])
            assert arguments.startswith(delta.arguments)  # type: ignore[union-attr]
            assert len(delta.arguments) >= (end - start) // 2  # type: ignore[union-attr]
