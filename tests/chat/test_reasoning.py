"""Reasoning: set apart from the answer, wherever the block began."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.chat.answer_scope import AnswerScope
from shared.chat.deltas import ContentDelta, Delta, PlainParser, ReasoningDelta
from shared.chat.reasoning import ReasoningFormat, ReasoningParser
from shared.chat.tools.hermes import HermesFormat
from shared.chat.tools.llama3 import Llama3Format
from shared.engine.detokenizer import StopStrings
from tests.chat import reading
from tests.chat.reading import TOOLS, call, content, reasoning

THINK = ReasoningFormat("<think>", "</think>")
MISTRAL = ReasoningFormat("[THINK]", "[/THINK]")
PARIS = '{"name": "get_weather", "arguments": {"city": "Paris"}}'


def read(text: str, *, opened: bool = False) -> list[Delta]:
    """The deltas of ``text``, the same with the marks of either format."""
    deltas = reading.read(lambda: ReasoningParser(THINK, PlainParser(), opened=opened), text)
    marked = text.replace("<think>", "[THINK]").replace("</think>", "[/THINK]")
    others = reading.read(lambda: ReasoningParser(MISTRAL, PlainParser(), opened=opened), marked)
    if marked == text:
        assert others == deltas
    return deltas


class TestBlocks:
    """A block at the beginning of the completion."""

    @pytest.mark.parametrize("space", ["", "\n", "\n\n \t"])
    def test_white_space_around_its_marks_belongs_to_neither(self, space: str) -> None:
        text = f"{space}<think>{space}Well.\n\nYes, <b> é🤔.{space}</think>{space}It is.\n"
        assert read(text) == [reasoning("Well.\n\nYes, <b> é🤔."), content("It is.\n")]

    @pytest.mark.parametrize("space", ["", "\n"])
    def test_that_the_prompt_began(self, space: str) -> None:
        text = f"{space}Well.{space}</think>\n\nIt is."
        assert read(text, opened=True) == [reasoning("Well."), content("It is.")]

    def test_that_the_prompt_began_and_the_model_begins_again(self) -> None:
        assert read("<think>\nWell.</think>Yes", opened=True) == [
            reasoning("Well."),
            content("Yes"),
        ]

    @pytest.mark.parametrize("opened", [False, True])
    def test_empty(self, opened: bool) -> None:
        assert read("<think>\n\n</think>\n\nIt is.", opened=opened) == [content("It is.")]

    def test_without_an_end_it_is_all_there_is(self) -> None:
        assert read("<think>Well, </thin \n") == [reasoning("Well, </thin \n")]
        assert read("Well, ", opened=True) == [reasoning("Well, ")]
        assert read("", opened=True) == []

    def test_without_an_answer(self) -> None:
        assert read("<think>Well.</think>\n") == [reasoning("Well.")]

    def test_a_second_block_is_content(self) -> None:
        text = "<think>Well.</think>Yes.<think>No.</think>"
        assert read(text) == [reasoning("Well."), content("Yes.<think>No.</think>")]


class TestNoBlocks:
    """Everything else is content, to the last character."""

    @pytest.mark.parametrize(
        "text",
        [
            "It is.",
            "\n It is.\n\n",
            "So: <think>Well.</think>",
            "Well.</think>It is.",
            "<thin",
            "<thinking>Well.</thinking>",
            " \n",
        ],
    )
    def test_is_unchanged(self, text: str) -> None:
        assert read(text) == [content(text)]

    def test_nothing(self) -> None:
        assert read("") == []


class TestCalls:
    """Reasoning before calls."""

    @pytest.mark.parametrize("opened", [False, True])
    def test_of_hermes(self, opened: bool) -> None:
        text = (
            f"{'' if opened else '<think>'}\nI may use <tool_call>.\n</think>\n\n"
            f"Let me see.\n<tool_call>\n{PARIS}\n</tool_call>"
        )
        deltas = reading.read(
            lambda: ReasoningParser(THINK, HermesFormat().parser(TOOLS), opened=opened), text
        )
        assert deltas == [
            reasoning("I may use <tool_call>."),
            content("Let me see."),
            call("get_weather", '{"city": "Paris"}'),
        ]

    def test_of_llama(self) -> None:
        """The object is the whole message though there was a block before."""
        deltas = reading.read(
            lambda: ReasoningParser(THINK, Llama3Format().parser(TOOLS), opened=False),
            f"<think>{PARIS}</think>\n{PARIS}",
        )
        assert deltas == [reasoning(PARIS), call("get_weather", '{"city": "Paris"}')]


class TestCounting:
    """Which tokens are reasoning."""

    @pytest.mark.parametrize(
        ("opened", "tokens", "expected"),
        [
            (False, ["<think>", "\n", "Well", "</think>", "\n\n", "Yes"], 4),
            (False, ["<th", "ink>", "Well", "</th", "ink>", "Yes"], 4),
            (True, ["Well", ".", "</think>", "Yes"], 3),
            (True, ["Well", "."], 2),
            (False, ["Yes", "</think>"], 0),
        ],
    )
    def test_tokens_up_to_the_end_mark(
        self, opened: bool, tokens: list[str], expected: int
    ) -> None:
        parser = ReasoningParser(THINK, PlainParser(), opened=opened)
        count = 0
        for token in tokens:
            before = parser.in_reasoning
            parser.add(token)
            count += before or parser.in_reasoning
        assert count == expected

    def test_text_comes_as_soon_as_it_is_certain(self) -> None:
        parser = ReasoningParser(THINK, PlainParser(), opened=False)
        assert parser.add("<think>\nWell") == [ReasoningDelta("Well")]
        assert parser.add(", so\n") == [ReasoningDelta(", so")]
        assert parser.add("</think>\n") == []
        assert parser.add("Yes ") == [ContentDelta("Yes ")]


class TestFormats:
    """What a template and a prompt say."""

    @pytest.mark.parametrize(
        ("source", "expected"),
        [
            ("{{ content.split('</think>')[-1] }}", THINK),
            ("{% if x %}{{ '<think>\\n' + reasoning + '\\n</think>' }}{% endif %}", THINK),
            ("{{ '<|im_start|>assistant\\n<think>\\n' }}", THINK),
            ("{{ '[THINK]' + block.thinking + '[/THINK]' }}", MISTRAL),
            ("{{ message.content }}", None),
            ("{{ 'I think so' }}", None),
        ],
    )
    def test_are_found_in_the_template(self, source: str, expected: ReasoningFormat | None) -> None:
        assert ReasoningFormat.detect(source) == expected

    @pytest.mark.parametrize(
        ("prompt", "expected"),
        [
            ("<|im_start|>assistant\n<think>", True),
            ("<|im_start|>assistant\n<think>\n\n", True),
            ("<|im_start|>assistant\n<think>\n\n</think>\n\n", False),
            ("<|im_start|>assistant\n<think>\nWell", False),
            ("<|im_start|>assistant\n", False),
            ("", False),
        ],
    )
    def test_a_prompt_opens_a_block(self, prompt: str, expected: bool) -> None:
        assert THINK.is_opened_by(prompt) is expected

    def test_markers(self) -> None:
        assert MISTRAL.markers == ("[THINK]", "[/THINK]")


_TEXTS = st.lists(
    st.sampled_from(
        ["<think>", "</think>", "<thi", "nk>", "</", "\n", " ", "STOP", "ST", "a", "é"]
    ),
    max_size=14,
)
_CUTS = st.lists(st.integers(1, 4), min_size=1, max_size=5)


def pieces(text: str, sizes: list[int]) -> list[str]:
    """``text`` cut into pieces of ``sizes``, over and over."""
    found: list[str] = []
    while text:
        size = sizes[len(found) % len(sizes)]
        found.append(text[:size])
        text = text[size:]
    return found


def stopped(text: str, sizes: list[int], stops: list[str], *, opened: bool) -> str:
    """What is left of ``text``, which arrives in pieces, when stop strings end the answer."""
    finder = StopStrings(stops, AnswerScope(THINK, None, opened=opened))
    shown = ""
    for piece in pieces(text, sizes):
        shown += finder.add(piece)
        if finder.found is not None:
            return shown
    return shown + finder.flush()


class TestStopStrings:
    """They end the answer, not the reasoning before it."""

    @pytest.mark.parametrize("opened", [False, True])
    @pytest.mark.parametrize("size", [1, 2, 7, 100])
    def test_count_in_the_answer_alone(self, size: int, opened: bool) -> None:
        before = "\n<think>\n\nSTOP, </thin\n\nso STOP\n</think>\n\n"
        text = f"{before}It is.STOP And"

        assert stopped(text, [size], ["STOP", "\n\n"], opened=opened) == f"{before}It is."

    def test_may_be_the_marks_themselves(self) -> None:
        text = "<think>Well.</think> It is.</think><think>"

        stops = ["<think>", "</think>"]
        assert stopped(text, [1], stops, opened=False) == "<think>Well.</think> It is."

    @pytest.mark.parametrize("stop", ["<", "<thi", " ", "\n<"])
    def test_count_from_the_first_character_where_nothing_is_thought(self, stop: str) -> None:
        text = "\n <thin"

        assert stopped(text, [1], [stop], opened=False) == text[: (text + stop).index(stop)]

    def test_hold_nothing_back_for_longer_than_they_have_to(self) -> None:
        finder = StopStrings(["STOP"], AnswerScope(THINK, None, opened=True))

        assert [finder.add(piece) for piece in ("ST", "O", "</th", "ink>", "\n", "ST", "A")] == [
            *("ST", "O", "</th", "ink>", "\n"),
            *("", "STA"),
        ]

    @given(_TEXTS, _CUTS, st.booleans())
    def test_cut_what_the_parser_calls_content(
        self, parts: list[str], sizes: list[int], opened: bool
    ) -> None:
        text = "".join(parts)
        whole = reading.read(lambda: ReasoningParser(THINK, PlainParser(), opened=opened), text)
        answer = "".join(delta.text for delta in whole if isinstance(delta, ContentDelta))
        before = text.removesuffix(answer)

        shown = stopped(text, sizes, ["STOP", "\n\n"], opened=opened)

        found = [at for at in (answer.find("STOP"), answer.find("\n\n")) if at >= 0]
        assert shown == before + answer[: min(found, default=len(answer))]
