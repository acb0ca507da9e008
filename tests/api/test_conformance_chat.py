"""docs/api.md, rows of chat requests: messages, templates, tools."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.conformance import (
    CITY,
    OSLO,
    THINK,
    TIME,
    TIME_TOOL,
    WEATHER,
    WEATHER_TOOL,
    shows,
)
from tests.api.openai_types import chat_completion
from tests.app_server import AppServer
from tests.server import CAPITAL, Server, user

CHAT = "chat.request"
FUNCTION = "messages[assistant].tool_calls[function].function"
CALL: dict[str, Any] = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'},
}


def choice(server: Server, **fields: Any) -> Any:
    """The only choice of a greedy answer, parsed strictly."""
    response = server.chat(**{"temperature": 0, "max_tokens": 100, **fields})
    (only,) = chat_completion(response.raise_for_status().content).choices
    return only


def calls(server: Server, **fields: Any) -> list[tuple[str, Any]]:
    """Names and arguments of the calls in an answer."""
    found = choice(server, **fields).message.tool_calls or ()
    return [(call.function.name, json.loads(call.function.arguments)) for call in found]


def prompt(server: Server, messages: list[dict[str, Any]], **fields: Any) -> str:
    """What the model gets."""
    response = server.post("/apply-template", {"messages": messages, **fields})
    return str(response.raise_for_status().json()["prompt"])


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose chat template writes down what it is given, and knows Hermes' calls."""
    directory: Path = tmp_path_factory.mktemp("open")
    template = directory / "template.jinja"
    template.write_text(
        """{% if tools %}<tool_call>{"name": {{ tools | tojson }}}{% endif %}"""
        "{{ {'messages': messages, 'effort': reasoning_effort | default(none),"
        " 'verbosity': verbosity | default(none), 'lamp': lamp | default(none)} | tojson }}"
    )
    server = AppServer(directory / "server.log", "--chat-template-file", str(template))
    yield server
    server.stop()


