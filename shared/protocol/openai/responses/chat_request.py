"""Request to the Responses API as one for a chat completion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from shared.protocol.errors import APIError, invalid
from shared.protocol.openai.responses.requests import (
    CallItem,
    Content,
    CustomCallItem,
    InputItem,
    InputPart,
    MessageItem,
    NamedTool,
    OutputItem,
    PromptRequest,
    ResponsesRequest,
    TextConfig,
)

LOGPROBS = "message.output_text.logprobs"
"""What ``include`` asks for log probabilities with."""
CUSTOM_INPUT = "input"
"""The one argument of the function that stands for a custom tool."""

_COPIED = (
    *("temperature", "top_p", "metadata", "store", "prompt_cache_key", "prompt_cache_retention"),
    *("prompt_cache_options", "safety_identifier", "user", "service_tier", "stream"),
)


def chat_request(
    asked: ResponsesRequest, earlier: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """The body of a chat completion's request; raises `APIError` 400.

    ``earlier``: messages of the response that it goes on from.
    """
    _refuse(asked)
    has_logprobs = asked.top_logprobs is not None or LOGPROBS in (asked.include or ())
    fields: dict[str, Any] = {
        **(asked.model_extra or {}),
        **prompt_fields(asked, earlier),
        **{name: getattr(asked, name) for name in _COPIED},
        "max_completion_tokens": asked.max_output_tokens,
        "logprobs": True if has_logprobs else None,
        "top_logprobs": asked.top_logprobs if has_logprobs else None,
        "stream_options": {"include_usage": True} if asked.stream else None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def prompt_fields(
    asked: PromptRequest, earlier: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """What of it makes the prompt, and the form of the answer."""
    messages = [*_instructions(asked), *earlier, *_messages(asked.input)]
    if not messages:
        raise invalid("Missing required field: 'input'.", "input", "missing_required_parameter")
    fields: dict[str, Any] = {"model": asked.model, "messages": messages}
    if asked.tools:
        fields["tools"] = [_tool(tool) for tool in asked.tools]
        fields["tool_choice"] = _tool_choice(asked.tool_choice)
        fields["parallel_tool_calls"] = asked.parallel_tool_calls
    if asked.text is not None:
        fields |= _text(asked.text)
    if asked.reasoning is not None:
        fields["reasoning_effort"] = asked.reasoning.effort
    return fields


def earlier_messages(
    request: Mapping[str, Any], response: Mapping[str, Any]
) -> list[Mapping[str, Any]]:
    """The messages of a stored response, and what it answered; its instructions are its own."""
    asked = [each for each in request.get("messages", ()) if each.get("role") != "developer"]
    said = response["choices"][0]["message"]
    kept = {
        name: said[name]
        for name in ("content", "refusal", "reasoning_content", "tool_calls")
        if said.get(name) is not None
    }
    return [*asked, {"role": "assistant", **kept}]


def _refuse(asked: ResponsesRequest) -> None:
    if (name := asked.refused()) is not None:
        why = {
            "background": "a response ends with its request here",
            "conversation": "there are no conversations here; 'previous_response_id' goes on from "
            "a response that was stored",
            "prompt": "no templates of prompts are kept here",
            "moderation": "nothing is moderated here",
        }[name]
        raise invalid(f"'{name}' is not supported: {why}.", name, "unsupported_parameter")
    if asked.truncation == "auto":
        raise invalid(
            "'truncation' has to be 'disabled': nothing of a prompt is left out here.",
            "truncation",
            "unsupported_value",
        )


def _instructions(asked: PromptRequest) -> Iterator[dict[str, Any]]:
    """The instructions, of the role that no other message has: so they are found again."""
    if asked.instructions:
        yield {"role": "developer", "content": asked.instructions}


def _messages(given: str | Sequence[InputItem] | None) -> list[dict[str, Any]]:
    """Chat's messages: calls and reasoning are parts of the assistant's message there."""
    if given is None:
        return []
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    messages: list[dict[str, Any]] = []
    turn: dict[str, Any] | None = None
    """The assistant's message that is being put together."""
    for i, item in enumerate(given):
        if isinstance(item, OutputItem | MessageItem) and not _is_assistants(item):
            turn = None
            messages.append(_message(item, f"input[{i}]"))
            continue
        if turn is None or (isinstance(item, MessageItem) and turn["content"] is not None):
            turn = {"role": "assistant", "content": None}
            messages.append(turn)
        _add(turn, item, f"input[{i}]")
    return messages


def _is_assistants(item: InputItem) -> bool:
    return isinstance(item, MessageItem) and item.role == "assistant"


