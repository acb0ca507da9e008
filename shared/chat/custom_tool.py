"""Custom tools: functions of one text, which may have to follow a grammar.

Chat completions' functions stand for them. Their schema has a title that they are known by.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

INPUT = "input"
"""The one argument."""
TITLE = "Custom tool"
LARK = "x-lark"
"""The keyword of the argument's schema that has its grammar in Lark."""


def custom_parameters(text: Mapping[str, Any]) -> dict[str, Any]:
    """The function's ``parameters``. ``text``: the schema of the argument."""
    return {
        "title": TITLE,
        "type": "object",
        "properties": {INPUT: dict(text)},
        "required": [INPUT],
        "additionalProperties": False,
    }


def lark_of(function: Mapping[str, Any]) -> str | None:
    """The grammar in Lark that a function's text has to follow; None where there is none."""
    parameters = function.get("parameters") or {}
    if parameters.get("title") != TITLE:
        return None
    properties = parameters.get("properties")
    text = properties.get(INPUT) if isinstance(properties, dict) else None
    definition = text.get(LARK) if isinstance(text, dict) else None
    return definition if isinstance(definition, str) else None
