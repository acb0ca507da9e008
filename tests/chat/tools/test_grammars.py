"""Grammars of the tool formats: what a model may write under them, token by token."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jsonschema
import numpy as np
import pytest

from shared.chat.deltas import ContentDelta, ToolCallDelta
from shared.chat.tools.base import ToolFormat
from shared.chat.tools.generic import GenericFormat
from shared.chat.tools.hermes import HermesFormat
from shared.chat.tools.llama3 import Llama3Format
from shared.chat.tools.mistral import MistralListFormat, MistralNameFormat
from shared.engine.grammar.compiler import ConstraintCompiler
from shared.engine.grammar.grammar import grammar
from shared.engine.llama.model import Model
from shared.json_schema.errors import UnsupportedSchemaError
from tests.chat.reading import ALARM, TIME, TOOLS, WEATHER, joined

PARIS = ("get_weather", '{"city": "Paris"}')
LATER = ("get_weather", '{"city": "Nice", "days": 14}')
NOW = ("get_time", "{}")
SET = ("get", '{"tags": ["a", "b"], "at": {"hour": 7}}')
Calls = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Case:
    """A format, and how it writes calls."""

    id: str
    tool_format: ToolFormat
    write: Callable[[Calls], str]
    is_announced: bool = True
    """Calls begin with a marker rather than with the message."""


def _objects(calls: Calls, key: str) -> list[str]:
    return [f'{{"name": "{name}", "{key}": {arguments}}}' for name, arguments in calls]


CASES = [
    Case(
        "hermes",
        HermesFormat(),
        lambda calls: "\n".join(
            f"<tool_call>\n{call}\n</tool_call>" for call in _objects(calls, "arguments")
        ),
    ),
    Case(
        "llama3",
        Llama3Format(),
        lambda calls: "; ".join(_objects(calls, "parameters")),
        is_announced=False,
    ),
    Case(
        "mistral-list",
        MistralListFormat(),
        lambda calls: f"[TOOL_CALLS][{', '.join(_objects(calls, 'arguments'))}]",
    ),
    Case(
        "mistral-names",
        MistralNameFormat(has_ids=False),
        lambda calls: "".join(f"[TOOL_CALLS]{name}[ARGS]{arguments}" for name, arguments in calls),
    ),
    Case(
        "mistral-ids",
        MistralNameFormat(has_ids=True),
        lambda calls: "".join(
            f"[TOOL_CALLS]{name}[CALL_ID]aB3dE6gH9[ARGS]{arguments}" for name, arguments in calls
        ),
    ),
    Case(
        "generic",
        GenericFormat(),
        lambda calls: "\n".join(_objects(calls, "arguments")),
        is_announced=False,
    ),
]
ANNOUNCED = [case for case in CASES if case.is_announced]
BARE = [case for case in CASES if not case.is_announced]
formats = pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
either = pytest.mark.parametrize("required", [True, False], ids=["required", "auto"])


@pytest.fixture(scope="module")
def compiler(vocabulary: Model) -> ConstraintCompiler:
    return ConstraintCompiler(vocabulary)


class Grammar:
    """A format's grammar, for the built-in model's vocabulary."""

    def __init__(
        self,
        compiler: ConstraintCompiler,
        model: Model,
        case: Case,
        *,
        tools: Sequence[dict[str, Any]] = TOOLS,
        required: bool = False,
        parallel: bool = True,
        as_token: bool = False,
    ) -> None:
        """``as_token``: the opening marker is a control token, for which one of ChatML's stands."""
        self._model = model
        self._opening = case.tool_format.markers[0] if as_token else None
        self._token = "<|im_start|>"
        lark = case.tool_format.grammar(
            tools, required=required, parallel=parallel, marker=self._marker
        )
        self._constraint = compiler.compile(grammar("lark", lark))

    def _marker(self, text: str) -> str:
        if text != self._opening:
            return json.dumps(text)
        (token,) = self._model.tokenize(self._token, add_special=False)
        return f"<[{token}]>"

    def accepts(self, text: str) -> bool:
        """Whether ``text`` may be written, and end there."""
        return self._follow(text)[1]

    def allows(self, text: str) -> bool:
        """Whether ``text`` may be written, with or without more to follow."""
        return self._follow(text)[0]

    def _follow(self, text: str) -> tuple[bool, bool]:
        matcher = self._constraint.start()
        if self._opening is not None:
            text = text.replace(self._opening, self._token)
        for token in self._model.tokenize(text, add_special=False, parse_special=True):
            if not self._allowed(matcher)[token]:
                return False, False
            matcher.accept(token)
        assert matcher.error is None
        return True, bool(self._allowed(matcher)[self._model.end_tokens].any())

    def write(self, seed: int, limit: int = 400) -> str | None:
        """Random tokens up to an end; None if there is none before ``limit``."""
        random = np.random.default_rng(seed)
        matcher = self._constraint.start()
        written = b""
        for _ in range(limit):
            (tokens,) = self._allowed(matcher).nonzero()
            token = int(random.choice(tokens))
            if token in self._model.end_tokens:
                return written.decode("utf-8", "replace")
            matcher.accept(token)
            written += self._model.piece(token)
        return None

    def _allowed(self, matcher: Any) -> Any:
        row = np.zeros(self._model.n_vocab, dtype=np.float32)
        if matcher.is_complete:
            row[:] = -np.inf
            row[self._model.end_tokens] = 0
        else:
            matcher.apply(row)
        return row > -np.inf