def _add(turn: dict[str, Any], item: InputItem, where: str) -> None:
    """Make ``item`` a part of the assistant's message."""
    if isinstance(item, MessageItem):
        turn["content"] = _content(item.content, where)
    elif isinstance(item, CallItem | CustomCallItem):
        arguments = item.arguments if isinstance(item, CallItem) else _custom(item.input)
        function = {"name": item.name, "arguments": arguments}
        call = {"id": item.call_id, "type": "function", "function": function}
        turn.setdefault("tool_calls", []).append(call)
    elif not isinstance(item, OutputItem):
        thoughts = "".join(part.text for part in item.content or item.summary or ())
        if thoughts:
            turn["reasoning_content"] = turn.get("reasoning_content", "") + thoughts


def _custom(text: str) -> str:
    return orjson.dumps({CUSTOM_INPUT: text}).decode()


def _message(item: MessageItem | OutputItem, where: str) -> dict[str, Any]:
    if isinstance(item, OutputItem):
        content = _content(item.output, where)
        return {"role": "tool", "tool_call_id": item.call_id, "content": content}
    role = "system" if item.role == "developer" else item.role
    return {"role": role, "content": _content(item.content, where)}


def _content(content: Content, where: str) -> str | list[dict[str, Any]]:
    if isinstance(content, str):
        return content
    return [_part(part, f"{where}.content[{i}]") for i, part in enumerate(content)]


def _part(part: InputPart, where: str) -> dict[str, Any]:
    if part.type == "input_image":
        if part.image_url is None:
            raise _no_files(f"{where}.file_id")
        image = {"url": part.image_url, "detail": part.detail}
        return {"type": "image_url", "image_url": {k: v for k, v in image.items() if v is not None}}
    if part.type == "input_file":
        if part.file_data is None:
            raise _no_files(where)
        return {
            "type": "file",
            "file": {"filename": part.filename or "file", "file_data": part.file_data},
        }
    kind = "refusal" if part.type == "refusal" else "text"
    written = {"type": kind, kind: part.refusal if kind == "refusal" else part.text}
    if written[kind] is None:
        raise invalid(
            f"Missing required field: '{where}.{kind}'.",
            f"{where}.{kind}",
            "missing_required_parameter",
        )
    if part.prompt_cache_breakpoint is not None:
        return {**written, "prompt_cache_breakpoint": part.prompt_cache_breakpoint}
    return written


def _no_files(where: str) -> APIError:
    return invalid(
        f"'{where}' is not supported: there are no files here, and nothing is fetched. Send the "
        "data itself.",
        where,
        "unsupported_content",
    )


def _tool(tool: Any) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.type == "custom":
        kind = (tool.format or {}).get("type", "text")
        if kind != "text":
            raise invalid(
                "Custom tools take plain text here ('format.type' is 'text'), no grammar.",
                "tools",
                "unsupported_value",
            )
        function["parameters"] = {
            "type": "object",
            "properties": {CUSTOM_INPUT: {"type": "string"}},
            "required": [CUSTOM_INPUT],
            "additionalProperties": False,
        }
        return {"type": "function", "function": function}
    function["parameters"] = tool.parameters
    function["strict"] = tool.strict
    function = {name: value for name, value in function.items() if value is not None}
    return {"type": "function", "function": function}


def _tool_choice(choice: str | NamedTool | None) -> Any:
    if not isinstance(choice, NamedTool):
        return choice
    if choice.type == "allowed_tools":
        tools = [_named(tool) for tool in choice.tools or ()]
        allowed = {"mode": choice.mode or "auto", "tools": tools}
        return {"type": "allowed_tools", "allowed_tools": allowed}
    return _named(choice)


def _named(tool: NamedTool) -> dict[str, Any]:
    if tool.name is None:
        where = "tool_choice.name"
        raise invalid(f"Missing required field: '{where}'.", where, "missing_required_parameter")
    return {"type": "function", "function": {"name": tool.name}}


def _text(config: TextConfig) -> dict[str, Any]:
    fields: dict[str, Any] = {"verbosity": config.verbosity}
    form = config.format
    if form is None or form.type == "text":
        return fields
    if form.type == "json_object":
        return {**fields, "response_format": {"type": "json_object"}}
    schema = {
        "name": form.name,
        "description": form.description,
        "schema": form.schema_,
        "strict": form.strict,
    }
    schema = {name: value for name, value in schema.items() if value is not None}
    return {**fields, "response_format": {"type": "json_schema", "json_schema": schema}}