def given(server: Server, messages: list[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    """What `open_server`'s template is given."""
    seen: dict[str, Any] = json.loads(prompt(server, messages, **fields))
    return seen


class TestMessages:
    """What becomes of messages in the prompt."""

    @shows(
        CHAT,
        *("messages", "messages[system].role", "messages[system].content"),
        *("messages[user].role", "messages[user].content"),
        *("messages[assistant].role", "messages[assistant].content"),
    )
    def test_a_conversation_is_rendered_in_order(self, server: Server) -> None:
        conversation = [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello!"},
            {"role": "user", "content": "Bye"},
        ]
        assert prompt(server, conversation) == (
            "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
            "<|im_start|>assistant\nHello!<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n"
            "<|im_start|>assistant\n"
        )
        answer = choice(
            server, messages=[*CAPITAL, {"role": "assistant", "content": "Paris."}, *OSLO]
        )
        assert answer.message.content == "I cannot see the weather. I have no tool for it."

    @shows(CHAT, "messages[developer].role", "messages[developer].content")
    def test_a_developer_is_the_system(self, server: Server) -> None:
        prompts = {
            prompt(server, [{"role": role, "content": "Be kind."}, *CAPITAL])
            for role in ("developer", "system")
        }
        assert len(prompts) == 1

    @pytest.mark.parametrize("role", ["system", "developer", "user", "assistant", "tool"])
    @shows(CHAT, "messages[*].content[text].type", "messages[*].content[text].text")
    def test_text_parts_are_the_text_they_make(self, server: Server, role: str) -> None:
        parts = [{"type": "text", "text": text} for text in ("It is ", "18 degrees.")]
        prompts = {
            prompt(server, [*OSLO, {"role": role, "tool_call_id": "1", "content": content}])
            for content in (parts, "It is 18 degrees.")
        }
        assert len(prompts) == 1

    @shows(
        CHAT,
        *("messages[assistant].refusal", "messages[assistant].content[refusal].type"),
        "messages[assistant].content[refusal].refusal",
    )
    def test_a_refusal_is_a_text(self, server: Server) -> None:
        said: list[dict[str, Any]] = [
            {"content": "No."},
            {"refusal": "No."},
            {"content": [{"type": "refusal", "refusal": "No."}]},
        ]
        prompts = {
            prompt(server, [*OSLO, {"role": "assistant", **each}, *user("Why?")]) for each in said
        }
        assert len(prompts) == 1
        assert "assistant\nNo.<|im_end|>" in prompts.pop()

    @shows(CHAT, "messages[assistant].tool_calls", FUNCTION, f"{FUNCTION}.name")
    @shows(CHAT, f"{FUNCTION}.arguments", "messages[tool].role", "messages[tool].content")
    def test_a_calls_result_is_answered(self, server: Server) -> None:
        messages = [
            *OSLO,
            {"role": "assistant", "tool_calls": [CALL]},
            {
                "role": "tool",
                "tool_call_id": "call_1",
                "content": '{"temperature": 18, "condition": "sunny"}',
            },
        ]
        rendered = prompt(server, messages, tools=[WEATHER_TOOL])
        assert '{"name": "get_weather", "arguments": {"city": "Oslo"}}' in rendered
        assert '{"temperature": 18, "condition": "sunny"}' in rendered
        assert (
            "18 degrees" in choice(server, messages=messages, tools=[WEATHER_TOOL]).message.content
        )

    @shows(
        CHAT,
        *("messages[assistant].function_call", "messages[assistant].function_call.name"),
        *("messages[assistant].function_call.arguments", "messages[function].role"),
        "messages[function].content",
    )
    def test_the_older_form_of_a_call_is_the_newer_one(self, server: Server) -> None:
        result = '{"temperature": 18}'
        older = [
            *OSLO,
            {"role": "assistant", "content": None, "function_call": CALL["function"]},
            {"role": "function", "name": "get_weather", "content": result},
        ]
        newer = [
            *OSLO,
            {"role": "assistant", "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "call_1", "content": result},
        ]
        assert prompt(server, older) == prompt(server, newer)

    @pytest.mark.parametrize("role", ["developer", "system", "user", "assistant"])
    @shows(
        CHAT, *(f"messages[{role}].name" for role in ("developer", "system", "user", "assistant"))
    )
    def test_names_reach_the_template(self, open_server: Server, role: str) -> None:
        messages = [{"role": role, "name": "Ada", "content": "Hi", "mood": "curious"}]
        (message,) = given(open_server, messages)["messages"]
        assert (message["name"], message["mood"]) == ("Ada", "curious")

    @shows(CHAT, "messages[assistant].tool_calls[function].id", "messages[tool].tool_call_id")
    @shows(CHAT, "messages[assistant].tool_calls[function].type", "messages[function].name")
    @shows("chat.request+", "messages[assistant].reasoning_content")
    def test_what_belongs_to_calls_reaches_the_template(self, open_server: Server) -> None:
        without_type = {"id": CALL["id"], "function": CALL["function"]}
        messages = [
            *OSLO,
            {"role": "assistant", "reasoning_content": "Hm.", "tool_calls": [without_type]},
            {"role": "tool", "tool_call_id": "call_1", "content": ""},
            {"role": "assistant", "content": "", "function_call": TIME_CALL},
            {"role": "function", "name": "get_time", "content": "noon"},
        ]
        seen = given(open_server, messages)["messages"]
        assert seen[1]["reasoning_content"] == "Hm."
        assert (seen[1]["tool_calls"][0]["id"], seen[1]["tool_calls"][0]["type"]) == (
            "call_1",
            "function",
        )
        assert seen[2]["tool_call_id"] == "call_1"
        assert seen[4]["name"] == "get_time"
        assert seen[4]["tool_call_id"] == seen[3]["tool_calls"][0]["id"]


TIME_CALL = {"name": "get_time", "arguments": '{"city": "Rome"}'}


class TestTemplates:
    """What steers the chat template."""

    @shows(CHAT, "reasoning_effort", "verbosity")
    @shows("chat.request+", "chat_template_kwargs")
    def test_variables_reach_the_template(self, open_server: Server) -> None:
        fields: dict[str, Any] = {"reasoning_effort": "xhigh", "verbosity": "low"}
        seen = given(open_server, CAPITAL, **fields, chat_template_kwargs={"lamp": ["on"]})
        assert (seen["effort"], seen["verbosity"], seen["lamp"]) == ("xhigh", "low", ["on"])

    @shows("chat.request+", "chat_template_kwargs")
    def test_a_variable_switches_reasoning_on(self, server: Server) -> None:
        assert choice(server, **THINK).message.reasoning_content
        plain = choice(server, messages=THINK["messages"])
        assert "reasoning_content" not in plain.message.model_extra

    @shows("chat.request+", "add_generation_prompt")
    def test_the_answers_head_may_be_left_out(self, server: Server) -> None:
        whole = prompt(server, CAPITAL)
        assert prompt(server, CAPITAL, add_generation_prompt=True) == whole
        bare = prompt(server, CAPITAL, add_generation_prompt=False)
        assert whole == bare + "<|im_start|>assistant\n"

    @shows("chat.request+", "continue_final_message")
    def test_the_last_message_is_continued(self, server: Server) -> None:
        begun = [*CAPITAL, {"role": "assistant", "content": "The capital of"}]
        answer = choice(server, messages=begun, continue_final_message=True)
        assert answer.message.content == " France is Paris."

    @shows(CHAT, "modalities")
    def test_text_is_a_modality(self, server: Server) -> None:
        assert "Paris" in choice(server, modalities=["text"]).message.content

    @pytest.mark.parametrize("field", ["max_completion_tokens", "max_tokens"])
    @shows(CHAT, "max_completion_tokens")
    def test_reasoning_counts_against_the_limit(self, server: Server, field: str) -> None:
        response = server.chat(**THINK, **{field: 6})
        usage = response.json()["usage"]
        assert usage["completion_tokens"] == 6
        assert usage["completion_tokens_details"]["reasoning_tokens"] == 6

    @shows(CHAT, "logprobs", "top_logprobs")
    def test_log_probabilities_come_with_alternatives(self, server: Server) -> None:
        answer = choice(server, logprobs=True, top_logprobs=3)
        entries = answer.logprobs.content
        assert "".join(entry.token for entry in entries) == answer.message.content
        assert all(len(entry.top_logprobs) == 3 for entry in entries)
        assert all(entry.top_logprobs[0].token == entry.token for entry in entries)
        assert choice(server).logprobs is None


class TestTools:
    """What the model is told of, and what it has to call."""

    @shows(
        CHAT,
        *("tools", "tools[function].type", "tools[function].function"),
        *("tools[function].function.name", "tools[function].function.description"),
        "tools[function].function.parameters",
    )
    def test_the_model_reads_of_tools_and_calls_them(self, server: Server) -> None:
        assert json.dumps(WEATHER) in prompt(server, OSLO, tools=[WEATHER_TOOL])
        assert calls(server, messages=OSLO, tools=[WEATHER_TOOL]) == [
            ("get_weather", {"city": "Oslo"})
        ]

    @shows(CHAT, "tools[function].function.strict")
    @shows("chat.request+", "functions[].strict")
    def test_strict_tools_get_what_their_schema_says(self, server: Server) -> None:
        only_rome = {**CITY, "properties": {"city": {"enum": ["Rome"]}}}
        strict = {**WEATHER, "parameters": only_rome, "strict": True}
        tools = [{"type": "function", "function": strict}]
        assert calls(server, messages=OSLO, tools=tools) == [("get_weather", {"city": "Rome"})]
        older = choice(server, messages=OSLO, functions=[strict]).message.function_call
        assert json.loads(older.arguments) == {"city": "Rome"}

    @shows(CHAT, "tool_choice")
    def test_calls_are_forbidden_or_forced(self, server: Server) -> None:
        tools = [WEATHER_TOOL]
        assert not calls(server, messages=OSLO, tools=tools, tool_choice="none")
        assert calls(server, messages=OSLO, tools=tools, tool_choice="auto")
        assert not calls(server, messages=user("Hi"), tools=tools, tool_choice="auto")
        assert calls(server, messages=user("Hi"), tools=tools, tool_choice="required")

    @shows(CHAT, "tool_choice[function].type", "tool_choice[function].function")
    @shows(CHAT, "tool_choice[function].function.name")
    def test_a_named_function_is_called_once(self, server: Server) -> None:
        named = {"type": "function", "function": {"name": "get_time"}}
        two_cities = user("What's the weather in Oslo and Rome?")
        found = calls(
            server, messages=two_cities, tools=[WEATHER_TOOL, TIME_TOOL], tool_choice=named
        )
        assert [name for name, _ in found] == ["get_time"]

    @shows(
        CHAT,
        *("tool_choice[allowed_tools].type", "tool_choice[allowed_tools].allowed_tools"),
        "tool_choice[allowed_tools].allowed_tools.mode",
        "tool_choice[allowed_tools].allowed_tools.tools",
    )
    @shows(
        "chat.request+",
        "tool_choice[allowed_tools].allowed_tools.tools[function].type",
        "tool_choice[allowed_tools].allowed_tools.tools[function].function",
        "tool_choice[allowed_tools].allowed_tools.tools[function].function.name",
    )
    def test_only_allowed_tools_are_called(self, server: Server) -> None:
        def called(mode: str, question: str) -> list[str]:
            allowed = {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": mode,
                    "tools": [{"type": "function", "function": {"name": "get_time"}}],
                },
            }
            found = calls(
                server,
                messages=user(question),
                tools=[WEATHER_TOOL, TIME_TOOL],
                tool_choice=allowed,
            )
            return [name for name, _ in found]

        assert called("auto", "What's the weather in Oslo?") == ["get_time"]
        assert called("auto", "Hi") == []
        assert set(called("required", "Hi")) == {"get_time"}

    @shows(CHAT, "parallel_tool_calls")
    def test_calls_may_be_kept_to_one(self, server: Server) -> None:
        fields = {"messages": user("What's the weather in Oslo and Rome?"), "tools": [WEATHER_TOOL]}
        assert len(calls(server, **fields)) == 2
        assert len(calls(server, **fields, parallel_tool_calls=True)) == 2
        assert len(calls(server, **fields, parallel_tool_calls=False)) == 1

    @shows(CHAT, "functions", "functions[].name", "functions[].description")
    @shows(CHAT, "functions[].parameters", "function_call", "function_call.name")
    def test_functions_are_the_older_form(self, server: Server) -> None:
        assert prompt(server, OSLO, functions=[WEATHER]) == prompt(
            server, OSLO, tools=[WEATHER_TOOL]
        )
        auto = choice(server, messages=OSLO, functions=[WEATHER, TIME])
        none = choice(server, messages=OSLO, functions=[WEATHER], function_call="none")
        named = choice(
            server, messages=OSLO, functions=[WEATHER, TIME], function_call={"name": "get_time"}
        )
        assert auto.message.function_call.name == "get_weather"
        assert json.loads(auto.message.function_call.arguments) == {"city": "Oslo"}
        assert none.message.function_call is None
        assert named.message.function_call.name == "get_time"
