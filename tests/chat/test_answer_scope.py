"""Stop strings end an answer's content, and cut no call."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.chat.answer_scope import AnswerScope
from shared.chat.deltas import ContentDelta
from shared.chat.reasoning import ReasoningFormat
from shared.chat.tools.base import ToolFormat
from shared.chat.tools.generic import GenericFormat
from shared.chat.tools.hermes import HermesFormat
from shared.chat.tools.llama3 import Llama3Format
from shared.chat.tools.mistral import MistralListFormat, MistralNameFormat
from shared.engine.detokenizer import StopStrings
from tests.chat.reading import TOOLS, joined

THINK = ReasoningFormat("<think>", "</think>")
CALL = '{"name": "get_weather", "arguments": {"city": "A\\nB"}}'
FORMATS = (
    HermesFormat(),
    Llama3Format(),
    MistralListFormat(),
    MistralNameFormat(has_ids=True),
    GenericFormat(),
)
WRITTEN: list[tuple[ToolFormat, str]] = [
    (FORMATS[0], f"<tool_call>\n{CALL}\n</tool_call>\n<tool_call>\n{CALL}\n</tool_call>"),
    (FORMATS[1], CALL.replace("arguments", "parameters") + "; " + CALL),
    (FORMATS[1], f"<|python_tag|>{CALL}"),
    (FORMATS[1], '<|python_tag|>get_weather.call(city="A\\nB")'),
    (FORMATS[2], f"[TOOL_CALLS] [{CALL}, {CALL}]"),
    (FORMATS[3], '[TOOL_CALLS]get_weather[CALL_ID]123456789[ARGS]{"city": "A\\nB"}'),
    (FORMATS[4], f"{CALL}\n{CALL}"),
    (FORMATS[4], f"```json\n{CALL}\n```"),
]
STOPS = ("\n", "{", '"', "get_weather", "<", "[", "`", "\\", "c", " ")
PARTS = (
    *("<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_", "<|python_tag|>", "[ARGS]"),
    *("[TOOL_CALLS]", "[TOOL", "get_weather", ".call(", "```", "json", "{", "}", "[", "]", ";"),
    *(CALL, '{"name": "get_weather"', "\n", " ", "Well", "é", "STOP", "ST", "OP"),
)


def splits(text: str) -> list[list[str]]:
    """All ways to cut ``text`` in two, and some in more."""
    found = [[text[:at], text[at:]] for at in range(len(text) + 1)]
    return found + [
        [text[start : start + size] for start in range(0, len(text), size)] for size in (1, 2, 3, 7)
    ]


def stopped(scope: AnswerScope, pieces: list[str], *stops: str) -> tuple[str, str | None]:
    """What is shown of a text, and the stop string that was found in it."""
    finder = StopStrings(stops, scope)
    shown = ""
    for piece in pieces:
        shown += finder.add(piece)
        if finder.found is not None:
            return shown, finder.found
    return shown + finder.flush(), finder.found


@pytest.mark.slow
@pytest.mark.sweep(4)
@pytest.mark.parametrize("before", ["", "<think>c {\n</think>\n\n"])
@pytest.mark.parametrize(("tool_format", "text"), WRITTEN)
def test_a_call_is_not_cut(tool_format: ToolFormat, text: str, before: str) -> None:
    for pieces in splits(before + text):
        for stop in STOPS:
            scope = AnswerScope(THINK, tool_format.parser(TOOLS), opened=False)
            assert stopped(scope, pieces, stop) == (before + text, None), (pieces, stop)


@pytest.mark.parametrize(
    ("tool_format", "text"),
    [(kind, text) for kind, text in WRITTEN if not text.startswith("{")],
)
def test_the_content_before_a_call_is(tool_format: ToolFormat, text: str) -> None:
    for pieces in splits(f"Let me.\n See.\n{text}"):
        for stop, shown in ((".\n ", "Let me"), ("See", "Let me.\n "), ("e.", "Let m")):
            scope = AnswerScope(None, tool_format.parser(TOOLS), opened=False)
            assert stopped(scope, pieces, stop) == (shown, stop), pieces


@pytest.mark.parametrize("tool_format", FORMATS)
def test_what_is_no_call_after_all_is_content(tool_format: ToolFormat) -> None:
    for text in ("<tool_call> or {", "[TOOL_CALLS] {}", '{"name": "no", "a": {}}', "```py {```"):
        for pieces in splits(text):
            scope = AnswerScope(None, tool_format.parser(TOOLS), opened=False)
            assert stopped(scope, pieces, "{") == (text[: text.index("{")], "{"), pieces


@given(
    st.sampled_from(FORMATS),
    st.lists(st.sampled_from(PARTS), max_size=10).map("".join),
    st.lists(st.integers(1, 9), min_size=1, max_size=5),
)
def test_the_parts_are_the_text_and_the_parsers_content(
    tool_format: ToolFormat, text: str, sizes: list[int]
) -> None:
    pieces: list[str] = []
    while (at := sum(map(len, pieces))) < len(text):
        pieces.append(text[at : at + sizes[len(pieces) % len(sizes)]])
    scope = AnswerScope(None, tool_format.parser(TOOLS), opened=False)
    parts = [*map(scope.add, pieces), scope.finish()]
    deltas = joined(tool_format.parser(TOOLS), [text])
    first = deltas[0].text if deltas and isinstance(deltas[0], ContentDelta) else ""

    assert "".join("".join(part) for part in parts) == text
    assert "".join(answer for _, answer, _ in parts) == first
    scope = AnswerScope(None, tool_format.parser(TOOLS), opened=False)
    shown, found = stopped(scope, pieces, "STOP")
    at = first.find("STOP")
    assert (shown, found) == ((text, None) if at < 0 else (first[:at], "STOP"))