@pytest.fixture
def make(compiler: ConstraintCompiler, vocabulary: Model) -> Callable[..., Grammar]:
    return lambda case, **options: Grammar(compiler, vocabulary, case, **options)


Make = Callable[..., Grammar]


class TestCalls:
    """A call is one of the tools with valid arguments, forced or not."""

    @formats
    @either
    @pytest.mark.parametrize("calls", [[PARIS], [LATER], [NOW], [SET]], ids=lambda c: c[0][0])
    def test_right_ones_are_accepted(
        self, make: Make, case: Case, required: bool, calls: Calls
    ) -> None:
        for parallel in (True, False):
            text = case.write(calls)
            assert make(case, required=required, parallel=parallel).accepts(text)

    @formats
    @either
    @pytest.mark.parametrize(
        "call",
        [
            ("get_wether", '{"city": "Paris"}'),
            ("get_weather ", '{"city": "Paris"}'),
            ("", "{}"),
            ("get_weather", "{}"),
            ("get_weather", '{"city": 5}'),
            ("get_weather", '{"city": "Paris", "days": 15}'),
            ("get_weather", '{"city": "Paris", "hours": 1}'),
            ("get_weather", '{"city":"Paris"}'),
            ("get_weather", '{ "city": "Paris" }'),
            ("get_weather", '"Paris"'),
            ("get_weather", "null"),
            ("get_time", '{"zone": "UTC"}'),
            ("get", '{"at": {}}'),
            ("get", '{"tags": ["c"], "at": {"hour": 7}}'),
        ],
    )
    def test_wrong_ones_are_refused(
        self, make: Make, case: Case, required: bool, call: tuple[str, str]
    ) -> None:
        assert not make(case, required=required).allows(case.write([call]))

    @formats
    @either
    def test_several_are_accepted_if_they_may_be_parallel(
        self, make: Make, case: Case, required: bool
    ) -> None:
        text = case.write([PARIS, SET, NOW, LATER])
        assert make(case, required=required, parallel=True).accepts(text)
        assert not make(case, required=required, parallel=False).allows(text)
        wrong = case.write([PARIS, ("no_such_tool", "{}")])
        assert not make(case, required=required, parallel=True).allows(wrong)

    @formats
    @either
    def test_nothing_follows_but_calls(self, make: Make, case: Case, required: bool) -> None:
        for parallel in (True, False):
            text = case.write([PARIS]) + "\n\nThat is it."
            assert not make(case, required=required, parallel=parallel).allows(text)

    @formats
    @either
    def test_an_unfinished_one_may_not_end(self, make: Make, case: Case, required: bool) -> None:
        text = case.write([PARIS])
        whole = make(case, required=required)
        for cut in ("Par", "get_w"):
            beginning = text[: text.index(cut) + len(cut)]
            assert whole.allows(beginning)
            assert not whole.accepts(beginning)

    @formats
    def test_one_tool_can_be_named(self, make: Make, case: Case) -> None:
        named = make(case, tools=[TIME], required=True, parallel=False)
        assert named.accepts(case.write([NOW]))
        assert not named.allows(case.write([PARIS]))


