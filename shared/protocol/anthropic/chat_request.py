"""Request to the Messages API as one for a chat completion."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import orjson

from shared.protocol.anthropic.media import data_url, document_part
from shared.protocol.anthropic.requests import (
    Block,
    CountRequest,
    DocumentBlock,
    ImageBlock,
    Message,
    MessagesRequest,
    OwnTool,
    ServerTool,
    TextBlock,
    Thinking,
    ThinkingBlock,
    ToolChoice,
    ToolResultBlock,
    ToolUseBlock,
)
from shared.protocol.errors import invalid
from shared.protocol.translated_request import (
    Origin,
    TranslatedRequest,
    nested_unknown_fields,
    refuse_chat_fields,
)

_TIERS = {"auto": "auto", "standard_only": "default"}
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
_THINKING = {"enabled": True, "disabled": False}
_ATTRIBUTION = "x-anthropic-billing-header:"
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
    "output_format": "use 'output_config.format'",
    "reasoning_effort": "use 'output_config.effort'",
    "logprobs": "messages have no log probabilities",
    "top_logprobs": "messages have no log probabilities",
    "functions": "use 'tools'",
    "function_call": "use 'tool_choice'",
}

_WITHOUT_EFFECT = frozenset(
    (
        *("betas", "container", "context_management", "diagnostics", "fallbacks", "inference_geo"),
        *("mcp_servers", "speed", "user_profile_id", "workspace_id"),
    )
)
"""Fields of this API that no chat completion has: upstreams would refuse them."""

_Placed = tuple[Block, str]
"""A block, and its path."""


def chat_request(asked: MessagesRequest) -> TranslatedRequest:
    """The request for a chat completion; raises `APIError` 400.

    Fields that Anthropic's API lacks and chat completions have are taken over: ``store``, ``seed``,
    ``min_p``; others stay where they are, to be named as ignored.
    """
    extra = dict(asked.model_extra or {})
    refuse_chat_fields(extra, _MOVED)
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
    switches = extra.get("chat_template_kwargs")
    if isinstance(switches, dict):
        said["chat_template_kwargs"] = {**switches, **said.get("chat_template_kwargs", {})}
    taken = {name: value for name, value in extra.items() if name not in _WITHOUT_EFFECT}
    ignored = [*sorted(extra.keys() - taken.keys()), *prompt.ignored]
    return replace(prompt, fields={**taken, **said}, ignored=ignored)


def prompt_request(asked: CountRequest) -> TranslatedRequest:
    """What of it makes the prompt, and the form of the answer; raises `APIError` 400."""
    written = list(_messages(asked))
    messages = [message for message, _ in written]
    fields: dict[str, Any] = {"model": asked.model, "messages": messages}
    last = asked.messages[-1]
    if last.role == "assistant" and messages[-1].get("content"):
        fields["continue_final_message"] = True
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
    fields |= _thinking(asked.thinking)
    unknown = nested_unknown_fields(asked)
    return TranslatedRequest(
        fields={name: value for name, value in fields.items() if value is not None},
        messages=[origin for _, origin in written],
        tools=[_tool_origin(f"tools[{i}]") for i, _ in tools],
        names=_NAMES,
        ignored=[*dropped, *(name for name in unknown if not name.startswith(dropped))],
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


def _thinking(thinking: Thinking | None) -> dict[str, Any]:
    """The template's switch for models that can think or not; those that can't have none."""
    if thinking is None or thinking.type not in _THINKING:
        return {}
    is_enabled = _THINKING[thinking.type]
    return {"chat_template_kwargs": {"enable_thinking": is_enabled}}


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


def _messages(asked: CountRequest) -> Iterator[tuple[dict[str, Any], Origin]]:
    """Chat's messages, and where they come from."""
    system = [block for block in _blocks(asked.system or ()) if not _is_attribution(block)]
    if system:
        yield {"role": "system", "content": _content(_placed(system, "system"))}, {"": "system"}
    for i, message in enumerate(asked.messages):
        where = f"messages[{i}]"
        if message.role == "assistant":
            yield _assistant_message(message, where), {"": where}
        else:
            yield from _said_messages(message, where)


