"""Validation errors of pydantic in OpenAI's envelope: 400 with ``param`` and ``code``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails, InitErrorDetails
from pydantic_core.core_schema import ErrorType

from shared.protocol.errors import APIError, invalid, shortened
from shared.protocol.strict import MISSING_FIELD

_UNION_HINT = " or "
_INPUT_SHOULD = "Input should be "
_WRONG_TAG = "union_tag_invalid"
_MISSING = ("missing", "union_tag_not_found", MISSING_FIELD)
_KEY = "[key]"
"""How pydantic's locations end that are about an object's key rather than its value."""
_PYDANTICS = frozenset(get_args(ErrorType))
"""The types of errors that are not of our own making."""
_MAX_COMPLAINTS = 200
_MAX_REASON = 500
_MAX_NAME = 64

Path = tuple[str | int, ...]
"""Keys and indices that lead to a field of the body."""


def from_validation_error(error: ValidationError, data: Any) -> APIError:
    """400 for the first (and most precise) of pydantic's complaints about ``data``.

    ``data`` is the very value that was validated: its parts are recognised by identity. Schemas
    stop at an array's or a map's first wrong item, so there are few complaints however large it is.
    """
    return from_error_details(error.errors(include_url=False, include_context=True), data)


def from_error_details(details: Sequence[ErrorDetails], data: Any) -> APIError:
    """As `from_validation_error`, of what pydantic's error consists of: FastAPI's is another."""
    path, complaints = _most_precise(details[:_MAX_COMPLAINTS], data)
    detail = complaints[0]
    param = spelled(path)
    if detail["type"] in _MISSING:
        return invalid(f"Missing required field: '{param}'.", param, "missing_required_parameter")
    reasons = list(dict.fromkeys(_reason(complaint) for complaint in complaints))
    if all(reason.startswith(_INPUT_SHOULD) for reason in reasons):
        reasons = [reasons[0], *(reason.removeprefix(_INPUT_SHOULD) for reason in reasons[1:])]
    message = _UNION_HINT.join(reasons)
    code = "invalid_value"
    if detail["type"].startswith("unsupported_"):
        code = detail["type"]
    elif _is_about_type(detail) and not _is_large_integer(detail):
        code = "invalid_type"
    if not path:
        return invalid(f"Invalid body: {message}.", None, code)
    return invalid(f"Invalid '{param}': {message}.", param, code)


def _reason(detail: ErrorDetails) -> str:
    """Pydantic's words about JSON, without those that are about its own doings."""
    reason = detail["msg"]
    if detail["type"] == _WRONG_TAG:
        *others, last = detail["ctx"]["expected_tags"].split(", ")
        known = f"{', '.join(others)} or {last}" if others else last
        reason = _INPUT_SHOULD + (known if _discriminator(detail) else "a valid string")
    elif _is_large_integer(detail):
        reason = "Input should be an integer of at most 64 bits"
    elif detail["type"] in _PYDANTICS:
        again = InitErrorDetails(
            type=detail["type"], loc=(), input=detail["input"], ctx=detail.get("ctx", {})
        )
        # It calls an object a dictionary, unless it is told that it reads JSON.
        worded = ValidationError.from_exception_data("", [again], input_type="json")
        reason = worded.errors(include_url=False, include_context=False)[0]["msg"]
    reason = shortened(reason.replace(" after validation", ""), _MAX_REASON)
    return f"One of its keys is wrong: {reason}" if detail["loc"][-1:] == (_KEY,) else reason


def _discriminator(detail: ErrorDetails) -> str | None:
    """The field that tells a union's members apart; None where a function does, by their ``type``.

    Pydantic quotes the one and puts parentheses behind the other.
    """
    name: str = detail["ctx"]["discriminator"]
    return name.strip("'") if name.startswith("'") else None


def _most_precise(details: Sequence[ErrorDetails], data: Any) -> tuple[Path, list[ErrorDetails]]:
    """The field that the first complaint is about, and what is wrong with it.

    A union complains once for each of its members. The member that was meant is the one whose type
    fits, or else the one whose first complaint comes latest in the value.
    """
    located = [(*_locate(detail["loc"], data, detail), detail) for detail in details]
    first_path = located[0][0]
    members: dict[Path, tuple[Path, ErrorDetails]] = {}
    for path, labels, detail in located:
        if path[: len(first_path)] == first_path[: len(path)]:
            members.setdefault(labels, (path, detail))
    best = max(members.values(), key=lambda member: _precision(*member))
    alike = [
        d for p, d in members.values() if p == best[0] and _precision(p, d) == _precision(*best)
    ]
    return best[0], alike


def _precision(path: Path, detail: ErrorDetails) -> tuple[bool, list[tuple[bool, int]]]:
    order = [(isinstance(part, int), part if isinstance(part, int) else 0) for part in path]
    return not _is_about_type(detail), order


def _is_about_type(detail: ErrorDetails) -> bool:
    return detail["type"].endswith("_type")


def _is_large_integer(detail: ErrorDetails) -> bool:
    """Whether it is about an integer that the JSON parser could only make a float of."""
    value = detail["input"]
    return detail["type"] == "int_type" and isinstance(value, float) and abs(value) >= 2**63


def _locate(parts: Path, at: Any, detail: ErrorDetails) -> tuple[Path, Path]:
    """The path within the body, and the names of union members and discriminators on the way.

    Pydantic mixes both in one location, and a caller's key may be spelled like a member's name.
    The right reading is the one that leads to the value that pydantic says it looked at.
    """
    if detail["type"] == "union_tag_not_found" or detail["type"] == _WRONG_TAG:
        return (*_resolve(parts, at, detail["input"])[0], _discriminator(detail) or "type"), ()
    if detail["type"] == MISSING_FIELD:
        path, labels = _resolve(parts, at, detail["input"])
        return (*path, detail["ctx"]["field"]), labels
    if parts[-1:] == (_KEY,):  # and before it comes the key
        return parts[:-2], ()
    if detail["type"] == "missing":
        path, labels = _resolve(parts[:-1], at, detail["input"])
        return (*path, parts[-1]), labels
    return _resolve(parts, at, detail["input"])


def _resolve(parts: Path, at: Any, target: Any) -> tuple[Path, Path]:
    """Both kinds of parts told apart; an unreachable target takes every part that can be taken."""
    readings = list(_readings(parts, at, target))
    return readings[0] if readings else (parts, ())


def _readings(parts: Path, at: Any, target: Any) -> Iterator[tuple[Path, Path]]:
    if not parts:
        if at is target:
            yield (), ()
        return
    part, rest = parts[0], parts[1:]
    for value in _inside(at, part):
        for path, labels in _readings(rest, value, target):
            yield (part, *path), labels
    if isinstance(part, str):
        for path, labels in _readings(rest, at, target):
            yield path, (part, *labels)


def _inside(at: Any, part: str | int) -> list[Any]:
    """The value at ``part``, if there is one."""
    if isinstance(at, dict) and part in at:
        return [at[part]]
    if isinstance(at, list) and isinstance(part, int) and part < len(at):
        return [at[part]]
    return []


def spelled(path: Path) -> str | None:
    """A field's name in errors, such as ``messages[1].content``; None for the whole body."""
    spelled = ""
    for i, part in enumerate(path):
        if isinstance(part, int):
            spelled += f"[{part}]"
        else:
            name = shortened(part, _MAX_NAME)
            spelled += f".{name}" if i else name
    return spelled if path else None
