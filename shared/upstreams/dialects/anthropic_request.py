"""Request to Anthropic's Messages API, of OpenAI's fields.

https://platform.claude.com/docs/en/api/messages
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from shared.upstreams.dialects.conversation import (
    Block,
    Media,
    Text,
    ToolResult,
    ToolUse,
    conversation_of,
)
from shared.upstreams.dialects.function_tools import ToolUsage, tool_usage
from shared.upstreams.dialects.request_fields import (
    answer_schema,
    cache_lifetime,
    reasoning_effort,
    refuse_fields,
    stop_strings,
    temperature,
    token_limit,
    unsupported_value,
)

DEFAULT_MAX_TOKENS = 16_384
"""``max_tokens`` where a request has no limit: the API wants one, and thinking counts to it."""

SAMPLING = ("temperature", "top_p", "top_k")
"""What version 2026-10-21 of the API has no more; older models still take it by the one before.

https://platform.claude.com/docs/en/api/versioning
"""

_IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")
_TIERS = {"auto": "auto", "default": "standard_only"}


def messages_request(fields: Mapping[str, Any], model: str, served_by: str) -> dict[str, Any]:
    """The body; raises `APIError` 400, with the field's name, for what has no equal."""
    refuse_fields(fields, served_by)
    tools = tool_usage(fields)
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": token_limit(fields) or DEFAULT_MAX_TOKENS,
        **_conversation(fields),
        **_sampling(fields),
        **_effort(fields, tools),
        **_caching(fields),
    }
    if stop := stop_strings(fields):
        if any(text.isspace() for text in stop):
            raise unsupported_value("'stop' can't be only white space for this model.", "stop")
        body["stop_sequences"] = stop
    if tools is not None:
        body |= _tools(tools)
    if (schema := answer_schema(fields)) is not None:
        form = {"type": "json_schema", "schema": schema.schema}
        body["output_config"] = {**body.get("output_config", {}), "format": form}
    if user := fields.get("safety_identifier") or fields.get("user"):
        body["metadata"] = {"user_id": user}
    if tier := fields.get("service_tier"):
        if tier not in _TIERS:
            raise unsupported_value("'service_tier' is auto or default here.", "service_tier")
        body["service_tier"] = _TIERS[tier]
    if fields.get("stream"):
        body["stream"] = True
    return body


def _conversation(fields: Mapping[str, Any]) -> dict[str, Any]:
    lifetime = cache_lifetime(fields)
    conversation = conversation_of(fields)
    messages = [
        {"role": turn.role, "content": [_block(block, lifetime) for block in turn.blocks]}
        for turn in conversation.turns
    ]
    if not conversation.instructions:
        return {"messages": messages}
    system = [{**_text(text), **_breakpoint(text, lifetime)} for text in conversation.instructions]
    return {"system": system, "messages": messages}


def _block(block: Block, lifetime: str | None) -> dict[str, Any]:
    if isinstance(block, ToolUse):
        return {"type": "tool_use", "id": block.id, "name": block.name, "input": block.input}
    if isinstance(block, ToolResult):
        result: dict[str, Any] = {"type": "tool_result", "tool_use_id": block.id}
        if block.texts:
            result["content"] = [_text(text) for text in block.texts]
        if any(text.ends_prefix for text in block.texts):
            result["cache_control"] = _cache_control(lifetime)
        return result
    said = _text(block) if isinstance(block, Text) else _media(block)
    return {**said, **_breakpoint(block, lifetime)}


def _text(text: Text) -> dict[str, Any]:
    return {"type": "text", "text": text.text}


def _breakpoint(block: Text | Media, lifetime: str | None) -> dict[str, Any]:
    return {"cache_control": _cache_control(lifetime)} if block.ends_prefix else {}


def _cache_control(lifetime: str | None) -> dict[str, Any]:
    control = {"type": "ephemeral"}
    return control if lifetime is None else {**control, "ttl": lifetime}


def _caching(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Caching of the whole prompt, where it is asked for: writing costs more than not caching."""
    if (fields.get("prompt_cache_options") or {}).get("mode") != "implicit":
        return {}
    return {"cache_control": _cache_control(cache_lifetime(fields))}


def _media(media: Media) -> dict[str, Any]:
    if media.kind == "image":
        return {"type": "image", "source": _image_source(media)}
    if media.kind == "file":
        document = {"type": "document", "source": _document_source(media)}
        return {**document, "title": media.name} if media.name else document
    raise unsupported_value("This model reads no audio.", media.where)


def _image_source(media: Media) -> dict[str, Any]:
    if media.url is not None:
        if not media.url.startswith(("https://", "http://")):
            raise unsupported_value(
                f"'{media.where}' has to be a URL that begins with https: or data:.", media.where
            )
        return {"type": "url", "url": media.url}
    if media.media_type not in _IMAGES:
        raise unsupported_value(
            f"'{media.where}' has to be of {', '.join(_IMAGES)} for this model.", media.where
        )
    return {"type": "base64", "media_type": media.media_type, "data": media.data}


def _document_source(media: Media) -> dict[str, Any]:
    if media.media_type == "application/pdf":
        return {"type": "base64", "media_type": media.media_type, "data": media.data}
    if media.media_type != "text/plain":
        raise unsupported_value(
            f"'{media.where}' has to be of application/pdf or text/plain for this model.",
            media.where,
        )
    try:
        text = base64.b64decode(media.data or "", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise unsupported_value(
            f"'{media.where}' has to be text in UTF-8, as base64.", media.where
        ) from None
    return {"type": "text", "media_type": media.media_type, "data": text}


def _sampling(fields: Mapping[str, Any]) -> dict[str, Any]:
    top_k = fields.get("top_k")
    values = {
        "temperature": temperature(fields),
        "top_p": fields.get("top_p"),
        "top_k": top_k if top_k is not None and top_k > 0 else None,
    }
    return {name: value for name, value in values.items() if value is not None}


def _effort(fields: Mapping[str, Any], tools: ToolUsage | None) -> dict[str, Any]:
    """Effort, and thinking with it, whose text is asked for: newer models leave it out.

    Thinking and a tool that has to be called exclude each other, so then it is effort alone.
    https://platform.claude.com/docs/en/build-with-claude/thinking
    """
    effort, thinking = reasoning_effort(fields), fields.get("thinking")
    config: dict[str, Any] = {}
    if effort not in (None, "none"):
        config["output_config"] = {"effort": effort}
    if thinking is not None:  # as the caller has put it, who speaks this dialect
        return {**config, "thinking": thinking}
    if effort is None:
        return config
    if effort == "none":
        return {"thinking": {"type": "disabled"}}
    if tools is not None and tools.mode == "required":
        return config
    return {**config, "thinking": {"type": "adaptive", "display": "summarized"}}


def _tools(usage: ToolUsage) -> dict[str, Any]:
    tools = []
    for tool in usage.tools:
        described: dict[str, Any] = {"name": tool.name, "input_schema": tool.parameters}
        if tool.description:
            described["description"] = tool.description
        if tool.is_strict:
            described["strict"] = True
        tools.append(described)
    choice: dict[str, Any] = {"type": "any" if usage.mode == "required" else usage.mode}
    if usage.name is not None:
        choice = {"type": "tool", "name": usage.name}
    if not usage.is_parallel and usage.mode != "none":
        choice["disable_parallel_tool_use"] = True
    return {"tools": tools, "tool_choice": choice}
