"""Calls that a model makes of its own accord: free text, and a form from where one has begun."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from shared.chat.answer_format import AnswerFormat
from shared.chat.deltas import ToolCallDelta
from shared.engine.grammar.compiler import ConstraintCompiler
from shared.engine.grammar.constraint import ConstraintMatcher
from shared.engine.grammar.grammar import combine, grammar
from shared.engine.llama.model import Model
from tests.chat.reading import TOOLS, joined
from tests.chat.tools.test_grammars import (
    ANNOUNCED,
    BARE,
    CASES,
    LATER,
    NOW,
    PARIS,
    SET,
    Case,
    formats,
)

NAMES = ["get_weather", "get_time", "get"]
SCHEMAS = {
    tool["function"]["name"]: tool["function"].get("parameters", {"maxProperties": 0})
    for tool in TOOLS
}
TEMPLATES = Path(__file__).parent.parent / "templates"


@pytest.fixture(scope="module")
def compiler(vocabulary: Model) -> ConstraintCompiler:
    return ConstraintCompiler(vocabulary)


class Writer:
    """Writes a text as a model would that is free, and then what the grammar leaves it."""

    def __init__(self, compiler: ConstraintCompiler, model: Model, source: str) -> None:
        self._model = model
        self._matcher: ConstraintMatcher = compiler.compile(source).lazily(model.piece).start()
        self.text = b""

    def write(self, text: str) -> bool:
        """Whether nobody minded any token of ``text``, nor looked at the logits of others."""
        return self.tokens(self._model.tokenize(text, add_special=False, parse_special=True))

    def tokens(self, tokens: Any) -> bool:
        is_free = True
        for token in tokens:
            is_free = is_free and self.is_free
            assert self._allowed()[token], (self.text, self._model.piece(token))
            self._take(token)
        return is_free

    def ramble(self, seed: int, limit: int = 300) -> str | None:
        """Add random tokens that may come next; the whole text, None if it found no end."""
        random = np.random.default_rng(seed)
        for _ in range(limit):
            if self._matcher.is_complete:
                return self.text.decode()
            (tokens,) = self._allowed().nonzero()
            token = int(random.choice(tokens))
            if token in self._model.end_tokens:
                return self.text.decode()
            self._take(token)
        return None

    def allows(self, text: str) -> bool:
        """Whether the first token of ``text`` may come next."""
        return bool(self._allowed()[self._model.tokenize(text, add_special=False)[0]])

    @property
    def is_free(self) -> bool:
        """Whether all tokens may come next."""
        return bool(self._allowed().all()) and not self._matcher.is_complete

    @property
    def may_end(self) -> bool:
        """Whether the text may end."""
        return bool(self._allowed()[self._model.end_tokens].any()) or self._matcher.is_complete

    def _allowed(self) -> Any:
        row = np.zeros(self._model.n_vocab, dtype=np.float32)
        self._matcher.apply(row)
        return row > -np.inf

    def _take(self, token: int) -> None:
        self._matcher.accept(token)
        assert self._matcher.error is None
        self.text += self._model.piece(token)


@pytest.fixture
def make(compiler: ConstraintCompiler, vocabulary: Model) -> Any:
    def writer(case: Case, *, parallel: bool = True, tools: Any = TOOLS) -> Writer:
        lark = case.tool_format.lazy_grammar(tools, parallel=parallel, marker=json.dumps)
        return Writer(compiler, vocabulary, grammar("lark", lark))

    return writer


class TestText:
    """Nobody interferes with what is no call."""

    @formats
    @pytest.mark.parametrize(
        "text",
        [
            "",
            "Hello 🌦️!\n\n",
            '{"answer": 42}',
            '[{"name": "Paris"}, {"name": "Rome", "arguments": {}}]',
            '{"name": "get_weather_tomorrow", "arguments": {"a": 1}}',
            "```json\n{}\n```",
            "<tool_ca <tool_response> [TOOL] [ARGS] <|python_ta",
            "Hi <|im_start|>user\n and then <|endoftext|> more",
            "<think>no end",
        ],
    )
    def test_is_free(self, make: Any, case: Case, text: str) -> None:
        writer = make(case)

        assert writer.write(text)
        assert writer.is_free

    @formats
    def test_may_be_no_text_at_all(self, make: Any, vocabulary: Model, case: Case) -> None:
        writer = make(case)
        byte = next(t for t in range(vocabulary.n_vocab) if vocabulary.piece(t) == b"\xf0")

        assert writer.tokens([byte, byte, byte])
        assert writer.write(case.write([("nobody", "[1]")]))
        assert writer.is_free

    @pytest.mark.parametrize("case", BARE, ids=lambda case: case.id)
    def test_calls_that_nothing_announces_have_names_that_are_known(
        self, make: Any, case: Case
    ) -> None:
        writer = make(case)

        assert writer.write(case.write([("get_wether", '{"city": 5}')]))
        assert writer.is_free


def _beginnings(case: Case) -> Iterator[str]:
    """Texts in which a call has begun, as the models of a family write them."""
    for name, arguments in (PARIS, NOW, SET):
        text = case.write([(name, arguments)])
        begun = text[: text.index(name)] + (f'{name}"' if case in BARE else "")
        yield begun
        yield f"\n {begun}" if case in BARE else f"Let me look {{that}} up.\n\n{begun}"
        if case in BARE:
            yield f"[{begun}"
            yield begun.replace("{", "{\n  ", 1).replace('": "', '" :\n"', 1)
            yield begun.replace("{", '{"type": "function", ', 1)
        if case.id == "generic":
            yield f"So:\n```json\n{begun}"
            yield f"{{}} ```{begun}"
        if case.id == "llama3":
            yield "<|python_tag|>"
            yield "Well, <|python_tag|>"


@pytest.mark.sweep(1)
@formats
def test_calls_are_valid_however_they_began(make: Any, case: Case) -> None:
    n_calls = 0
    for seed, beginning in enumerate(_beginnings(case)):
        for parallel in (True, False):
            writer = make(case, parallel=parallel)
            writer.write(beginning)
            assert not writer.is_free
            assert not writer.may_end
            text = writer.ramble(seed)
            if text is None:
                continue
            deltas = joined(case.tool_format.parser(TOOLS), [text])
            called = [delta for delta in deltas if isinstance(delta, ToolCallDelta)]
            assert called
            assert parallel or len(called) == 1
            for delta in called:
                assert delta.name is not None
                jsonschema.validate(json.loads(delta.arguments), SCHEMAS[delta.name])
            n_calls += len(called)
    assert n_calls > 5


@formats
def test_what_is_right_is_let_through(make: Any, case: Case) -> None:
    for calls in ([PARIS], [LATER], [NOW], [SET], [PARIS, SET, NOW]):
        writer = make(case)
        writer.write(case.write(calls))
        assert writer.may_end
        assert not writer.is_free, "nothing follows but calls"


@pytest.mark.parametrize("case", ANNOUNCED, ids=lambda case: case.id)
def test_unknown_names_are_impossible(make: Any, case: Case) -> None:
    text = case.write([("nobody", "{}")])
    writer = make(case)

    writer.write(text[: text.index("nobody")])

    assert not writer.is_free
    assert not writer.allows("n")
    assert not writer.allows("no")
    assert writer.allows("get")


def test_space_where_the_model_put_it_is_let_through(make: Any) -> None:
    """A marker's last piece may be one token with what follows it."""
    (case,) = (case for case in CASES if case.id == "hermes")
    for space in ("", " ", "\n", "\r\n", "\n\n"):
        writer = make(case)
        writer.write(f'<tool_call>{space}{{"name": "get_time", "arguments": {{}}}}{space}')
        assert not writer.may_end
        assert writer.ramble(0) is not None


