"""Requests of Codex and Claude Code, as their sources and issues show them, replayed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.app_server import AppServer

MODEL = "pilotlight-builtin"
SHELL: dict[str, Any] = {
    "type": "function",
    "name": "exec_command",
    "description": "Runs a command in a PTY.",
    "strict": False,
    "parameters": {
        "type": "object",
        "properties": {"cmd": {"type": "string", "enum": ["ls", "pwd"]}},
        "required": ["cmd"],
        "additionalProperties": False,
    },
}
NAMESPACE: dict[str, Any] = {
    "type": "namespace",
    "name": "mcp__files",
    "description": "Tools in the mcp__files namespace.",
    "tools": [{**SHELL, "name": "read_file", "defer_loading": True}],
}
CODEX: dict[str, Any] = {
    "model": MODEL,
    "instructions": "You are Codex, a coding agent.",
    "input": [
        {
            "type": "message",
            "role": "developer",
            "content": [{"type": "input_text", "text": "<permissions>read-only</permissions>"}],
        },
        {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": "<environment_context>bash</environment>"}],
        },
        {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": "List the files."}],
        },
        {"type": "reasoning", "summary": [], "content": None, "encrypted_content": None},
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "I'll look."}],
            "phase": "commentary",
        },
        {
            "type": "function_call",
            "name": "exec_command",
            "arguments": '{"cmd":"ls"}',
            "call_id": "call_1",
        },
        {
            "type": "function_call",
            "name": "read_file",
            "namespace": "mcp__files",
            "arguments": '{"cmd":"ls"}',
            "call_id": "call_2",
        },
        {"type": "function_call_output", "call_id": "call_1", "output": "README.md"},
        {
            "type": "function_call_output",
            "call_id": "call_2",
            "output": [{"type": "input_text", "text": "# Title"}],
        },
    ],
    "tools": [
        SHELL,
        {"type": "web_search", "external_web_access": False},
        {"type": "image_generation", "output_format": "png"},
        NAMESPACE,
    ],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "reasoning": {"effort": "medium", "summary": "auto"},
    "store": False,
    "stream": True,
    "include": ["reasoning.encrypted_content"],
    "prompt_cache_key": "0198-thread",
    "text": {"verbosity": "medium"},
    "client_metadata": {"x-codex-installation-id": "1"},
    "max_output_tokens": 60,
}
CLAUDE_CODE: dict[str, Any] = {
    "model": MODEL,
    "max_tokens": 60,
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "<system-reminder>Today is Monday.</system-reminder>"},
                {
                    "type": "text",
                    "text": "List the files.",
                    "cache_control": {"type": "ephemeral", "ttl": "1h"},
                },
            ],
        }
    ],
    "system": [
        {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.37; cch=fa690;"},
        {
            "type": "text",
            "text": "You are Claude Code.",
            "cache_control": {"type": "ephemeral", "scope": "global"},
        },
    ],
    "tools": [
        {
            "name": "Bash",
            "description": "Runs a command.",
            "input_schema": SHELL["parameters"],
            "eager_input_streaming": True,
            "defer_loading": False,
        },
        {"type": "web_search_20250305", "name": "web_search", "max_uses": 8},
    ],
    "metadata": {"user_id": json.dumps({"device_id": "d" * 64, "session_id": "s"})},
    "thinking": {"type": "adaptive", "display": "omitted"},
    "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
    "output_config": {"effort": "medium"},
    "stream": True,
}
BETA = "/v1/messages?beta=true"
BETAS = {"anthropic-version": "2023-06-01", "anthropic-beta": "claude-code-20250219"}


def events(text: str) -> list[dict[str, Any]]:
    lines = (line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: "))
    return [json.loads(line) for line in lines]


def test_codex_asks(server: AppServer) -> None:
    answer = server.http.post("/v1/responses", json=CODEX)
    assert answer.status_code == 200, answer.text
    ignored = answer.headers["x-ignored-params"].split(", ")
    assert ignored[:3] == ["client_metadata", "tools[1]", "tools[2]"]
    found = events(answer.text)
    assert found[0]["type"] == "response.created"
    assert [tool["type"] for tool in found[0]["response"]["tools"]] == [
        *("function", "web_search", "image_generation", "namespace"),
    ]
    last = found[-1]
    assert last["type"] in ("response.completed", "response.incomplete")
    assert last["response"]["usage"]["input_tokens_details"]["cached_tokens"] >= 0


def test_a_call_of_a_namespaces_tool_says_so(server: AppServer) -> None:
    body = {**CODEX, "tools": [NAMESPACE], "tool_choice": "required", "parallel_tool_calls": False}
    whole = server.http.post("/v1/responses", json={**body, "stream": False}).json()
    streamed = events(server.http.post("/v1/responses", json=body).text)[-1]["response"]
    for response in (whole, streamed):
        (call,) = response["output"]
        assert (call["type"], call["namespace"], call["name"]) == (
            *("function_call", "mcp__files", "read_file"),
        )


def test_tools_that_are_called_alike(server: AppServer) -> None:
    other = {**NAMESPACE, "name": "other"}
    body = {**CODEX, "tools": [NAMESPACE, other], "stream": False}
    assert server.http.post("/v1/responses", json=body).status_code == 200


def test_claude_code_asks(server: AppServer) -> None:
    answer = server.http.post(BETA, json=CLAUDE_CODE, headers=BETAS)
    assert answer.status_code == 200, answer.text
    ignored = answer.headers["x-ignored-params"].split(", ")
    assert ignored[:2] == ["context_management", "tools[1]"]
    assert "tools[0].eager_input_streaming" in ignored
    found = events(answer.text)
    assert (found[0]["type"], found[-1]["type"]) == ("message_start", "message_stop")


def test_claude_codes_line_about_itself_is_no_part_of_the_prompt(server: AppServer) -> None:
    body = {name: CLAUDE_CODE[name] for name in ("model", "messages", "system")}
    count = server.http.post("/v1/messages/count_tokens?beta=true", json=body).json()
    without = {**body, "system": body["system"][1:]}
    assert count == server.http.post("/v1/messages/count_tokens", json=without).json()
    said = [{"type": "text", "text": f"{body['system'][0]['text']}\nMore."}, *without["system"]]
    more = server.http.post("/v1/messages/count_tokens", json={**body, "system": said}).json()
    assert more["input_tokens"] > count["input_tokens"]


def test_claude_codes_search_is_refused(server: AppServer) -> None:
    body = {**CLAUDE_CODE, "tools": CLAUDE_CODE["tools"][1:]}
    answer = server.http.post(BETA, json=body, headers=BETAS)
    assert answer.status_code == 400
    assert "web_search_20250305" in answer.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/v1/models", f"/v1/models/{MODEL}"])
def test_models_have_the_fields_of_both_dialects(server: AppServer, path: str) -> None:
    found = server.http.get(path, headers={"anthropic-version": "2023-06-01"}).json()
    if "data" in found:
        assert (found["first_id"], found["last_id"], found["has_more"]) == (MODEL, MODEL, False)
        (found,) = found["data"]
    assert (found["id"], found["type"], found["object"]) == (MODEL, "model", "model")
    assert found["display_name"] == MODEL
    assert found["created_at"].endswith("Z")
