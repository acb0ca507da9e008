"""Earlier turns that are odd: they reach the template, or are refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.openai_types import chat_completion
from tests.e2e.server import ServerProcess
from tests.e2e.test_errors import error_of
from tests.e2e.tools import BOSTON, WEATHER

TOOL_CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "get_weather", "arguments": '{"location": "Boston"}'},
}


class TestHistory:
    """Earlier turns that are odd reach the template, or are refused; they never fail."""

    @pytest.mark.parametrize(
        "turns",
        [
            [{"role": "tool", "tool_call_id": "nobody", "content": "18 degrees"}],
            [{"role": "tool", "tool_call_id": "", "content": ""}],
            [{"role": "function", "name": "get_weather", "content": "18 degrees"}],
            [{"role": "function", "name": "get_weather", "content": None}],
            [{"role": "assistant", "content": None, "tool_calls": [TOOL_CALL]}],
            [{"role": "assistant", "content": "", "tool_calls": [TOOL_CALL]}],
            [{"role": "assistant", "content": "I look.", "tool_calls": [TOOL_CALL, TOOL_CALL]}],
            [{"role": "assistant", "function_call": TOOL_CALL["function"]}],
            [
                {
                    "role": "assistant",
                    "function_call": TOOL_CALL["function"],
                    "tool_calls": [TOOL_CALL],
                }
            ],
            *(
                [
                    {
                        "role": "assistant",
                        "tool_calls": [
                            {**TOOL_CALL, "function": {"name": "get_weather", "arguments": text}}
                        ],
                    },
                    {"role": "tool", "tool_call_id": "call_1", "content": "18"},
                ]
                for text in (
                    "",
                    "no JSON",
                    '{"location": ',
                    "[1]",
                    "5",
                    "null",
                    '"x"',
                    "NaN",
                    "[" * 2000,
                )
            ),
            [{"role": "tool", "tool_call_id": "1", "content": [{"type": "text", "text": "18"}]}],
            [{"role": "assistant", "content": "A", "tool_calls": []}],
            [{"role": "assistant", "content": "A", "tool_calls": None, "function_call": None}],
        ],
        ids=lambda turns: json.dumps(turns)[:100],
    )
    @pytest.mark.parametrize("with_tools", [False, True])
    def test_is_answered(
        self, server: ServerProcess, turns: list[dict[str, Any]], with_tools: bool
    ) -> None:
        tools = {"tools": [WEATHER]} if with_tools else {}

        response = server.chat(messages=[*BOSTON, *turns], max_tokens=3, **tools)

        assert response.status_code == 200, response.text
        chat_completion(response.content)

    def test_of_a_message_without_anything_is_refused(self, server: ServerProcess) -> None:
        empty: dict[str, Any]
        for empty in ({}, {"content": ""}, {"content": None, "tool_calls": []}):
            response = server.chat(messages=[*BOSTON, {"role": "assistant", **empty}])
            assert response.status_code == 400
            assert (error_of(response)["param"] or "").startswith("messages[1]")

    def test_may_offer_as_many_tools_as_openai_does(self, server: ServerProcess) -> None:
        tools = [
            {**WEATHER, "function": {"name": f"tool_{i}", "description": "x", "strict": True}}
            for i in range(128)
        ]

        response = server.chat(tools=tools, tool_choice="required", max_tokens=30, seed=1)

        assert response.status_code == 200
        (call, *_) = response.json()["choices"][0]["message"]["tool_calls"]
        assert call["function"]["name"].startswith("tool_")
