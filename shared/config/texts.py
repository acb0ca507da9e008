"""Texts of flags and variables, which files have as lists and tables."""

from __future__ import annotations

import json


def split(value: object) -> object:
    """The parts of a text with commas; what is no text as it is."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def parse_json(value: object) -> object:
    """The JSON value of a text; what is no text as it is. Raises `ValueError`."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value or "{}")
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from None


def none_for_auto(value: object) -> object:
    """None, which leaves the choice, for llama-server's word ``auto``; anything else as it is."""
    return None if isinstance(value, str) and value.strip().lower() == "auto" else value


def layers(value: object) -> object:
    """-1, all of them, for llama-server's words ``all`` and ``auto``; anything else as it is."""
    words = ("all", "auto")
    return -1 if isinstance(value, str) and value.strip().lower() in words else value
