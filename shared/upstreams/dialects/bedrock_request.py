"""Request to Bedrock's Converse API, of OpenAI's fields.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import Any

from shared.protocol.unsupported_fields import refuse
from shared.upstreams.dialects.conversation import (
    Block,
    Conversation,
    Media,
    Text,
    ToolResult,
    ToolUse,
    conversation_of,
)
from shared.upstreams.dialects.function_tools import ToolUsage, tool_usage
from shared.upstreams.dialects.json_values import MalformedAnswerError, dumps
from shared.upstreams.dialects.request_fields import (
    answer_schema,
    cache_lifetime,
    nested_too_deeply,
    reasoning_effort,
    refuse_fields,
    stop_strings,
    temperature,
    token_limit,
    unsupported_value,
)

_IMAGES = {"image/png": "png", "image/jpeg": "jpeg", "image/gif": "gif", "image/webp": "webp"}
_DOCUMENTS = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "text/html": "html",
    "text/plain": "txt",
    "text/markdown": "md",
}
_TIERS = ("default", "flex", "priority")


def converse_request(fields: Mapping[str, Any], model: str, served_by: str) -> dict[str, Any]:
    """The body; raises `APIError` 400, with the field's name, for what has no equal.

    ``model`` is in the URL, not in the body; whether it is a Claude shows which fields it has
    beside those that all models share.
    """
    refuse_fields(fields, served_by)
    is_claude = "anthropic" in model
    conversation = conversation_of(fields)
    body: dict[str, Any] = {**_conversation(conversation, cache_lifetime(fields))}
    if (tools := tool_usage(fields)) is not None:
        body |= _tools(tools, conversation)
    inference = {
        "maxTokens": token_limit(fields),
        "temperature": temperature(fields),
        "topP": fields.get("top_p"),
        "stopSequences": stop_strings(fields) or None,
    }
    inference = {name: value for name, value in inference.items() if value is not None}
    if inference:
        body["inferenceConfig"] = inference
    if output := {**_effort(fields, is_claude), **_format(fields)}:
        body["outputConfig"] = output
    if extra := {**_thinking(fields, is_claude, tools), **_top_k(fields)}:
        body["additionalModelRequestFields"] = extra
    if (tier := fields.get("service_tier")) not in (None, "auto"):
        if tier not in _TIERS:
            raise unsupported_value(
                f"'service_tier' is auto, {', '.join(_TIERS)} for this model.", "service_tier"
            )
        body["serviceTier"] = {"type": tier}
    return body


def _conversation(conversation: Conversation, lifetime: str | None) -> dict[str, Any]:
    numbers = count(1)
    messages = [
        {
            "role": turn.role,
            "content": [
                part for block in turn.blocks for part in _blocks(block, lifetime, numbers)
            ],
        }
        for turn in conversation.turns
    ]
    if not conversation.instructions:
        return {"messages": messages}
    return {"system": _texts(conversation.instructions, lifetime), "messages": messages}


def _blocks(block: Block, lifetime: str | None, numbers: Iterator[int]) -> list[dict[str, Any]]:
    if isinstance(block, ToolUse):
        return [{"toolUse": {"toolUseId": block.id, "name": block.name, "input": block.input}}]
    if isinstance(block, ToolResult):
        content = [{"text": text.text} for text in block.texts]
        result = {"toolResult": {"toolUseId": block.id, "content": content}}
        ends_prefix = any(text.ends_prefix for text in block.texts)
        return [result, *_cache_point(lifetime)] if ends_prefix else [result]
    if isinstance(block, Text):
        return _texts([block], lifetime)
    media = _media(block, numbers)
    return [media, *_cache_point(lifetime)] if block.ends_prefix else [media]


def _texts(texts: Iterable[Text], lifetime: str | None) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    for text in texts:
        blocks.append({"text": text.text})
        if text.ends_prefix:
            blocks += _cache_point(lifetime)
    return blocks


def _cache_point(lifetime: str | None) -> list[dict[str, Any]]:
    point = {"type": "default"}
    return [{"cachePoint": point if lifetime is None else {**point, "ttl": lifetime}}]


def _media(media: Media, numbers: Iterator[int]) -> dict[str, Any]:
    """A block of bytes, which Converse's JSON has as base64 too."""
    source = {"bytes": media.data}
    if media.kind == "audio":
        return {"audio": {"format": media.media_type, "source": source}}
    if media.url is not None:
        raise unsupported_value(
            f"'{media.where}' has to be a URL such as data:image/png;base64,... for this model.",
            media.where,
        )
    known = _IMAGES if media.kind == "image" else _DOCUMENTS
    if media.media_type not in known:
        raise unsupported_value(
            f"'{media.where}' has to be of {', '.join(known)} for this model.", media.where
        )
    content = {"format": known[media.media_type], "source": source}
    if media.kind == "image":
        return {"image": content}
    # A neutral name, as Converse's reference recommends: the model reads it.
    return {"document": {**content, "name": f"document {next(numbers)}"}}


def _tools(usage: ToolUsage, conversation: Conversation) -> dict[str, Any]:
    if not usage.is_parallel:
        refuse("parallel_tool_calls", "this model may always call several at once")
    if usage.mode == "none":
        if conversation.has_tools():
            raise unsupported_value(
                "'tool_choice' can't be none for this model where messages have tool calls.",
                "tool_choice",
            )
        return {}
    tools = []
    for tool in usage.tools:
        described: dict[str, Any] = {
            "name": tool.name,
            "inputSchema": {"json": tool.parameters},
        }
        if tool.description:
            described["description"] = tool.description
        if tool.is_strict:
            described["strict"] = True
        tools.append({"toolSpec": described})
    choice: dict[str, Any] = {"any" if usage.mode == "required" else "auto": {}}
    if usage.name is not None:
        choice = {"tool": {"name": usage.name}}
    return {"toolConfig": {"tools": tools, "toolChoice": choice}}


def _effort(fields: Mapping[str, Any], is_claude: bool) -> dict[str, Any]:
    effort = reasoning_effort(fields)
    if effort == "none" and not is_claude:
        raise unsupported_value(
            "'reasoning_effort' can't be none for this model.", "reasoning_effort"
        )
    return {} if effort in (None, "none") else {"effort": effort}


def _thinking(
    fields: Mapping[str, Any], is_claude: bool, tools: ToolUsage | None
) -> dict[str, Any]:
    """Claude's thinking, as Anthropic's own API has it."""
    effort = reasoning_effort(fields)
    if effort is None or not is_claude:
        return {}
    if effort == "none":
        return {"thinking": {"type": "disabled"}}
    if tools is not None and tools.mode == "required":
        return {}
    return {"thinking": {"type": "adaptive", "display": "summarized"}}


def _top_k(fields: Mapping[str, Any]) -> dict[str, Any]:
    top_k = fields.get("top_k")
    return {"top_k": top_k} if top_k is not None and top_k > 0 else {}


def _format(fields: Mapping[str, Any]) -> dict[str, Any]:
    schema = answer_schema(fields)
    if schema is None:
        return {}
    try:
        definition = {"schema": dumps(schema.schema)}
    except MalformedAnswerError:
        raise nested_too_deeply() from None
    if schema.name:
        definition["name"] = schema.name
    if schema.description:
        definition["description"] = schema.description
    return {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": definition}}}