def _is_attribution(block: Block) -> bool:
    """Whether it is Claude Code's line about itself, which is for Anthropic and not for a model.

    It is the first of the prompt and another one each time: no prefix would be found in the cache.
    """
    if not isinstance(block, TextBlock) or not block.text.startswith(_ATTRIBUTION):
        return False
    return "\n" not in block.text.strip()


def _blocks(content: str | Sequence[Block] | Sequence[TextBlock]) -> Sequence[Block]:
    return [TextBlock(type="text", text=content)] if isinstance(content, str) else list(content)


def _placed(blocks: Sequence[Block], where: str) -> list[_Placed]:
    return [(block, f"{where}[{i}]") for i, block in enumerate(blocks)]


def _said_messages(message: Message, where: str) -> Iterator[tuple[dict[str, Any], Origin]]:
    """A user's turn: what tools returned in messages of its own, before what is said."""
    said: list[_Placed] = []
    for block, at in _placed(_blocks(message.content), f"{where}.content"):
        if isinstance(block, ToolResultBlock):
            inner = _placed(_blocks(block.content or ""), f"{at}.content")
            written = {"role": "tool", "tool_call_id": block.tool_use_id}
            yield {**written, "content": _content(inner)}, {"": at, **_part_origins(inner)}
        elif isinstance(block, TextBlock | ImageBlock | DocumentBlock):
            said.append((block, at))
        else:
            raise _misplaced(block, message, at)
    if said or not message.content:
        origin = {"": where, ".content": f"{where}.content", **_part_origins(said)}
        yield {"role": message.role, "content": _content(said)}, origin


def _part_origins(blocks: Sequence[_Placed]) -> dict[str, str]:
    """Where the parts of a message's content come from."""
    origins: dict[str, str] = {}
    for i, (block, at) in enumerate(blocks):
        kind = "image_url" if isinstance(block, ImageBlock) else "file"
        media = dict.fromkeys((kind, f"{kind}.url", f"{kind}.file_data"), f"{at}.source")
        origins |= {f".content[{i}].{name}": source for name, source in media.items()}
        origins[f".content[{i}]"] = at
    return origins


def _assistant_message(message: Message, where: str) -> dict[str, Any]:
    texts: list[str] = []
    thoughts: list[str] = []
    calls = []
    for block, at in _placed(_blocks(message.content), f"{where}.content"):
        if isinstance(block, TextBlock):
            texts.append(block.text)
        elif isinstance(block, ThinkingBlock):
            thoughts.append(block.thinking)
        elif isinstance(block, ToolUseBlock):
            arguments = orjson.dumps(block.input).decode()
            function = {"name": block.name, "arguments": arguments}
            calls.append({"id": block.id, "type": "function", "function": function})
        elif block.type != "redacted_thinking":
            raise _misplaced(block, message, at)
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


def _content(placed: Sequence[_Placed]) -> str | list[dict[str, Any]]:
    """A message's content: one text, where nothing else has to be told."""
    blocks = [block for block, _ in placed]
    if all(isinstance(block, TextBlock) and block.cache_control is None for block in blocks):
        return "".join(block.text for block in blocks if isinstance(block, TextBlock))
    return [{**_part(block, at), **_breakpoint(block)} for block, at in placed]


def _breakpoint(block: Block) -> dict[str, Any]:
    if block.cache_control is None:
        return {}
    return {"prompt_cache_breakpoint": {"mode": "explicit"}}


def _part(block: Block, at: str) -> dict[str, Any]:
    if isinstance(block, ImageBlock):
        url = data_url(block.source, "image/png", f"{at}.source")
        return {"type": "image_url", "image_url": {"url": url}}
    if isinstance(block, DocumentBlock):
        return document_part(block, f"{at}.source")
    return {"type": "text", "text": block.text if isinstance(block, TextBlock) else ""}
