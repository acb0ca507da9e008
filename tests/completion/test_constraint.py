"""Grammars are compiled where they hold up nobody: not on the event loop, nor the engine's thread."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Message

from shared.chat.custom_tool import LARK, custom_parameters
from shared.completion.constraint import Before, chat_constraint, text_constraint
from shared.config.settings import Settings
from shared.engine.grammar.compiler import ConstraintCompiler
from shared.engine.grammar.constraint import Constraint
from shared.engine.grammar.errors import ConstraintError
from shared.engine.grammar.sandbox import GrammarSandbox
from shared.models.sources import model_files
from shared.protocol.errors import APIError
from shared.protocol.openai.chat_completions import ChatCompletionRequest
from shared.protocol.openai.tool_use import tool_use
from shared.runtime.model_loading import load_own_model
from shared.runtime.request_context import RequestContext, begin
from shared.runtime.served_model import ServedModel
from tests.server import user


class Observed(ServedModel):
    """The built-in model, which notes what threads ask for its compiler."""

    def __init__(self) -> None:
        settings, files = Settings(), model_files("builtin")
        super().__init__(settings, files, load_own_model(settings, files, lambda _fraction: None))
        self.threads: list[threading.Thread] = []

    def constraints(self) -> ConstraintCompiler:
        self.threads.append(threading.current_thread())
        return super().constraints()


@pytest.fixture(scope="module")
def served() -> Iterator[Observed]:
    model = Observed()
    yield model
    model.close()


@pytest.fixture(autouse=True)
def context() -> RequestContext:
    """The request that the tests' constraints are for."""
    return begin("req_1", "POST")


def request(**fields: Any) -> ChatCompletionRequest:
    body = {"messages": user("Hi"), **fields}
    return ChatCompletionRequest.model_validate_json(json.dumps(body))


async def patient() -> Message:
    """The messages of a client that does not hang up."""
    await asyncio.Event().wait()
    raise AssertionError


def chat(served: ServedModel, tenant: str = "", **fields: Any) -> Constraint | None:
    """The constraint of a chat completion that does not think."""
    parsed = request(**fields)
    return asyncio.run(
        chat_constraint(
            parsed, served, tenant, tool_use(parsed), "", before=Before(lambda: None, patient)
        )
    )


TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "f", "parameters": {"type": "object"}},
}


