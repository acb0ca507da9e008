"""Arguments of calls: whatever is forced, or strict, is valid."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jsonschema
import pytest

from tests.api.messages import both, calls
from tests.api.schemas import SCHEMAS
from tests.api.tools import BOSTON, CALL, TIME, WEATHER
from tests.server import Server
from tests.sweeps import examples

OBJECTS = {
    f"f{i}": schema
    for i, schema in enumerate(SCHEMAS.values())
    if schema.get("type") == "object" or "oneOf" in schema or "$ref" in schema
}
"""Names of functions, and what their parameters have to be."""


def tool(name: str, **function: Any) -> dict[str, Any]:
    parameters = OBJECTS.get(name)
    return {"type": "function", "function": {"name": name, "parameters": parameters, **function}}


class TestArguments:
    """What is forced or ``strict`` validates, whatever the model would like to say."""

    @pytest.mark.slow
    @pytest.mark.sweep(6)
    @pytest.mark.parametrize(
        "fields",
        [
            {"tools": [tool(name) for name in OBJECTS], "tool_choice": "required"},
            {
                "tools": [tool(name) for name in OBJECTS],
                "tool_choice": "required",
                "parallel_tool_calls": False,
            },
            *(
                {
                    "tools": [tool(name), WEATHER],
                    "tool_choice": {"type": "function", "function": {"name": name}},
                }
                for name in OBJECTS
            ),
            {
                "functions": [tool(name)["function"] for name in OBJECTS],
                "function_call": {"name": next(iter(OBJECTS))},
            },
            {"tools": [tool(name, strict=True) for name in OBJECTS]},
        ],
        ids=lambda fields: str([v for k, v in fields.items() if k not in ("tools", "functions")]),
    )
    def test_validate(self, server: Server, fields: dict[str, Any]) -> None:
        def ask(seed: int) -> dict[str, Any]:
            body = {"messages": BOSTON, "max_tokens": 100, "seed": seed, **fields}
            response = server.chat(**body).raise_for_status()
            choice: dict[str, Any] = response.json()["choices"][0]
            return choice

        with ThreadPoolExecutor(16) as pool:
            choices = list(pool.map(ask, range(examples(4, at_least=2))))

        for choice in choices:
            message = choice["message"]
            found = [call["function"] for call in message.get("tool_calls", ())]
            found += [message["function_call"]] if "function_call" in message else []
            if choice["finish_reason"] == "length":
                found = found[:-1]
            for function in found:
                jsonschema.validate(json.loads(function["arguments"]), OBJECTS[function["name"]])
            assert found or choice["finish_reason"] in ("length", "stop")
            assert choice["finish_reason"] != "stop" or fields["tools"][0]["function"].get("strict")
        assert any(choice["finish_reason"] != "length" for choice in choices)

    @pytest.mark.sweep(1)
    @pytest.mark.parametrize("thinking", [False, True])
    @pytest.mark.parametrize(
        "location",
        [{"enum": ["Rome", "Oslo"]}, {"type": "integer", "minimum": 0, "maximum": 9}],
        ids=["enum", "integer"],
    )
    def test_of_calls_that_the_model_makes_by_itself_are_valid(
        self, server: Server, thinking: bool, location: dict[str, Any]
    ) -> None:
        """The model would like to say Boston."""
        parameters = {
            "type": "object",
            "properties": {"location": location},
            "required": ["location"],
            "additionalProperties": False,
        }
        tools = [{**WEATHER, "function": {**WEATHER["function"], "parameters": parameters}}, TIME]

        for fields in ({"tools": tools}, {"tools": tools, "tool_choice": "auto"}):
            (answer,) = both(
                server,
                messages=BOSTON,
                temperature=0,
                chat_template_kwargs={"enable_thinking": thinking},
                **fields,
            ).agree()

            assert answer["finish_reason"] == "tool_calls"
            assert (answer["reasoning_content"] is not None) == thinking
            for name, arguments in calls(answer):
                schema = parameters if name == "get_weather" else TIME["function"]["parameters"]
                jsonschema.validate(arguments, schema)

    def test_may_be_beyond_grammars_where_the_model_decides(self, server: Server) -> None:
        beyond = {"type": "object", "properties": {"location": {"not": {"const": 1}}}}
        changed = {**WEATHER, "function": {**WEATHER["function"], "parameters": beyond}}

        (answer,) = both(server, messages=BOSTON, tools=[changed], temperature=0).agree()

        assert calls(answer) == [CALL]

    def test_of_a_function_without_parameters_are_empty(self, server: Server) -> None:
        bare = {"type": "function", "function": {"name": "now"}}

        (answer,) = both(server, tools=[bare], tool_choice="required", seed=1).agree()

        assert calls(answer)[0] == ("now", {})

    @pytest.mark.slow
    def test_may_be_cut_off_by_the_limit(self, server: Server) -> None:
        fields: dict[str, Any] = {"messages": BOSTON, "tools": [WEATHER], "temperature": 0}
        (whole,) = both(server, **fields).agree()
        arguments = whole["tool_calls"][0]["function"]["arguments"]

        lengths = set()
        for n_tokens in range(1, 24, 24 // examples(24, at_least=8)):
            (answer,) = both(server, **fields, max_tokens=n_tokens).agree()
            assert answer["finish_reason"] == "length"
            for call in answer["tool_calls"] or ():
                assert call["function"]["name"] == "get_weather"
                assert arguments.startswith(call["function"]["arguments"])
                lengths.add(len(call["function"]["arguments"]))

        assert len(lengths) > 3

    @pytest.mark.sweep(1)
    @pytest.mark.parametrize("stop", ["ston", "</tool_call>"])
    def test_are_not_cut_off_by_a_stop_string(self, server: Server, stop: str) -> None:
        fields: dict[str, Any] = {"messages": BOSTON, "tools": [WEATHER], "temperature": 0}

        (answer,) = both(server, **fields, stop=stop).agree()

        assert calls(answer) == [CALL]
        assert answer["finish_reason"] == "tool_calls"


@pytest.mark.sweep(1)
@pytest.mark.parametrize("arguments", [r'"\{\\"a\\": 1\}"', "null", '""', r"\{\}"])
def test_that_are_written_as_a_string_are_an_object(server: Server, arguments: str) -> None:
    parameters = {"type": "object", "properties": {"a": {"type": "integer"}}}
    written = rf'<tool_call>\n\{{"name": "f", "arguments": {arguments}\}}\n</tool_call>'

    (answer,) = both(
        server,
        messages=BOSTON,
        tools=[{"type": "function", "function": {"name": "f", "parameters": parameters}}],
        regex=written,
        temperature=0,
    ).agree()

    assert calls(answer) == [("f", {"a": 1} if "a" in arguments else {})]
    assert answer["finish_reason"] == "tool_calls"


@pytest.mark.slow
@pytest.mark.sweep(2)
@pytest.mark.parametrize("family_server", ["qwen3", "llama3", "mistral", "gemma"], indirect=True)
def test_calls_can_be_forced_in_every_familys_format(family_server: Server) -> None:
    """The model does not know these formats: that it writes them is the grammar's doing."""
    schemas = {"f1": OBJECTS["f1"], "get_time": TIME["function"]["parameters"]}
    tools = [tool("f1"), TIME]
    n_whole = 0

    for seed in range(examples(3)):
        for parallel in (True, False):
            (answer,) = both(
                family_server,
                messages=BOSTON,
                tools=tools,
                tool_choice="required",
                parallel_tool_calls=parallel,
                seed=seed,
                max_tokens=160,
                chat_template_kwargs={"enable_thinking": False},
            ).agree()
            if answer["finish_reason"] == "length":
                continue
            n_whole += 1
            found = calls(answer)
            assert found
            assert parallel or len(found) == 1
            assert answer["content"] is None
            for name, arguments in found:
                jsonschema.validate(arguments, schemas[name])
    assert n_whole
