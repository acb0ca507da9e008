"""What holds for every text, however odd, and every way to split it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.chat.deltas import ContentDelta, ReasoningDelta, ToolCallDelta
from shared.chat.reasoning import ReasoningFormat, ReasoningParser
from shared.chat.tools.base import ToolFormat
from shared.chat.tools.generic import GenericFormat
from shared.chat.tools.hermes import HermesFormat
from shared.chat.tools.llama3 import Llama3Format
from shared.chat.tools.mistral import MistralListFormat
from tests.chat.reading import TOOLS, joined
from tests.sweeps import examples

FRAGMENTS = [
    *("<tool_call>", "</tool_call>", "<|python_tag|>", "[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"),
    *(
        "```json\n",
        "```",
        "<think>",
        "</think>",
        "get_weather",
        "get_time",
        ".call",
        "None",
        "='é'",
    ),
    *('"name"', '"arguments"', '"parameters"', '"id"', ": ", ", ", '"get_weather"', '"x"', "null"),
    *("{", "}", "[", "]", "(", ")", '"', "\\", "\n", " ", ";", "<", "é", "🌦️", "1"),
    '{"name": "get_weather", "arguments": {"city": "Paris"}}',
    '{"name": "get_time", "parameters": {"a": [1, "}"]',
]
FORMATS = [HermesFormat(), Llama3Format(), MistralListFormat(), GenericFormat()]
texts = st.lists(st.sampled_from(FRAGMENTS), max_size=14).map("".join)
cuts = st.lists(st.integers(0, 200), max_size=8)


def split(text: str, positions: list[int]) -> list[str]:
    bounds = [0, *sorted(min(position, len(text)) for position in positions), len(text)]
    return [text[start:end] for start, end in pairwise(bounds)]


@pytest.mark.parametrize("tool_format", FORMATS, ids=lambda tool_format: tool_format.name)
@pytest.mark.parametrize("opened", [False, True])
@settings(max_examples=examples(150), deadline=None, derandomize=True)
@given(text=texts, positions=cuts)
def test_pieces_make_no_difference_and_nothing_is_lost(
    tool_format: ToolFormat, opened: bool, text: str, positions: list[int]
) -> None:
    def parser() -> ReasoningParser:
        reasoning = ReasoningFormat("<think>", "</think>")
        return ReasoningParser(reasoning, tool_format.parser(TOOLS), opened=opened)

    deltas = joined(parser(), [text])
    assert joined(parser(), split(text, positions)) == deltas
    calls = [delta for delta in deltas if isinstance(delta, ToolCallDelta)]
    assert [delta.index for delta in calls] == list(range(len(calls)))
    if all(isinstance(delta, ContentDelta) for delta in deltas) and not opened:
        assert "".join(_text(delta) for delta in deltas) in (text, _behind_block(text))


def _text(delta: object) -> str:
    assert isinstance(delta, ContentDelta | ReasoningDelta)
    return delta.text


def _behind_block(text: str) -> str:
    """What is left of a text that begins with an empty block of reasoning."""
    return text.partition("</think>")[2].lstrip()
