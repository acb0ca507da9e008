"""InferenceFunction whose snapshot leaves `random` in the same state in every process.

So two processes are, as far as `random` goes, copies of one snapshot. An event ``{"probe": true}``
asks what they have come to.
"""

from __future__ import annotations

import random
from typing import Any

from snapshot_restore_py import register_before_snapshot  # type: ignore[import-untyped]

register_before_snapshot(random.seed, 0)  # the first to be registered is the last to run

from functions.aws_lambda import inference_handler  # noqa: E402


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """What the function would answer, or the next of `random`'s numbers."""
    if event.get("probe"):
        return {"random": random.random()}
    return inference_handler.handler(event, context)
