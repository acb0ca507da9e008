"""What lines of training and evaluation files have to look like, by the rules of who reads them.

Written from OpenAI's descriptions of its files, not from the code that writes ours: the schema of a
supervised fine-tuning example (its messages, tools and functions), the example format of the older
prompt and completion pairs, and the ``jsonl`` data source of its Evals API.
"""

from __future__ import annotations

import json
from typing import Any

from jsonschema import Draft202012Validator

_TEXT = {"type": "string", "minLength": 1}
_NAME = {"type": "string", "pattern": r"^[A-Za-z0-9_.\-]{1,64}$"}
_FUNCTION = {
    "type": "object",
    "properties": {
        "name": _NAME,
        "description": {"type": "string"},
        "parameters": {"type": "object"},
        "strict": {"type": ["boolean", "null"]},
    },
    "required": ["name"],
    "additionalProperties": False,
}
_CALLED = {
    "type": "object",
    "properties": {"name": _NAME, "arguments": {"type": "string"}},
    "required": ["name", "arguments"],
    "additionalProperties": False,
}
_CALL = {
    "type": "object",
    "properties": {"id": _TEXT, "type": {"const": "function"}, "function": _CALLED},
    "required": ["id", "type", "function"],
    "additionalProperties": False,
}


def _message(role: str, required: list[str], **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"role": {"const": role}, **properties},
        "required": ["role", *required],
        "additionalProperties": False,
    }


_MESSAGE = {
    "oneOf": [
        _message("system", ["content"], content=_TEXT, name=_NAME),
        _message("user", ["content"], content=_TEXT, name=_NAME),
        {
            **_message(
                "assistant",
                [],
                content=_TEXT,
                name=_NAME,
                tool_calls={"type": "array", "items": _CALL, "minItems": 1},
                function_call=_CALLED,
                weight={"enum": [0, 1]},
            ),
            "anyOf": [{"required": [key]} for key in ("content", "tool_calls", "function_call")],
        },
        _message(
            "tool", ["content", "tool_call_id"], content={"type": "string"}, tool_call_id=_TEXT
        ),
        _message("function", ["content", "name"], content={"type": "string"}, name=_NAME),
    ]
}
_TRAINING = Draft202012Validator(
    {
        "type": "object",
        "properties": {
            "messages": {"type": "array", "items": _MESSAGE, "minItems": 2},
            "tools": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "properties": {"type": {"const": "function"}, "function": _FUNCTION},
                    "required": ["type", "function"],
                    "additionalProperties": False,
                },
            },
            "parallel_tool_calls": {"type": "boolean"},
            "functions": {"type": "array", "items": _FUNCTION, "minItems": 1},
        },
        "required": ["messages"],
        "additionalProperties": False,
    }
)
_PAIR = Draft202012Validator(
    {
        "type": "object",
        "properties": {"prompt": {"type": "string"}, "completion": _TEXT},
        "required": ["prompt", "completion"],
        "additionalProperties": False,
    }
)
_EVALUATION = Draft202012Validator(
    {
        "type": "object",
        "properties": {
            "item": {
                "type": "object",
                "properties": {
                    "input": {
                        "oneOf": [
                            {"type": "string"},
                            {"type": "array", "items": _MESSAGE, "minItems": 1},
                        ]
                    },
                    "ideal": _TEXT,
                },
                "required": ["input", "ideal"],
                "additionalProperties": False,
            }
        },
        "required": ["item"],
        "additionalProperties": False,
    }
)


def check_training(line: Any) -> None:
    """Assert that a parsed line is a fine-tuning example."""
    if "prompt" in line:
        _PAIR.validate(line)
        return
    _TRAINING.validate(line)
    messages = line["messages"]
    assert messages[-1]["role"] == "assistant"
    _check_order(messages)
    if "tools" in line:
        known = {tool["function"]["name"] for tool in line["tools"]}
        for made in messages[-1].get("tool_calls", []):
            assert made["function"]["name"] in known


def _check_order(messages: list[dict[str, Any]]) -> None:
    """Each call is followed by its result before anybody says anything else; arguments are JSON."""
    i = 0
    while i < len(messages):
        calls = messages[i].get("tool_calls", [])
        assert messages[i]["role"] != "tool", "a result that nobody called for"
        legacy = [messages[i]["function_call"]] if "function_call" in messages[i] else []
        for function in [made["function"] for made in calls] + legacy:
            assert isinstance(json.loads(function["arguments"]), dict)
        i += 1
        if calls and i < len(messages):
            results = messages[i : i + len(calls)]
            assert {made["id"] for made in calls} == {m.get("tool_call_id") for m in results}
            i += len(calls)


def check_evaluation(line: Any) -> None:
    """Assert that a parsed line is one of an evaluation's data source."""
    _EVALUATION.validate(line)