@pytest.mark.parametrize(
    "fields",
    [
        {"response_format": {"type": "json_object"}},
        {"grammar": 'root ::= "a"'},
        {"tools": [TOOL], "tool_choice": "required"},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_threads_of_their_own_compile(served: Observed, fields: dict[str, Any]) -> None:
    served.threads.clear()

    assert chat(served, **fields) is not None

    assert served.threads
    for thread in served.threads:
        assert thread.name.startswith("constraints")


def test_a_slow_grammar_holds_up_no_text_that_is_to_be_tokenized(served: Observed) -> None:
    """Both would wait for the same few threads otherwise."""

    async def both() -> list[str]:
        order: list[str] = []
        slow = {"type": "integer", "multipleOf": 9973}

        async def constrained(number: int) -> None:
            schema = {**slow, "title": str(number)}
            await text_constraint(
                request(json_schema=schema), served, "", before=Before(lambda: None, patient)
            )
            order.append("constrained")

        async def tokenized() -> None:
            await asyncio.to_thread(served.model.tokenize, "x" * 10_000)
            order.append("tokenized")

        await asyncio.gather(*(constrained(i) for i in range(8)), tokenized())
        return order

    assert asyncio.run(both())[0] == "tokenized"


def test_what_waits_for_a_thread_does_so_no_longer_than_its_client(
    served: Observed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever sends slow grammars and hangs up holds up nobody with those that have not begun."""
    begun: list[str] = []
    is_over = threading.Event()

    def compile(_: ConstraintCompiler, source: str, __: str) -> None:
        begun.append(source)
        is_over.wait()

    monkeypatch.setattr(ConstraintCompiler, "compile", compile)

    async def hang_up_while_they_wait() -> list[object]:
        hung_up = asyncio.Event()

        async def impatient() -> Message:
            await hung_up.wait()
            return {"type": "http.disconnect"}

        forms = [request(regex=f"a{{{i}}}") for i in range(1, 20)]
        tasks = [
            asyncio.create_task(
                text_constraint(form, served, "", before=Before(lambda: None, impatient))
            )
            for form in forms
        ]
        await asyncio.sleep(0)
        hung_up.set()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        is_over.set()
        await text_constraint(request(regex="b"), served, "", before=Before(lambda: None, patient))
        return [*ended]

    ended = asyncio.run(hang_up_while_they_wait())

    assert len(ended) == 19
    assert all(isinstance(each, ClientDisconnect) for each in ended)
    assert len(begun) <= 3, "two threads, and the last one that somebody waits for"


def test_forms_that_are_too_much_together_are_refused_unread(
    served: Observed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compile(*_: object) -> None:
        raise AssertionError("it is compiled")

    monkeypatch.setattr(ConstraintCompiler, "compile", compile)
    schema = {"const": "x" * 200_000}
    tools = [
        {"type": "function", "function": {"name": name, "parameters": schema}} for name in "abc"
    ]

    with pytest.raises(APIError, match="limit of 524288") as caught:
        chat(served, tools=tools, tool_choice="required")

    assert (caught.value.param, caught.value.code) == ("tools", "unsupported_schema")
    assert chat(served, tools=tools) is None


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"response_format": {"type": "text"}},
        {"tools": [TOOL], "tool_choice": "none"},
        {"tools": [TOOL], "tool_choice": "none", "parallel_tool_calls": False},
        {"functions": [{"name": "f"}], "function_call": "none"},
    ],
    ids=json.dumps,
)
def test_free_answers_have_no_constraint(served: Observed, fields: dict[str, Any]) -> None:
    assert chat(served, **fields) is None


class TestCallsOfTheModelsOwn:
    """With ``auto``, what has begun as a call ends as one, and nothing else is constrained."""

    @staticmethod
    def is_free_and_then_not(
        constraint: Constraint | None, served: ServedModel, begun: str
    ) -> bool:
        assert constraint is not None
        matcher = constraint.start()
        row = np.zeros(served.model.n_vocab, dtype=np.float32)
        for token in served.model.tokenize(begun, add_special=False, parse_special=True):
            matcher.apply(row)
            assert not row.any()
            matcher.accept(token)
        matcher.apply(row)
        return bool(row.any())

    def test_are_constrained(self, served: Observed) -> None:
        constraint = chat(served, tools=[TOOL])

        assert self.is_free_and_then_not(constraint, served, "I look.\n<tool_call>")

    def test_may_have_arguments_that_are_beyond_grammars(self, served: Observed) -> None:
        tools = [
            TOOL,
            *({**BEYOND, "function": {**BEYOND["function"], "name": f"g{i}"}} for i in range(40)),
        ]
        first = chat(served, tools=tools)

        assert self.is_free_and_then_not(first, served, "<tool_call>")
        kept = served.constraints()._compiled.copy()
        again = chat(served, tools=tools)
        assert self.is_free_and_then_not(again, served, "<tool_call>")
        assert served.constraints()._compiled == kept, "it is not tried out again"

    def test_are_the_models_own_affair_where_that_is_too_much(
        self, served: Observed, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object) -> None:
            raise ConstraintError("it is too large")

        monkeypatch.setattr(ConstraintCompiler, "compile", refuse)
        new = {"type": "function", "function": {"name": "never_seen"}}

        assert chat(served, tools=[new]) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"regex": "only mine"},
        {"tools": [TOOL], "tool_choice": "required", "parallel_tool_calls": False},
        {"tools": [{"type": "function", "function": {"name": "only_mine"}}]},
        {
            "tools": [
                TOOL,
                {"type": "function", "function": {"name": "h", "parameters": {"not": 1}}},
            ]
        },
    ],
    ids=json.dumps,
)
def test_no_time_tells_what_other_tenants_use(
    served: Observed, fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[str] = []
    run = GrammarSandbox.run

    def count(self: GrammarSandbox, grammar: str) -> str | None:
        compiled.append(grammar)
        return run(self, grammar)

    monkeypatch.setattr(GrammarSandbox, "run", count)
    chat(served, "a", **fields)
    chat(served, "a", **fields)
    of_one = len(compiled)
    chat(served, "b", **fields)
    chat(served, "b", **fields)

    assert of_one > 0
    assert compiled[of_one:] == compiled[:of_one]


@pytest.mark.parametrize(
    "fields",
    [
        {"grammar": 'root ::= "a"', "regex": "a"},
        {"regex": "a", "json_schema": {}},
        {"json_schema": {}, "response_format": {"type": "json_object"}},
    ],
    ids=json.dumps,
)
def test_two_formats_are_one_too_many(served: Observed, fields: dict[str, Any]) -> None:
    with pytest.raises(APIError, match="send one of them") as caught:
        chat(served, **fields)

    assert caught.value.param == next(iter(fields))


BEYOND: dict[str, Any] = {
    "type": "function",
    "function": {"name": "g", "parameters": {"not": {"type": "null"}}},
}
"""A tool that no grammar can be made of."""


@pytest.mark.parametrize(
    "fields",
    [
        {"parallel_tool_calls": False},
        {
            "tool_choice": {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "auto",
                    "tools": [{"type": "function", "function": {"name": "g"}}],
                },
            }
        },
        {"response_format": {"type": "json_object"}},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_schemas_that_nobody_insists_on_may_be_beyond_grammars(
    served: Observed, fields: dict[str, Any]
) -> None:
    """What only forbids a second call says nothing about arguments."""
    assert chat(served, tools=[TOOL, BEYOND], **fields) is not None
    functions = [tool["function"] for tool in (TOOL, BEYOND)]
    assert chat(served, functions=functions) is not None


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [TOOL, BEYOND], "tool_choice": "required"}, "tools[1].function.parameters"),
        (
            {"tools": [BEYOND, {**BEYOND, "function": {**BEYOND["function"], "strict": True}}]},
            "tools[1].function.parameters",
        ),
        (
            {"functions": [TOOL["function"], BEYOND["function"]], "function_call": {"name": "g"}},
            "functions[1].parameters",
        ),
        (
            {
                "tools": [TOOL],
                "response_format": {"type": "json_object", "schema": {"not": {"type": "null"}}},
            },
            "response_format.schema",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_those_that_are_insisted_on_are_named(
    served: Observed, fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(APIError, match="not") as caught:
        chat(served, **fields)

    assert (caught.value.param, caught.value.code) == (param, "unsupported_schema")


@pytest.mark.parametrize(
    ("seconds", "param"), [(60.0, "tools[1].function.parameters"), (-1.0, "tools")]
)
def test_the_tool_at_fault_is_looked_for_as_long_as_that_is_worth_it(
    served: Observed, monkeypatch: pytest.MonkeyPatch, seconds: float, param: str
) -> None:
    """A hundred tools that are each a second's work would be minutes of it."""
    monkeypatch.setattr("shared.completion.constraint._SEARCH_S", seconds)
    wrong = {"name": "g", "parameters": {"not": {"type": "null"}}}

    with pytest.raises(APIError, match="not") as caught:
        chat(served, tools=[TOOL, {"type": "function", "function": wrong}], tool_choice="required")

    assert caught.value.param == param


def custom_tool(definition: str) -> dict[str, Any]:
    """A custom tool of the Responses API whose text follows a grammar in Lark."""
    function = {"name": "f", "strict": True}
    parameters = custom_parameters({"type": "string", LARK: definition})
    return {"type": "function", "function": {**function, "parameters": parameters}}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (
            {"regex": r"\bx"},
            "the regular expression is not supported: anchors in the middle and word boundaries "
            "are not supported.",
        ),
        (
            {"regex": "a$\nb"},
            "the regular expression is not supported: anchors in the middle and word boundaries "
            "are not supported.",
        ),
        ({"regex": "x(/\n1 | y"}, "the regular expression is not supported: unclosed group."),
        (
            {"grammar": "root ::= x\nx ::= <think>"},
            "the grammar is not supported: there is no control token <think>.",
        ),
        (
            {"grammar": 'start: "x" a\na: /(/'},
            "the grammar is not supported: line 2, column 4: in the pattern (: unclosed group.",
        ),
        (
            {"tools": [custom_tool('start: "x" a\na: y')], "tool_choice": "required"},
            'the grammar is not supported: line 2, column 4: unknown name: "y".',
        ),
        (
            {"tools": [custom_tool("start: /(a/")], "tool_choice": "required"},
            "the grammar is not supported: line 1, column 8: in the pattern (a: unclosed group.",
        ),
        (
            {"json_schema": {"type": "string", "pattern": r"a\b"}},
            r"the schema is not supported: in the pattern a\b: anchors in the middle and word "
            "boundaries are not supported.",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_wrong_is_said_of_what_the_caller_wrote(
    served: Observed, fields: dict[str, Any], reason: str
) -> None:
    """Not of the grammar that was made of it, its lines or its names."""
    with pytest.raises(APIError) as caught:
        chat(served, **fields)

    assert caught.value.message == f"Invalid '{caught.value.param}': {reason}"
