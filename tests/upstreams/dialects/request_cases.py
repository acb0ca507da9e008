"""A request for each row of the table of request fields in docs/upstreams.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.upstreams.dialects.translation import PDF, PNG, QUESTION

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city": "Paris"}'},
}
CALLS = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "sunny"}
TOOL = {
    "type": "function",
    "function": {"name": "weather", "description": "of a city", "parameters": SCHEMA},
}
OTHER_TOOL = {"type": "function", "function": {"name": "time"}}
MARK = {"prompt_cache_breakpoint": {"mode": "explicit"}}


@dataclass(frozen=True)
class Case:
    """Fields of a request, and what they become: values by path, or the ``param`` of an error."""

    fields: Mapping[str, Any]
    anthropic: Mapping[str, Any] | str = field(default_factory=dict)
    bedrock: Mapping[str, Any] | str = field(default_factory=dict)


def _said(*messages: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    return {"messages": [QUESTION, *messages, *fields.pop("after", [])], **fields}


def _user(part: Mapping[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "Look"}, part]}]}


def _refused(param: str, **fields: Any) -> Case:
    return Case(fields, param, param)


_TEXT = "messages[].content[].text"
_MAX = {"max_tokens": 5}, {"inferenceConfig.maxTokens": 5}
_FORMAT = (
    {"output_config.format": {"type": "json_schema", "schema": SCHEMA}},
    {
        "outputConfig.textFormat": {
            "type": "json_schema",
            "structure": {
                "jsonSchema": {
                    "schema": '{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}',
                }
            },
        }
    },
)
_NAMED_FORMAT = {
    "outputConfig.textFormat": {
        "type": "json_schema",
        "structure": {
            "jsonSchema": {
                **_FORMAT[1]["outputConfig.textFormat"]["structure"]["jsonSchema"],  # type: ignore[index]
                "name": "place",
                "description": "where",
            }
        },
    }
}
_TOOL_USE = {"toolUseId": "call_1", "name": "weather", "input": {"city": "Paris"}}

CASES: dict[str, Case] = {
    **{
        f"messages[{role}]": Case(
            _said({"role": role, "content": "Be brief."}, after=[QUESTION]),
            {"system[].text": "Be brief."},
            {"system[].text": "Be brief."},
        )
        for role in ("system", "developer")
    },
    "messages[user].content": Case(
        {"messages": [{"role": "user", "content": "Hi"}]}, {_TEXT: "Hi"}, {_TEXT: "Hi"}
    ),
    "messages[user].content[image_url]": Case(
        _user({"type": "image_url", "image_url": {"url": PNG}}),
        {
            "messages[].content[].source": {
                "type": "base64",
                "media_type": "image/png",
                "data": "iVBORw0KGgo=",
            }
        },
        {"messages[].content[].image": {"format": "png", "source": {"bytes": "iVBORw0KGgo="}}},
    ),
    "messages[user].content[image_url].image_url.detail": Case(
        _user({"type": "image_url", "image_url": {"url": PNG, "detail": "low"}})
    ),
    "messages[user].content[file]": Case(
        _user({"type": "file", "file": {"file_data": PDF, "filename": "a.pdf"}}),
        {
            "messages[].content[].source": {
                "type": "base64",
                "media_type": "application/pdf",
                "data": "JVBERi0xLjQ=",
            },
            "messages[].content[].title": "a.pdf",
        },
        {
            "messages[].content[].document": {
                "format": "pdf",
                "source": {"bytes": "JVBERi0xLjQ="},
                "name": "document 1",
            }
        },
    ),
    "messages[user].content[file].file.file_id": _refused(
        "messages[0].content[1].file.file_id", **_user({"type": "file", "file": {"file_id": "f"}})
    ),
    "messages[user].content[input_audio]": Case(
        _user({"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}),
        "messages[0].content[1].input_audio",
        {"messages[].content[].audio": {"format": "wav", "source": {"bytes": "UklGRg=="}}},
    ),
    "messages[*].content[].prompt_cache_breakpoint": Case(
        _user({"type": "text", "text": "closely", **MARK}),
        {"messages[].content[].cache_control": {"type": "ephemeral"}},
        {"messages[].content[].cachePoint": {"type": "default"}},
    ),
    "messages[*].name": Case({"messages": [{**QUESTION, "name": "ada"}]}),
    "messages[assistant].content": Case(
        _said({"role": "assistant", "content": "Paris"}, after=[QUESTION]),
        {_TEXT: "Paris"},
        {_TEXT: "Paris"},
    ),
    "messages[assistant].refusal": Case(
        _said({"role": "assistant", "refusal": "No."}, after=[QUESTION]),
        {_TEXT: "No."},
        {_TEXT: "No."},
    ),
    "messages[assistant].tool_calls": Case(
        _said(CALLS, RESULT, tools=[TOOL]),
        {
            "messages[].content[].id": "call_1",
            "messages[].content[].name": "weather",
            "messages[].content[].input": {"city": "Paris"},
        },
        {"messages[].content[].toolUse": _TOOL_USE},
    ),
    "messages[assistant].reasoning_content": Case(
        _said({"role": "assistant", "content": "P", "reasoning_content": "F"}, after=[QUESTION])
    ),
    "messages[assistant].function_call": _refused(
        "messages[1].function_call",
        **_said({"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}}),
    ),
    "messages[assistant].audio": _refused(
        "messages[1].audio", **_said({"role": "assistant", "audio": {"id": "a"}})
    ),
    "messages[function]": _refused(
        "messages[1].role", **_said({"role": "function", "name": "f", "content": "1"})
    ),
    "messages[tool]": Case(
        _said(CALLS, RESULT, tools=[TOOL]),
        {
            "messages[].content[].tool_use_id": "call_1",
            "messages[].content[].content": [{"type": "text", "text": "sunny"}],
        },
        {
            "messages[].content[].toolResult": {
                "toolUseId": "call_1",
                "content": [{"text": "sunny"}],
            }
        },
    ),
    "continue_final_message": Case(
        _said({"role": "assistant", "content": "It is"}, continue_final_message=True),
        {_TEXT: "It is"},
        {_TEXT: "It is"},
    ),
    "add_generation_prompt": _refused("add_generation_prompt", add_generation_prompt=False),
    "model": Case({"model": "big"}, {"model": "us.anthropic.claude-sonnet-5-5-v1:0"}),
    "max_completion_tokens": Case({"max_completion_tokens": 5}, *_MAX),
    "max_tokens": Case({"max_tokens": 5}, *_MAX),
    "temperature": Case(
        {"temperature": 0.5}, {"temperature": 0.5}, {"inferenceConfig.temperature": 0.5}
    ),
    "top_p": Case({"top_p": 0.5}, {"top_p": 0.5}, {"inferenceConfig.topP": 0.5}),
    "top_k": Case({"top_k": 5}, {"top_k": 5}, {"additionalModelRequestFields.top_k": 5}),
    "stop": Case(
        {"stop": "END"}, {"stop_sequences": ["END"]}, {"inferenceConfig.stopSequences": ["END"]}
    ),
    "stream": Case({"stream": True}, {"stream": True}),
    "tools": Case(
        {"tools": [TOOL]},
        {
            "tools[].name": "weather",
            "tools[].description": "of a city",
            "tools[].input_schema": SCHEMA,
        },
        {
            "toolConfig.tools[].toolSpec.name": "weather",
            "toolConfig.tools[].toolSpec.description": "of a city",
            "toolConfig.tools[].toolSpec.inputSchema": {"json": SCHEMA},
        },
    ),
    "tools[].function.strict": Case(
        {"tools": [{**TOOL, "function": {**TOOL["function"], "strict": True}}]},  # type: ignore[dict-item]
        {"tools[].strict": True},
        {"toolConfig.tools[].toolSpec.strict": True},
    ),
    "tool_choice": Case(
        {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "weather"}}},
        {"tool_choice": {"type": "tool", "name": "weather"}},
        {"toolConfig.toolChoice": {"tool": {"name": "weather"}}},
    ),
    "tool_choice[allowed_tools]": Case(
        {
            "tools": [TOOL, OTHER_TOOL],
            "tool_choice": {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "required", "tools": [OTHER_TOOL]},
            },
        },
        {"tools[].name": "time", "tool_choice": {"type": "any"}},
        {"toolConfig.tools[].toolSpec.name": "time", "toolConfig.toolChoice": {"any": {}}},
    ),
    "parallel_tool_calls": Case(
        {"tools": [TOOL], "parallel_tool_calls": False},
        {"tool_choice.disable_parallel_tool_use": True},
        "parallel_tool_calls",
    ),
    "functions": _refused("functions", functions=[{"name": "f"}]),
    "function_call": _refused("function_call", function_call="auto"),
    "response_format[json_schema]": Case(
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "place", "description": "where", "schema": SCHEMA},
            }
        },
        _FORMAT[0],
        _NAMED_FORMAT,
    ),
    "json_schema": Case({"json_schema": SCHEMA}, *_FORMAT),
    "response_format[json_object]": _refused(
        "response_format", response_format={"type": "json_object"}
    ),
    "reasoning_effort": Case(
        {"reasoning_effort": "low"},
        {
            "output_config.effort": "low",
            "thinking": {"type": "adaptive", "display": "summarized"},
        },
        {
            "outputConfig.effort": "low",
            "additionalModelRequestFields.thinking": {"type": "adaptive", "display": "summarized"},
        },
    ),
    "user": Case({"user": "u-1"}, {"metadata.user_id": "u-1"}),
    "safety_identifier": Case({"safety_identifier": "s-1"}, {"metadata.user_id": "s-1"}),
    "service_tier": Case(
        {"service_tier": "default"},
        {"service_tier": "standard_only"},
        {"serviceTier.type": "default"},
    ),
    "prompt_cache_options.mode": Case(
        {"prompt_cache_options": {"mode": "implicit"}}, {"cache_control": {"type": "ephemeral"}}
    ),
    "prompt_cache_options.ttl": Case(
        {
            **_user({"type": "text", "text": "closely", **MARK}),
            "prompt_cache_options": {"mode": "explicit", "ttl": "1h"},
        },
        {"messages[].content[].cache_control.ttl": "1h"},
        {"messages[].content[].cachePoint.ttl": "1h"},
    ),
    "prompt_cache_key": Case({"prompt_cache_key": "k"}),
    "prompt_cache_retention": Case({"prompt_cache_retention": "24h"}),
    "cache_prompt": Case({"cache_prompt": False}),
    "speculative.n_max": Case({"speculative.n_max": 2}),
    "speculative.n_min": Case({"speculative.n_min": 2}),
    "speculative.p_min": Case({"speculative.p_min": 0.5}),
    "stream_options": Case({"stream_options": {"include_usage": True}}),
    "store": Case({"store": True}),
    "metadata": Case({"metadata": {"a": "b"}}),
    **{
        name: _refused(name, **{name: value})
        for name, value in {
            "n": 2,
            "logprobs": True,
            "top_logprobs": 2,
            "logit_bias": {"5": 1},
            "presence_penalty": 0.5,
            "frequency_penalty": 0.5,
            "seed": 0,
            "modalities": ["text", "audio"],
            "audio": {"voice": "alloy", "format": "wav"},
            "prediction": {"type": "content", "content": "x"},
            "moderation": {"model": "m"},
            "web_search_options": {},
            "verbosity": "low",
            "grammar": "root ::= [a-z]",
            "regex": "[a-z]",
            "chat_template_kwargs": {"a": 1},
            "min_p": 0.1,
            "typical_p": 0.9,
            "repeat_penalty": 1.1,
            "repetition_penalty": 1.1,
            "repeat_last_n": 64,
            "dry_multiplier": 0.8,
            "dry_base": 2,
            "dry_allowed_length": 3,
            "dry_penalty_last_n": 5,
            "dry_sequence_breakers": ["\n"],
            "xtc_probability": 0.5,
            "xtc_threshold": 0.2,
            "mirostat": 2,
            "mirostat_tau": 5,
            "mirostat_eta": 0.1,
            "ignore_eos": True,
            "min_tokens": 5,
            "n_keep": 5,
            "n_discard": 5,
            "timings_per_token": True,
            "verbose": True,
            "return_progress": True,
        }.items()
    },
}
