"""Items of the Responses API's input as a chat's messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shared.protocol.errors import APIError, invalid
from shared.protocol.openai.responses.requests import (
    CallItem,
    Content,
    CustomCallItem,
    InputItem,
    InputPart,
    MessageItem,
    OutputItem,
    ReasoningItem,
)
from shared.protocol.openai.responses.tools import Tools, custom_arguments
from shared.protocol.translated_request import Origin


def chat_messages(
    given: str | Sequence[InputItem] | None, tools: Tools
) -> list[tuple[Mapping[str, Any], Origin]]:
    """Chat's messages: calls and reasoning are parts of the assistant's message there."""
    if given is None:
        return []
    if isinstance(given, str):
        return [({"role": "user", "content": given}, {"": "input"})]
    written: list[tuple[Mapping[str, Any], Origin]] = []
    turn: tuple[dict[str, Any], dict[str, str]] | None = None
    """The assistant's message that is being put together."""
    for i, item in enumerate(given):
        where = f"input[{i}]"
        if isinstance(item, OutputItem | MessageItem) and not _is_assistants(item):
            turn = None
            written.append(_message(item, where))
            continue
        if turn is None or (isinstance(item, MessageItem) and turn[0]["content"] is not None):
            turn = {"role": "assistant", "content": None}, {"": where}
            written.append(turn)
        _add(*turn, item, where, tools)
    return written


def _is_assistants(item: InputItem) -> bool:
    return isinstance(item, MessageItem) and item.role == "assistant"


def _add(
    turn: dict[str, Any], origin: dict[str, str], item: InputItem, where: str, tools: Tools
) -> None:
    """Make ``item`` a part of the assistant's message."""
    if isinstance(item, MessageItem):
        turn["content"] = _content(item.content, f"{where}.content")
        origin[".content"] = f"{where}.content"
    elif isinstance(item, CallItem | CustomCallItem):
        arguments = item.arguments if isinstance(item, CallItem) else custom_arguments(item.input)
        name = tools.function_name(item.name, item.namespace)
        function = {"name": name, "arguments": arguments}
        call = {"id": item.call_id, "type": "function", "function": function}
        calls = turn.setdefault("tool_calls", [])
        calls.append(call)
        at = f".tool_calls[{len(calls) - 1}]"
        origin |= {at: where, f"{at}.function": where, f"{at}.id": f"{where}.call_id"}
    elif isinstance(item, ReasoningItem):
        thoughts = "".join(part.text for part in item.content or item.summary or ())
        if thoughts:
            turn["reasoning_content"] = turn.get("reasoning_content", "") + thoughts


def _message(item: MessageItem | OutputItem, where: str) -> tuple[dict[str, Any], Origin]:
    if isinstance(item, OutputItem):
        at = f"{where}.output"
        content = _content(item.output, at)
        message = {"role": "tool", "tool_call_id": item.call_id, "content": content}
        origin = {"": where, ".content": at, ".tool_call_id": f"{where}.call_id"}
        return message, {**origin, **_media_origins(item.output, at)}
    role = "system" if item.role == "developer" else item.role
    at = f"{where}.content"
    origin = {"": where, ".content": at, **_media_origins(item.content, at)}
    return {"role": role, "content": _content(item.content, at)}, origin


def _media_origins(content: Content, where: str) -> dict[str, str]:
    """Where the data of images and files comes from, which is further inside in chats."""
    origins: dict[str, str] = {}
    for i, part in enumerate(() if isinstance(content, str) else content):
        if part.type == "input_image":
            origins[f".content[{i}].image_url.url"] = f"{where}[{i}].image_url"
        elif part.type == "input_file":
            origins[f".content[{i}].file"] = f"{where}[{i}]"
    return origins


def _content(content: Content, where: str) -> str | list[dict[str, Any]]:
    if isinstance(content, str):
        return content
    return [_part(part, f"{where}[{i}]") for i, part in enumerate(content)]


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
