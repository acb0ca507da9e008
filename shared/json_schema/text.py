"""JSON text of schemas, written without holding the interpreter's lock for long.

C's encoder writes all of a value in one go, on whichever thread: 10 ms for 10,000 properties, in
which no other thread gets to run.
"""

from __future__ import annotations

import json

_ENCODER = json.JSONEncoder(allow_nan=False)


def to_text(value: object) -> str:
    """``value`` as JSON; raises `ValueError` and `TypeError` for what JSON does not have."""
    return "".join(_ENCODER.iterencode(value))
