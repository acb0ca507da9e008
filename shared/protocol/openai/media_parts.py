"""Parts of a message's content other than text: images, sounds, files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_core import PydanticCustomError

_TEXTS = {
    "image_url": ("url",),
    "input_audio": ("data", "format"),
    "file": (),
}
"""Texts that the field of the part's name has to have."""

MEDIA_PARTS = {"image_url": "images", "input_audio": "audio", "file": "files"}
"""What they are, in words of every dialect: elsewhere their types are called otherwise."""


def check_media(kind: str, fields: Mapping[str, Any]) -> None:
    """Raise `PydanticCustomError` for a part of the type ``kind`` without what it consists of."""
    medium = fields.get(kind)
    if not isinstance(medium, dict):
        raise PydanticCustomError(
            "part_without_medium",
            "a part of type '{type}' needs an object as its field '{type}'",
            {"type": kind},
        )
    for name in _TEXTS[kind]:
        if not isinstance(medium.get(name), str):
            raise PydanticCustomError(
                "part_without_medium",
                "a part of type '{type}' needs a text as '{type}.{field}'",
                {"type": kind, "field": name},
            )
