"""Messages of Anthropic's API as a chat's: system, what tools returned, calls and thoughts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from shared.protocol.anthropic.media import data_url, document_part
from shared.protocol.anthropic.requests import (
    Block,
    CountRequest,
    DocumentBlock,
    ImageBlock,
    Message,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from shared.protocol.errors import invalid
from shared.protocol.translated_request import Origin

_ATTRIBUTION = "x-anthropic-billing-header:"

_Placed = tuple[Block, str]
"""A block, and its path."""


def chat_messages(asked: CountRequest) -> Iterator[tuple[dict[str, Any], Origin]]:
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
