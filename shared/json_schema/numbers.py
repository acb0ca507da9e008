"""Numbers in schemas, as llguidance can hold them: 64-bit floats, written out without exponent."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from shared.json_schema.errors import Path, UnsupportedSchemaError

_MOST = 9 * 10**18
"""Beyond it, at the end of 64-bit integers, llguidance finds no expression for ranges."""


def bound(schema: Mapping[str, Any], keyword: str, path: Path) -> Any:
    """A ``minimum`` or ``maximum`` that is held exactly, as near to the schema's as that goes.

    It never allows more. Raises `UnsupportedSchemaError`.
    """
    value = schema[keyword]
    if isinstance(value, bool) and keyword.startswith("exclusive"):
        return value  # as in draft 4
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UnsupportedSchemaError(path, keyword, "is no number")
    is_upper = keyword in ("maximum", "exclusiveMaximum")
    try:
        held = float(value)
    except OverflowError:
        held = math.inf
    if math.isinf(held):
        raise UnsupportedSchemaError(path, keyword, "is out of range")
    if held > value if is_upper else held < value:
        held = math.nextafter(held, -math.inf if is_upper else math.inf)
    if abs(held) > _MOST:
        if (held > 0) != is_upper:
            raise UnsupportedSchemaError(path, keyword, "is out of range")
        return int(math.copysign(_MOST, held))
    return int(held) if held.is_integer() else held


def check_value(value: Any, path: Path, keyword: str) -> None:
    """Raise `UnsupportedSchemaError` for a ``const`` or ``enum`` whose number can't be held."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, Mapping):
            waiting += value.values()
        elif isinstance(value, int | float) and (
            abs(value) > _MOST or (isinstance(value, int) and int(float(value)) != value)
        ):
            reason = f"has a number that can't be followed exactly: {str(value)[:40]}"
            raise UnsupportedSchemaError(path, keyword, reason)