class TestText:
    """Text, unless a call is required."""

    @formats
    @pytest.mark.parametrize(
        "text", ["", "Hello!", " \n", "\n\nSo: {x}\n[1] <tool> `é`", 'A {"name": "x"}']
    )
    def test_is_free(self, make: Make, case: Case, text: str) -> None:
        for parallel in (True, False):
            assert make(case, parallel=parallel).accepts(text)
        assert not make(case, required=True).allows(text + "Hello")

    @pytest.mark.parametrize("case", ANNOUNCED, ids=lambda case: case.id)
    @pytest.mark.parametrize("as_token", [False, True], ids=["text", "control token"])
    def test_ends_where_a_call_begins(self, make: Make, case: Case, as_token: bool) -> None:
        opening = case.tool_format.markers[0]
        auto = make(case, as_token=as_token)
        assert auto.accepts("Let me see.\n" + case.write([PARIS]))
        assert auto.accepts(case.write([PARIS, NOW]))
        assert auto.allows("Let me see." + opening)
        assert not auto.accepts("Let me see." + opening)
        assert not auto.allows(f"Write {opening} to call.")
        assert not auto.allows("Let me see. " + case.write([("no_such_tool", "{}")]))

    @pytest.mark.parametrize("case", ANNOUNCED, ids=lambda case: case.id)
    def test_is_ruled_out_by_force(self, make: Make, case: Case) -> None:
        for as_token in (False, True):
            forced = make(case, required=True, as_token=as_token)
            assert forced.accepts(case.write([PARIS]))
            assert not forced.allows("Hello")
            assert not forced.accepts("")

    @pytest.mark.parametrize("case", BARE, ids=lambda case: case.id)
    def test_that_begins_with_a_brace_is_a_call(self, make: Make, case: Case) -> None:
        auto = make(case)
        assert auto.accepts("\n" + case.write([PARIS]))
        assert not auto.accepts("{")
        assert not auto.allows('{"answer": 42}')
        assert not auto.allows('\n {"answer": 42}')

    @pytest.mark.parametrize("case", BARE, ids=lambda case: case.id)
    def test_that_holds_what_is_read_as_calls_holds_valid_ones(
        self, make: Make, case: Case
    ) -> None:
        """Nobody asked for a list or a fenced block, but both are understood."""
        auto = make(case)
        forms = (
            [" [{}]"] if case.id == "llama3" else [" [{}]", "So:\n```json\n{}\n```", "``` {}```"]
        )
        for form in forms:
            assert auto.accepts(form.format(case.write([PARIS])))
            wrong = form.format(case.write([("get_weather", '{"city": 5}')]))
            assert not auto.allows(wrong)
        assert auto.accepts('[{"name": "Paris"}] ```json\n{"name": "f"}')

    @pytest.mark.parametrize("as_token", [False, True], ids=["text", "control token"])
    def test_llama_may_announce_a_call(self, make: Make, as_token: bool) -> None:
        (case,) = (case for case in CASES if case.id == "llama3")
        auto = make(case, as_token=as_token)
        assert auto.accepts("<|python_tag|>" + case.write([PARIS, NOW]))
        assert not auto.allows("<|python_tag|>print(1)")


class TestSchemas:
    """What ``parameters`` may be."""

    @staticmethod
    def tool(**function: Any) -> dict[str, Any]:
        return {"type": "function", "function": {"name": "f", **function}}

    @formats
    def test_left_out_there_are_none(self, make: Make, case: Case) -> None:
        forced = make(case, tools=[self.tool()], required=True)
        assert forced.accepts(case.write([("f", "{}")]))
        assert not forced.allows(case.write([("f", '{"a": 1}')]))

    @formats
    @pytest.mark.parametrize("parameters", [None, {}, {"type": "object"}])
    def test_empty_they_are_any(self, make: Make, case: Case, parameters: Any) -> None:
        forced = make(case, tools=[self.tool(parameters=parameters)], required=True)
        assert forced.accepts(case.write([("f", "{}")]))
        assert forced.accepts(case.write([("f", '{"a": [1, {"b": "{\\"é"}], "c": null}')]))
        assert not forced.allows(case.write([("f", "[]")]))

    @formats
    def test_without_a_type_they_are_an_object_all_the_same(self, make: Make, case: Case) -> None:
        parameters = {"properties": {"a": {"type": "integer"}}, "required": ["a"]}
        forced = make(case, tools=[self.tool(parameters=parameters)], required=True)
        assert forced.accepts(case.write([("f", '{"a": 1}')]))
        assert not forced.allows(case.write([("f", "5")]))

    def test_what_is_not_supported_is_named(self, make: Make) -> None:
        parameters = {"type": "object", "properties": {"a": {"not": {"type": "string"}}}}
        with pytest.raises(UnsupportedSchemaError, match="'not' at #/properties/a can't"):
            make(CASES[0], tools=[self.tool(parameters=parameters)])


class TestRandomText:
    """Whatever the grammar lets through, the parser reads as valid calls."""

    @pytest.mark.sweep(1)
    @formats
    def test_forced_calls_are_valid(self, make: Make, case: Case) -> None:
        schemas = {
            tool["function"]["name"]: tool["function"].get("parameters", {"maxProperties": 0})
            for tool in TOOLS
        }
        forced = make(case, required=True)
        texts = [text for seed in range(20) if (text := forced.write(seed)) is not None]
        assert len(texts) >= 10
        called = set()
        for text in texts:
            deltas = joined(case.tool_format.parser(TOOLS), [text])
            assert deltas
            for index, delta in enumerate(deltas):
                assert isinstance(delta, ToolCallDelta)
                assert delta.index == index
                assert delta.name is not None
                jsonschema.validate(json.loads(delta.arguments), schemas[delta.name])
                called.add(delta.name)
        assert called == set(schemas)

    @formats
    def test_one_call_is_one_call(self, make: Make, case: Case) -> None:
        tools = [WEATHER, ALARM]
        forced = make(case, tools=tools, required=True, parallel=False)
        for seed in range(10):
            text = forced.write(seed)
            assert text is not None
            (delta,) = joined(case.tool_format.parser(tools), [text])
            assert not isinstance(delta, ContentDelta)
