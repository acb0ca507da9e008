"""Warm prefix: a file with what many prompts begin with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def warm_messages(file: Path) -> list[dict[str, Any]]:
    """The messages in a file: a JSON list of them, or the text of a system message.

    Raises `OSError`, and `ValueError`, which says what is wrong.
    """
    text = file.read_text(encoding="utf-8")
    if not text.lstrip().startswith(("[", "{")):
        return [{"role": "system", "content": text.strip()}]
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"it begins like JSON, and is none: {error}") from error
    messages = found.get("messages") if isinstance(found, dict) else found
    if not isinstance(messages, list) or not messages:
        raise ValueError('it has to be a list of messages, or {"messages": [...]}')
    for message in messages:
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise ValueError("every message needs a role and a content")
    return messages
