"""Earlier turns that are odd: they reach the template, or are refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import StartServer
from tests.api.openai_types import chat_completion
from tests.api.tools import BOSTON, WEATHER
from tests.server import CAPITAL, Server
from tests.sweeps import examples

TOOL_CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "get_weather", "arguments": '{"location": "Boston"}'},
}


class TestHistory:
    """Earlier turns that are odd reach the template, or are refused; they never fail."""

    @pytest.mark.sweep(3)
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
                    '{"a": ' * 199 + "1" + "}" * 199,
                    '{"q": "\\ud83d"}',
                    '{"\\ude00": 1e400}',
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
        self, server: Server, turns: list[dict[str, Any]], with_tools: bool
    ) -> None:
        tools = {"tools": [WEATHER]} if with_tools else {}

        response = server.chat(messages=[*BOSTON, *turns], max_tokens=3, **tools)

        assert response.status_code == 200, response.text
        chat_completion(response.content)

    @pytest.mark.slow
    def test_of_empty_messages_is_answered(self, server: Server) -> None:
        first, again = (
            server.chat(messages=[*CAPITAL, *turn, *CAPITAL], temperature=0)
            for turn in ([{"role": "assistant", "content": ""}], [])
        )
        assert first.status_code == again.status_code == 200
        assert "Paris" in first.json()["choices"][0]["message"]["content"]

        for turn in (
            *({"role": role, "content": ""} for role in ("system", "developer", "user")),
            *({"role": role, "content": []} for role in ("system", "developer", "user")),
            {"role": "assistant"},
            {"role": "assistant", "content": [], "refusal": None},
            {"role": "assistant", "content": None, "tool_calls": []},
            {"role": "assistant", "content": None, "reasoning_content": "Well."},
            {"role": "assistant", "content": "", "reasoning_content": ""},
        ):
            for messages in ([turn], [turn, *CAPITAL], [*CAPITAL, turn], [*CAPITAL, turn, turn]):
                response = server.chat(messages=messages, max_tokens=1)
                assert response.status_code == 200, (turn, response.text)

    def test_without_calls_is_none_with_calls(self, server: Server) -> None:
        """Some templates ask whether there are `tool_calls`, not how many."""
        said = {"role": "assistant", "content": "Paris."}
        prompts = {
            server.post("/apply-template", {"messages": [*CAPITAL, turn, *CAPITAL]}).text
            for turn in (said, {**said, "tool_calls": []}, {**said, "tool_calls": None})
        }
        assert len(prompts) == 1

    @pytest.mark.slow
    def test_may_offer_as_many_tools_as_openai_does(self, server: Server) -> None:
        tools = [
            {**WEATHER, "function": {"name": f"tool_{i}", "description": "x", "strict": True}}
            for i in range(128)
        ]

        response = server.chat(tools=tools, tool_choice="required", max_tokens=30, seed=1)

        assert response.status_code == 200
        (call, *_) = response.json()["choices"][0]["message"]["tool_calls"]
        assert call["function"]["name"].startswith("tool_")


ITERATING = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% for c in m.tool_calls or [] %}<tool_call>"
    '{"name": {{ c.function.name | tojson }}, "arguments": { '
    "{%- for k, v in c.function.arguments.items() %}{{ k | tojson }}: {{ v | tojson }}{% endfor %}"
    "}}</tool_call>{% else %}{{ m.content }}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if tools %}{% endif %}<|im_start|>assistant\n"
)


@pytest.mark.slow
def test_of_calls_reaches_templates_that_go_through_the_arguments(
    start_server: StartServer, tmp_path: Path
) -> None:
    """Whatever the server answered: cut off anywhere, and of any type."""
    template = tmp_path / "iterating.jinja"
    template.write_text(ITERATING, encoding="utf-8")
    server = start_server("--chat-template-file", str(template))

    def answered(written: str, **fields: Any) -> dict[str, Any]:
        text = f'<tool_call>\n{{"name": "f", "arguments": {written}}}\n</tool_call>'
        response = server.chat(
            messages=BOSTON,
            tools=[{"type": "function", "function": {"name": "f", "parameters": {}}}],
            regex=re.escape(text),
            **fields,
        ).raise_for_status()
        message: dict[str, Any] = response.json()["choices"][0]["message"]
        return message

    answers = [
        answered('{"city": "São Paulo"}', max_tokens=n)
        for n in range(1, 30, 29 // examples(29, at_least=10))
    ]
    answers += [answered(written) for written in ("{}", "[1]", '"x"', "5", "null", '{"a": "', "1e")]
    called = {call["function"]["arguments"] for a in answers for call in a.get("tool_calls", ())}
    assert {"{}", "[1]", '"x"', '{"city": "São Paulo"}'} < called
    for message in answers:
        results = [
            {"role": "tool", "tool_call_id": call["id"], "content": "18"}
            for call in message.get("tool_calls", ())
        ]
        response = server.chat(messages=[*BOSTON, message, *results], max_tokens=1)
        assert response.status_code == 200, (message, response.text)