class TestReasoning:
    """It comes first, and is free."""

    @pytest.fixture(params=[True, False], ids=["text", "control tokens"])
    def answers(self, request: pytest.FixtureRequest, vocabulary: Model) -> AnswerFormat:
        """Qwen 3's, whose mark of reasoning's start is text or, here, a token of ChatML."""
        source = (TEMPLATES / "qwen3.jinja").read_text(encoding="utf-8")
        if request.param:
            return AnswerFormat(source, lambda _text: None)

        def token(text: str) -> int | None:
            if text != "<think>":
                return None
            (found,) = vocabulary.tokenize("<|im_start|>", add_special=False, parse_special=True)
            return int(found)

        return AnswerFormat(source, token)

    @pytest.fixture
    def thinker(
        self, answers: AnswerFormat, compiler: ConstraintCompiler, vocabulary: Model
    ) -> Any:
        def make(prompt: str) -> Writer:
            calls = answers.lazy_calls_grammar(TOOLS, is_parallel=True)
            start = answers.reasoning_grammar(prompt, may_end=True) or "start: answer"
            source = combine(f"{start}\nanswer: @calls", {"calls": grammar("lark", calls)})
            return Writer(compiler, vocabulary, source)

        return make

    @staticmethod
    def spell(answers: AnswerFormat, text: str) -> str:
        if not answers.visible_tokens:
            return text
        return text.replace("<think>", "<|im_start|>")

    @pytest.mark.parametrize("is_opened", [True, False])
    def test_is_free_and_may_end(
        self, answers: AnswerFormat, thinker: Any, is_opened: bool
    ) -> None:
        writer = thinker("<think>\n" if is_opened else "")
        opening = "" if is_opened else "<think>"

        assert writer.write(self.spell(answers, f'{opening}\nI call {{"name": "get_weather"}} 🌦️'))
        assert writer.is_free

    @pytest.mark.parametrize("is_opened", [True, False])
    @pytest.mark.parametrize("space", ["", "\n", "\n\n"])
    def test_is_followed_by_valid_calls(
        self, answers: AnswerFormat, thinker: Any, is_opened: bool, space: str
    ) -> None:
        writer = thinker("<think>\n" if is_opened else "")
        opening = "" if is_opened else "<think>"
        begun = f"{opening}Hm, {{.\n</think>{space}"

        assert writer.write(self.spell(answers, begun))
        assert writer.is_free
        writer.write("<tool_call>")
        assert not writer.may_end
        text = writer.ramble(7)
        assert text is not None
        parser = answers.parser(TOOLS, is_thinking=True)
        called = text.partition("<tool_call>")
        deltas = joined(parser, ["</think>" + "".join(called[1:])])
        for delta in deltas:
            assert isinstance(delta, ToolCallDelta)
            jsonschema.validate(json.loads(delta.arguments), SCHEMAS[delta.name or ""])
