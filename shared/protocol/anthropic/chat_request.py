"""Request to the Messages API as one for a chat completion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from shared.protocol.anthropic.chat_messages import chat_messages
from shared.protocol.anthropic.requests import (
    CountRequest,
    MessagesRequest,
    OwnTool,
    ServerTool,
    Thinking,
    ToolChoice,
)
from shared.protocol.errors import invalid
from shared.protocol.translated_request import (
    Origin,
    OwnField,
    TranslatedRequest,
    nested_unknown_fields,
    refuse_chat_fields,
)

_TIERS = {"auto": "auto", "standard_only": "default"}
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
_THINKING = {"enabled": True, "disabled": False}
_NAMES = {
    "messages": "messages",
    "max_completion_tokens": "max_tokens",
    "stop": "stop_sequences",
    "user": "metadata.user_id",
    "reasoning_effort": "output_config.effort",
    "response_format.json_schema.schema": "output_config.format.schema",
    "response_format": "output_config.format",
    "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
    "tool_choice.function": "tool_choice",
    "continue_final_message": "messages",
}
"""What chat completions' fields are called here."""
_MOVED = {
    "n": "there is one answer here",
    "stop": "use 'stop_sequences'",
    "max_completion_tokens": "use 'max_tokens'",
    "response_format": "use 'output_config.format'",
    "reasoning_effort": "use 'output_config.effort'",
    "logprobs": "messages have no log probabilities",
    "top_logprobs": "messages have no log probabilities",
    "functions": "use 'tools'",
    "function_call": "use 'tool_choice'",
}

_PREFILL = OwnField(
    name="messages",
    dialects=frozenset(("anthropic", "bedrock")),
    refusal="The last message is the assistant's, which the API of this model's upstream can't "
    "continue: add a message of the user's. Where it can all the same, say so with "
    "'continue_final_message'.",
)
_WITHOUT_EFFECT = frozenset(
    (
        *("betas", "container", "context_management", "diagnostics", "fallbacks", "inference_geo"),
        *("mcp_servers", "speed", "user_profile_id", "workspace_id"),
    )
)
"""Fields of this API that no chat completion has: upstreams would refuse them."""


def chat_request(asked: MessagesRequest) -> TranslatedRequest:
    """The request for a chat completion; raises `APIError` 400.

    Fields that Anthropic's API lacks and chat completions have are taken over: ``store``, ``seed``,
    ``min_p``; others stay where they are, to be named as ignored.
    """
    extra = dict(asked.model_extra or {})
    refuse_chat_fields(extra, _MOVED)
    if (extra or {}).get("output_format") is not None:
        raise invalid(
            "'output_format' was this API's field while structured outputs were in beta: use "
            "'output_config.format'.",
            "output_format",
            "unsupported_parameter",
        )
    prompt = prompt_request(asked)
    fields = {
        **prompt.fields,
        "max_completion_tokens": asked.max_tokens,
        "stop": asked.stop_sequences,
        "temperature": asked.temperature,
        "top_p": asked.top_p,
        "top_k": asked.top_k,
        "user": None if asked.metadata is None else asked.metadata.user_id,
        "service_tier": _TIERS.get(asked.service_tier or ""),
        "stream": asked.stream,
        "stream_options": {"include_usage": True} if asked.stream else None,
    }
    said = {name: value for name, value in fields.items() if value is not None}
    switches, own = extra.get("chat_template_kwargs"), dict(prompt.own)
    if isinstance(switches, dict) and "chat_template_kwargs" in own:
        said["chat_template_kwargs"] = {**switches, **said.get("chat_template_kwargs", {})}
        own["chat_template_kwargs"] = replace(own["chat_template_kwargs"], sent=switches)
    if extra.get("continue_final_message"):
        own.pop("continue_final_message", None)  # who says so knows that the upstream takes it
    taken = {name: value for name, value in extra.items() if name not in _WITHOUT_EFFECT}
    ignored = [*sorted(extra.keys() - taken.keys()), *prompt.ignored]
    return replace(prompt, fields={**taken, **said}, ignored=ignored, own=own)


