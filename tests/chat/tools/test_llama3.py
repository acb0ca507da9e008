"""Calls of Llama 3: JSON as the whole message, and calls behind ``<|python_tag|>``."""

from __future__ import annotations

import pytest

from shared.chat.deltas import ContentDelta, Delta
from shared.chat.tools.llama3 import Llama3Format
from tests.chat.reading import TOOLS, call, content, read_calls

PARIS = '{"name": "get_weather", "parameters": {"city": "Paris"}}'
TAG = "<|python_tag|>"


def read(text: str) -> list[Delta]:
    return read_calls(Llama3Format(), text)


class TestMessages:
    """A message that is an object."""

    @pytest.mark.parametrize("around", ["", "\n", " \r\n\t"])
    def test_one_call(self, around: str) -> None:
        assert read(around + PARIS + around) == [call("get_weather", '{"city": "Paris"}')]

    @pytest.mark.parametrize("separator", ["; ", ";", " ;\n", "\n"])
    def test_several_calls(self, separator: str) -> None:
        time = '{"name": "get_time", "parameters": {}}'
        assert read(separator.join([PARIS, time, PARIS])) == [
            call("get_weather", '{"city": "Paris"}'),
            call("get_time", "{}", 1),
            call("get_weather", '{"city": "Paris"}', 2),
        ]

    def test_a_call_with_its_type(self) -> None:
        text = '{"type": "function", "name": "get_weather", "parameters": {"city": "São \\"P\\"}"}}'
        assert read(text) == [call("get_weather", '{"city": "São \\"P\\"}"}')]

    def test_arguments_first(self) -> None:
        text = '{"parameters": {"city": "東京"}, "name": "get_weather"}'
        assert read(text) == [call("get_weather", '{"city": "東京"}')]

    def test_text_after_a_call(self) -> None:
        assert read(PARIS + " is the call.") == [
            call("get_weather", '{"city": "Paris"}'),
            content("is the call."),
        ]

    def test_cut_off(self) -> None:
        assert read(PARIS[:-5]) == [call("get_weather", '{"city": "Par')]
        assert read('{"name": "get_weather", "para') == [call("get_weather", "")]
        assert read('{"name": "get_weat') == [content('{"name": "get_weat')]

    @pytest.mark.parametrize(
        "text",
        [
            "Paris is the capital.\n",
            "Write " + PARIS,
            '{"name": "Bob", "parameters": {"city": "Paris"}}',
            '{"name": "get_weather", "age": 31}',
            '{"age": 31, "name": "get_weather", "parameters": {}}\n',
            '{"parameters": {"city": "Paris"}, "name": "Bob"}',
            '\n{"answer": [1, 2, {"a": "b"}]}\n',
            "{x | x > 0}",
            "[1, 2, 3]",
            "{}",
            "{",
            " ",
        ],
    )
    def test_anything_else_is_content(self, text: str) -> None:
        assert read(text) == [content(text)]

    def test_an_answer_in_json_comes_as_soon_as_it_can_be_no_call(self) -> None:
        parser = Llama3Format().parser(TOOLS)
        assert parser.add('{"answer"') == []
        assert parser.add(": ") == []
        assert parser.add("[1") == [ContentDelta('{"answer": [1')]
        assert parser.add(", 2") == [ContentDelta(", 2")]


class TestPythonTag:
    """``<|python_tag|>`` and what follows it."""

    @pytest.mark.parametrize("before", ["", "I'll look that up."])
    def test_json(self, before: str) -> None:
        expected = [call("get_weather", '{"city": "Paris"}')]
        assert read(before + TAG + PARIS) == [*([content(before)] if before else []), *expected]

    def test_several_calls(self) -> None:
        assert read(f"{TAG}{PARIS}; {PARIS}\n{TAG}get_time.call()") == [
            call("get_weather", '{"city": "Paris"}'),
            call("get_weather", '{"city": "Paris"}', 1),
            call("get_time", "{}", 2),
        ]

    @pytest.mark.parametrize(
        ("code", "arguments"),
        [
            ('(query="weather in Paris")', '{"query": "weather in Paris"}'),
            ("(query='a \\'b\\' \"c\" (d)', n=2)", '{"query": "a \'b\' \\"c\\" (d)", "n": 2}'),
            ("(a=True, b=None, c=-1.5, d=[1, (2,)], e={'k': '}'})",
             '{"a": true, "b": null, "c": -1.5, "d": [1, [2]], "e": {"k": "}"}}'),
            ('(\n  query="""two\nlines)"""\n)', '{"query": "two\\nlines)"}'),
            ('(query="東京 \\u00e9 \\\\")', '{"query": "東京 é \\\\"}'),
            ("()", "{}"),
        ],
    )  # fmt: skip
    def test_a_call_in_python(self, code: str, arguments: str) -> None:
        assert read(f"Well: {TAG}brave_search.call{code}\n") == [
            content("Well:"),
            call("brave_search", arguments),
        ]

    @pytest.mark.parametrize(
        "code",
        [
            "import math\nprint(math.pi)",
            "print('x')",
            'brave_search.call("positional")',
            "brave_search.call(query=open('x').read())",
            "brave_search.call(**{'a': 1})",
            "brave_search.call(a={1, 2})",
            "brave_search.call(a=b'x')",
            "brave_search.call(a=1e999)",
            "brave_search.call(a='\\ud800')",
            "brave_search.call(a=" + "-" * 50 + "1)",
            "brave_search.call)",
            'brave_search.call(query="cut',
            "brave_search.call(query=[1",
            "brave_search.call(query='cut\\",
            "brave_search.c",
            '{"city": "Paris"}',
            "",
        ],
    )
    def test_anything_else_is_content(self, code: str) -> None:
        assert read(f"Well: {TAG}{code}") == [content(f"Well: {TAG}{code}")]

    @pytest.mark.parametrize(
        "literal",
        ["-" * 100_000 + "1", "[" * 10_000, "a" + ".a" * 100_000, "9" * 100_000, "1+" * 100_000],
    )
    def test_code_made_to_break_pythons_parser_is_content(self, literal: str) -> None:
        text = f"{TAG}f.call(a={literal})"
        parser = Llama3Format().parser(TOOLS)
        deltas = [*parser.add(text), *parser.finish()]
        assert "".join(d.text for d in deltas if isinstance(d, ContentDelta)) == text


def test_control_tokens_that_have_to_be_seen() -> None:
    assert Llama3Format().markers == (TAG,)
