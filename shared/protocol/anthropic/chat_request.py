"""Request to the Messages API as one for a chat completion."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from shared.protocol.anthropic.requests import (
    Block,
    CountRequest,
    DocumentBlock,
    ImageBlock,
    Message,
    MessagesRequest,
    TextBlock,
    Thinking,
    ThinkingBlock,
    ToolChoice,
    ToolResultBlock,
    ToolUseBlock,
)
from shared.protocol.errors import invalid

_TIERS = {"auto": "auto", "standard_only": "default"}
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
_THINKING = {"enabled": True, "disabled": False}


def chat_request(asked: MessagesRequest) -> dict[str, Any]:
    """The body of a chat completion's request; raises `APIError` 400.

    Fields that Anthropic's API lacks and chat completions have are taken over: ``store``, ``seed``,
    ``min_p``; others stay where they are, to be named as ignored.
    """
    fields = {
        **(asked.model_extra or {}),
        **prompt_fields(asked),
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
    return {name: value for name, value in fields.items() if value is not None}


def prompt_fields(asked: CountRequest) -> dict[str, Any]:
    """What of it makes the prompt, and the form of the answer."""
    fields: dict[str, Any] = {"model": asked.model, "messages": list(_messages(asked))}
    last = asked.messages[-1]
    if last.role == "assistant" and fields["messages"][-1].get("content"):
        fields["continue_final_message"] = True
    if asked.tools:
        fields |= _tools(asked)
    config = asked.output_config
    if config is not None:
        fields["reasoning_effort"] = config.effort
        if config.format is not None:
            schema = {"name": "answer", "schema": config.format.schema_, "strict": True}
            fields["response_format"] = {"type": "json_schema", "json_schema": schema}
    return {**fields, **_thinking(asked.thinking)}


def _thinking(thinking: Thinking | None) -> dict[str, Any]:
    """The template's switch for models that can think or not; those that can't have none."""
    if thinking is None or thinking.type not in _THINKING:
        return {}
    is_enabled = _THINKING[thinking.type]
    return {"chat_template_kwargs": {"enable_thinking": is_enabled}}


def _tools(asked: CountRequest) -> dict[str, Any]:
    tools = []
    for tool in asked.tools or ():
        function: dict[str, Any] = {"name": tool.name, "parameters": tool.input_schema}
        if tool.description is not None:
            function["description"] = tool.description
        if tool.strict is not None:
            function["strict"] = tool.strict
        tools.append({"type": "function", "function": function})
    return {"tools": tools, **_tool_choice(asked.tool_choice)}


def _tool_choice(choice: ToolChoice | None) -> dict[str, Any]:
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


def _messages(asked: CountRequest) -> Iterator[dict[str, Any]]:
    if asked.system:
        yield {"role": "system", "content": _content(_blocks(asked.system))}
    for i, message in enumerate(asked.messages):
        if message.role == "assistant":
            yield _assistant_message(message, f"messages[{i}]")
        else:
            yield from _said_messages(message, f"messages[{i}]")


def _blocks(content: str | Sequence[Block] | Sequence[TextBlock]) -> Sequence[Block]:
    return [TextBlock(type="text", text=content)] if isinstance(content, str) else list(content)


def _said_messages(message: Message, where: str) -> Iterator[dict[str, Any]]:
    """A user's turn: what tools returned in messages of its own, before what is said."""
    said: list[Block] = []
    for i, block in enumerate(_blocks(message.content)):
        if isinstance(block, ToolResultBlock):
            content = "" if block.content is None else _content(_blocks(block.content))
            yield {"role": "tool", "tool_call_id": block.tool_use_id, "content": content}
        elif isinstance(block, TextBlock | ImageBlock | DocumentBlock):
            said.append(block)
        else:
            raise _misplaced(block, message, f"{where}.content[{i}]")
    if said or not message.content:
        yield {"role": message.role, "content": _content(said)}


def _assistant_message(message: Message, where: str) -> dict[str, Any]:
    texts: list[str] = []
    thoughts: list[str] = []
    calls = []
    for i, block in enumerate(_blocks(message.content)):
        if isinstance(block, TextBlock):
            texts.append(block.text)
        elif isinstance(block, ThinkingBlock):
            thoughts.append(block.thinking)
        elif isinstance(block, ToolUseBlock):
            arguments = orjson.dumps(block.input).decode()
            function = {"name": block.name, "arguments": arguments}
            calls.append({"id": block.id, "type": "function", "function": function})
        elif block.type != "redacted_thinking":
            raise _misplaced(block, message, f"{where}.content[{i}]")
    written: dict[str, Any] = {"role": "assistant", "content": "".join(texts)}
    if calls:
        written["tool_calls"] = calls
        written["content"] = written["content"] or None
    if thoughts:
        written["reasoning_content"] = "".join(thoughts)
    return written


def _misplaced(block: Block, message: Message, where: str) -> Exception:
    return invalid(
        f"Invalid '{where}': a block of type '{block.type}' can't be in a message of role "
        f"'{message.role}'.",
        where,
    )


def _content(blocks: Sequence[Block]) -> str | list[dict[str, Any]]:
    """A message's content: one text, where nothing else has to be told."""
    if all(isinstance(block, TextBlock) and block.cache_control is None for block in blocks):
        return "".join(block.text for block in blocks if isinstance(block, TextBlock))
    return [{**part, **_breakpoint(block)} for block in blocks for part in _parts(block)]


def _breakpoint(block: Block) -> dict[str, Any]:
    if block.cache_control is None:
        return {}
    return {"prompt_cache_breakpoint": {"mode": "explicit"}}


def _parts(block: Block) -> Iterator[dict[str, Any]]:
    if isinstance(block, TextBlock):
        yield {"type": "text", "text": block.text}
    elif isinstance(block, ImageBlock):
        yield {"type": "image_url", "image_url": {"url": _url(block.source, "image/png")}}
    elif isinstance(block, DocumentBlock):
        yield from _document(block)


def _document(block: DocumentBlock) -> Iterator[dict[str, Any]]:
    """A document's text, under its title; a PDF as a file."""
    source = block.source
    if source.get("type") in ("base64", "url", "file"):
        if source["type"] == "base64":
            url = _url(source, "application/pdf")
            yield {
                "type": "file",
                "file": {"filename": block.title or "document", "file_data": url},
            }
            return
        raise invalid(
            "A document's 'source' has to be of type text, content or base64 here: nothing is "
            "fetched.",
            "source",
            "unsupported_content",
        )
    texts = [each for each in (block.title, block.context) if each]
    content = source.get("data") if source.get("type") == "text" else source.get("content")
    if isinstance(content, str):
        texts.append(content)
    elif isinstance(content, list):
        texts += [part["text"] for part in content if isinstance(part, dict) and _is_text(part)]
    yield {"type": "text", "text": "\n".join(texts)}


def _is_text(part: dict[str, Any]) -> bool:
    return isinstance(part.get("text"), str)


def _url(source: dict[str, Any], media_type: str) -> str:
    if isinstance(url := source.get("url"), str):
        return url
    data, media = source.get("data"), source.get("media_type") or media_type
    if not isinstance(data, str):
        raise invalid("A 'source' needs 'data', as base64, or 'url'.", "source")
    return f"data:{media};base64,{data}"
