"""Errors of schemas that can't be followed: which keyword, where, and what would do."""

from __future__ import annotations

Path = tuple["Path", str | int] | None
"""Where a schema is in the whole: the place around it and the step from there; None is the root."""

_LONGEST_PATH = 200


class UnsupportedSchemaError(ValueError):
    """The schema asks for what no grammar can be made of; the text says where."""

    def __init__(self, path: Path, keyword: str, reason: str) -> None:
        super().__init__(f"'{keyword}' at {spelled(path)} {reason}")


def spelled(path: Path) -> str:
    """``path`` as a JSON pointer in a URI: ``#/properties/name``."""
    steps: list[str] = []
    while path is not None:
        path, step = path
        steps.append(str(step).replace("~", "~0").replace("/", "~1"))
    text = "/".join(["#", *reversed(steps)])
    return text if len(text) <= _LONGEST_PATH else text[:_LONGEST_PATH] + "..."
