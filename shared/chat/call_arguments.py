"""Arguments of earlier tool calls: JSON in a string, as whoever made it left it.

They come back from clients that may have cut them, and from models that wrote something else. What
a server answered it has to take as history, so that nothing here is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import orjson
from pydantic_core import from_json

_SURROGATES = re.compile(
    r"(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\[^u])"
    r"|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
)
"""Escaped halves of a character; in the group what has to be passed over: pairs, other escapes."""
_KEY = "arguments"


def read_arguments(text: str) -> dict[str, Any] | str:
    """Arguments as templates are to be given them: an object, where they are one.

    Halves of a character, which JavaScript makes when it cuts a text, become U+FFFD. Nothing is an
    empty object. Anything else stays the text that it is, also an object with NaN in it, with a
    number beyond all floats, or nested more than 200 deep.
    """
    if not text.strip():
        return {}
    try:
        value = _parsed(text)
        while isinstance(value, str):  # encoded twice
            value = _parsed(value)
    except ValueError:
        return text
    if value is None:
        return {}
    return value if isinstance(value, dict) else text


def arguments_object(arguments: Any) -> Mapping[str, Any]:
    """An object for templates that go through the arguments' keys.

    Arguments that were cut off are as much of the object as there is. What is no object gets one
    around it.
    """
    if isinstance(arguments, str):
        text = _SURROGATES.sub(_kept, arguments)
        with suppress(ValueError):
            arguments = from_json(text, allow_partial="trailing-strings")
    return arguments if isinstance(arguments, Mapping) else {_KEY: arguments}


def _parsed(text: str) -> Any:
    """The meaning of JSON; raises `ValueError`."""
    if "\\u" in text:
        text = _SURROGATES.sub(_kept, text)
    value = from_json(text, allow_inf_nan=False)
    orjson.loads(text)  # which refuses what is beyond all floats, and would round long integers
    return value


def _kept(match: re.Match[str]) -> str:
    return match[1] or "\\ufffd"
