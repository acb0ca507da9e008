"""Tool calls in the history, in the form that a family's chat template takes them in."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from shared.chat.tools.base import Message

_NINE = re.compile(r"^[A-Za-z0-9]{9}$")


def one_call_each(messages: Sequence[Message]) -> list[Message]:
    """Messages with one call each, every one of them followed by its result."""
    prepared: list[Message] = []
    split_ids: dict[str, int] = {}  # where in `prepared` the result of a call belongs
    for message in messages:
        calls = message.get("tool_calls") or ()
        position = split_ids.pop(message.get("tool_call_id", ""), None)
        if len(calls) > 1:
            rest = {key: value for key, value in message.items() if key != "content"}
            for i, call in enumerate(calls):
                prepared.append({**(rest if i else message), "tool_calls": [call]})
                split_ids[call["id"]] = len(prepared)
        elif message["role"] == "tool" and position is not None:
            prepared.insert(position, message)
            split_ids = {key: at + (at >= position) for key, at in split_ids.items()}
        else:
            prepared.append(message)
    return prepared


def nine_character_ids(messages: Sequence[Message]) -> list[Message]:
    """Messages whose call ids are nine letters and digits; the same id always becomes the same."""
    prepared: list[Message] = []
    for message in messages:
        item = dict(message)
        if item.get("tool_calls"):
            item["tool_calls"] = [{**call, "id": _nine(call["id"])} for call in item["tool_calls"]]
        if item.get("tool_call_id"):
            item["tool_call_id"] = _nine(item["tool_call_id"])
        prepared.append(item)
    return prepared


def _nine(call_id: str) -> str:
    if _NINE.match(call_id):
        return call_id
    return hashlib.blake2b(call_id.encode(), digest_size=5).hexdigest()[:9]