def prompt_request(asked: CountRequest) -> TranslatedRequest:
    """What of it makes the prompt, and the form of the answer; raises `APIError` 400."""
    written = list(chat_messages(asked))
    messages = [message for message, _ in written]
    fields: dict[str, Any] = {"model": asked.model, "messages": messages}
    own: dict[str, OwnField] = {}
    if asked.messages[-1].role == "assistant" and messages[-1].get("content"):
        fields["continue_final_message"] = True
        own["continue_final_message"] = _PREFILL
    tools, dropped = _own_tools(asked)
    if tools or asked.tool_choice is not None:
        fields |= {"tools": [_function(tool) for _, tool in tools], **_choice(asked.tool_choice)}
    if not tools:
        fields.pop("tools", None)
        fields.pop("parallel_tool_calls", None)
    config = asked.output_config
    if config is not None:
        fields["reasoning_effort"] = config.effort
        if config.format is not None:
            schema = {"name": "answer", "schema": config.format.schema_, "strict": True}
            fields["response_format"] = {"type": "json_schema", "json_schema": schema}
    if (thinking := asked.thinking) is not None and thinking.type in _THINKING:
        fields["chat_template_kwargs"] = {"enable_thinking": _THINKING[thinking.type]}
    if thinking is not None:
        own["chat_template_kwargs"] = _native_thinking(thinking, messages[-1])
    unknown = nested_unknown_fields(asked)
    return TranslatedRequest(
        fields={name: value for name, value in fields.items() if value is not None},
        messages=[origin for _, origin in written],
        tools=[_tool_origin(f"tools[{i}]") for i, _ in tools],
        names=_NAMES,
        ignored=[*dropped, *(name for name in unknown if not name.startswith(dropped))],
        own=own,
    )


def _own_tools(asked: CountRequest) -> tuple[list[tuple[int, OwnTool]], tuple[str, ...]]:
    """The caller's own tools, and where others are, which have no effect.

    Clients add Anthropic's to theirs unasked; where there are no others, the request is about them.
    """
    own: list[tuple[int, OwnTool]] = []
    others: list[tuple[int, ServerTool]] = []
    for i, tool in enumerate(asked.tools or ()):
        if isinstance(tool, OwnTool):
            own.append((i, tool))
        else:
            others.append((i, tool))
    if others and not own:
        i, first = others[0]
        raise invalid(
            f"Invalid 'tools[{i}]': tools of type '{first.type[:64]}' are not supported: describe "
            "one of yours by 'name', 'description' and 'input_schema'.",
            f"tools[{i}]",
            "unsupported_value",
        )
    return own, tuple(f"tools[{i}]" for i, _ in others)


def _tool_origin(where: str) -> Origin:
    return {"": where, ".function.parameters": f"{where}.input_schema", ".function": where}


def _native_thinking(thinking: Thinking, last: Mapping[str, Any]) -> OwnField:
    """The field itself, for upstreams that have it; models here have the template's switch.

    With a budget, what was thought before a tool's result would have to be sent with its signature,
    which chat completions have no place for: then the upstream goes without.
    https://platform.claude.com/docs/en/build-with-claude/extended-thinking
    """
    needs_signatures = thinking.type == "enabled" and last["role"] == "tool"
    return OwnField(
        name="thinking",
        dialects=frozenset() if needs_signatures else frozenset(("anthropic",)),
        equal={"thinking": thinking.model_dump(exclude_none=True)},
    )


def _function(tool: OwnTool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name, "parameters": tool.input_schema}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _choice(choice: ToolChoice | None) -> dict[str, Any]:
    if choice is None:
        return {}
    fields: dict[str, Any] = {}
    if choice.disable_parallel_tool_use:
        fields["parallel_tool_calls"] = False
    if choice.type != "tool":
        return {**fields, "tool_choice": _CHOICES[choice.type]}
    if choice.name is None:
        raise invalid(
            "Missing required field: 'tool_choice.name'.",
            "tool_choice.name",
            "missing_required_parameter",
        )
    return {**fields, "tool_choice": {"type": "function", "function": {"name": choice.name}}}
