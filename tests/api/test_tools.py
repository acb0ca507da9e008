"""Tools: what is asked, called and answered is what OpenAI's clients expect."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import jsonschema
import pytest
from openai import OpenAI

from tests.api.messages import both, calls
from tests.api.openai_types import chat_completion
from tests.api.tools import BOSTON, CALL, REPORT, STRICT, SUNNY, TIME, TWO_CITIES, WEATHER
from tests.server import CAPITAL, Server
from tests.sweeps import examples

DRAFT_7 = "http://json-schema.org/draft-07/schema#"
DRAFT_2020 = "https://json-schema.org/draft/2020-12/schema"


class TestConversation:
    """Ask, call, result, answer: the way that every program with tools goes."""

    def test_with_the_openai_client(self, server: Server, client: OpenAI) -> None:
        messages: list[Any] = [*BOSTON]
        fields: dict[str, Any] = {"model": server.model, "tools": [WEATHER], "temperature": 0}

        asked = client.chat.completions.create(messages=messages, **fields).choices[0]
        assert asked.message.tool_calls is not None
        (call,) = asked.message.tool_calls
        assert call.type == "function"
        messages += [
            asked.message,
            {"role": "tool", "tool_call_id": call.id, "content": SUNNY},
        ]
        answered = client.chat.completions.create(messages=messages, **fields).choices[0]

        assert asked.finish_reason == "tool_calls"
        assert asked.message.content is None
        assert (call.function.name, json.loads(call.function.arguments)) == CALL
        assert (answered.message.content, answered.finish_reason) == (REPORT, "stop")
        assert answered.message.tool_calls is None

    def test_streamed_by_the_clients_helper(self, server: Server, client: OpenAI) -> None:
        messages: list[Any] = [*BOSTON]
        fields: dict[str, Any] = {"model": server.model, "tools": [STRICT], "temperature": 0}

        with client.chat.completions.stream(messages=messages, **fields) as stream:
            kinds = [event.type for event in stream]
            asked = stream.get_final_completion().choices[0].message
        assert asked.tool_calls is not None
        (call,) = asked.tool_calls
        messages += [
            {
                "role": "assistant",
                "tool_calls": [call.model_dump(exclude={"function": {"parsed_arguments"}})],
            },
            {"role": "tool", "tool_call_id": call.id, "content": SUNNY},
        ]
        with client.chat.completions.stream(messages=messages, **fields) as stream:
            answered = stream.get_final_completion().choices[0].message

        assert "tool_calls.function.arguments.delta" in kinds
        assert "tool_calls.function.arguments.done" in kinds
        assert call.function.parsed_arguments == CALL[1]
        assert answered.content == REPORT

    @pytest.mark.sweep(1)
    @pytest.mark.parametrize(
        "dialect",
        [
            lambda schema: {"$schema": DRAFT_7, **schema, "additionalProperties": False},
            lambda schema: {**schema, "additionalProperties": False, "$schema": DRAFT_7},
            lambda schema: {"$schema": DRAFT_2020, **schema},
        ],
        ids=["ai SDK", "zod-to-json-schema", "zod 4"],
    )
    @pytest.mark.parametrize("options", [{}, {"strict": True}, {"strict": False}], ids=str)
    def test_with_schemas_as_libraries_write_them(
        self, server: Server, dialect: Any, options: dict[str, Any]
    ) -> None:
        schema = dialect(WEATHER["function"]["parameters"])
        function = {**WEATHER["function"], "parameters": schema, **options}

        (answer,) = both(
            server,
            messages=BOSTON,
            tools=[{"type": "function", "function": function}],
            temperature=0,
        ).agree()

        assert calls(answer) == [CALL]

    @pytest.mark.sweep(1)
    @pytest.mark.parametrize("streamed", [False, True], ids=["body", "stream"])
    def test_with_functions_as_they_used_to_be(self, server: Server, streamed: bool) -> None:
        fields: dict[str, Any] = {"functions": [WEATHER["function"]], "temperature": 0}
        asked = both(server, messages=BOSTON, **fields)
        (choice,) = asked.streamed if streamed else asked.whole
        messages = [
            *BOSTON,
            {"role": "assistant", "content": None, "function_call": choice["function_call"]},
            {"role": "function", "name": "get_weather", "content": SUNNY},
        ]
        (answer,) = both(server, messages=messages, **fields).agree()

        assert choice["finish_reason"] == "function_call"
        assert (choice["content"], choice["tool_calls"]) == (None, None)
        assert choice["function_call"]["name"] == "get_weather"
        assert json.loads(choice["function_call"]["arguments"]) == CALL[1]
        assert (answer["content"], answer["finish_reason"]) == (REPORT, "stop")


class TestChoice:
    """``tool_choice`` and ``parallel_tool_calls``."""

    @pytest.mark.sweep(1)
    @pytest.mark.parametrize(
        ("choice", "is_call"),
        [
            (None, True),
            ("auto", True),
            ("required", True),
            ("none", False),
            ({"type": "function", "function": {"name": "get_weather"}}, True),
            (
                {
                    "type": "allowed_tools",
                    "allowed_tools": {
                        "mode": "required",
                        "tools": [{"type": "function", "function": {"name": "get_weather"}}],
                    },
                },
                True,
            ),
        ],
        ids=str,
    )
    def test_says_whether_there_is_a_call(self, server: Server, choice: Any, is_call: bool) -> None:
        (answer,) = both(
            server, messages=BOSTON, tools=[WEATHER, TIME], tool_choice=choice, temperature=0
        ).agree()

        assert (answer["finish_reason"] == "tool_calls") == is_call
        assert (answer["content"] is None) == is_call
        if is_call:
            assert calls(answer) == [CALL]

    @pytest.mark.sweep(1)
    @pytest.mark.parametrize("stop", ["\n", "{", '"', "get_weather", "<", "ston"])
    @pytest.mark.parametrize(
        "choice",
        ["auto", "required", {"type": "function", "function": {"name": "get_weather"}}],
        ids=str,
    )
    def test_stop_strings_cut_no_call(self, server: Server, choice: Any, stop: str) -> None:
        fields: dict[str, Any] = {"tools": [WEATHER], "tool_choice": choice, "temperature": 0}

        (answer,) = both(server, messages=BOSTON, stop=[stop], **fields).agree()

        assert (answer["content"], answer["finish_reason"]) == (None, "tool_calls")
        assert calls(answer) == [CALL]

    @pytest.mark.sweep(1)
    @pytest.mark.parametrize("forced", [False, True])
    def test_a_subset_is_all_that_may_be_called(self, server: Server, forced: bool) -> None:
        allowed: dict[str, Any] = {
            "mode": "required" if forced else "auto",
            "tools": [{"type": "function", "function": {"name": "get_time"}}],
        }
        for seed in range(examples(8, at_least=2)):
            (answer,) = both(
                server,
                messages=BOSTON,
                tools=[WEATHER, TIME],
                tool_choice={"type": "allowed_tools", "allowed_tools": allowed},
                seed=seed,
                max_tokens=120,
            ).agree()
            for name, arguments in calls(answer):
                assert name == "get_time"
                jsonschema.validate(arguments, TIME["function"]["parameters"])
            assert answer["tool_calls"] or not forced

    def test_one_that_does_not_fit_can_be_forced(self, server: Server) -> None:
        named = {"type": "function", "function": {"name": "get_time"}}

        (answer,) = both(
            server, messages=CAPITAL, tools=[WEATHER, TIME], tool_choice=named, temperature=0
        ).agree()

        assert [name for name, _ in calls(answer)] == ["get_time"]

    def test_tools_that_are_not_needed_are_not_called(self, server: Server) -> None:
        (answer,) = both(server, messages=CAPITAL, tools=[WEATHER, TIME], temperature=0).agree()

        assert answer["content"] == "The capital of France is Paris."
        assert answer["tool_calls"] is None
        assert answer["finish_reason"] == "stop"

    @pytest.mark.slow
    def test_without_tools_the_model_is_told_of_none(self, server: Server) -> None:
        def prompt_tokens(**fields: Any) -> int:
            usage = chat_completion(server.chat(messages=BOSTON, **fields).content).usage
            assert usage is not None
            return usage.prompt_tokens

        assert prompt_tokens() == prompt_tokens(tools=[WEATHER], tool_choice="none")
        assert prompt_tokens() == prompt_tokens(tools=[])
        assert prompt_tokens() < prompt_tokens(tools=[WEATHER])

    @pytest.mark.slow
    def test_several_calls_come_in_one_message_unless_that_is_ruled_out(
        self, server: Server
    ) -> None:
        fields: dict[str, Any] = {"messages": TWO_CITIES, "tools": [WEATHER], "temperature": 0}

        (parallel,) = both(server, **fields).agree()
        (single,) = both(server, **fields, parallel_tool_calls=False).agree()

        assert calls(parallel) == [
            ("get_weather", {"location": "Paris"}),
            ("get_weather", {"location": "Rome"}),
        ]
        assert calls(single) == [("get_weather", {"location": "Paris"})]

    @pytest.mark.slow
    def test_ids_are_unique(self, server: Server) -> None:
        fields: dict[str, Any] = {"messages": TWO_CITIES, "tools": [WEATHER], "n": 3, "seed": 1}
        asked = both(server, **fields)

        ids = Counter(
            call.id for choice in asked.body.choices for call in choice.message.tool_calls or ()
        )
        ids.update(
            call.id
            for chunk in asked.chunks
            for choice in chunk.choices
            for call in choice.delta.tool_calls or ()
            if call.id is not None
        )

        assert len(ids) >= 6
        assert set(ids.values()) == {1}
        assert all(name.startswith("call_") for name in ids)
