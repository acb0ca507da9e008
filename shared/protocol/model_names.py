"""Model names: what the API's ``model`` field takes, and so what models can be called."""

from __future__ import annotations

import re

LONGEST_NAME = 256
MODEL_NAME = r"^[A-Za-z0-9](?:[A-Za-z0-9._/:\-]*[A-Za-z0-9])?$"


def is_model_name(name: str) -> bool:
    """Whether a model can be called that."""
    return len(name) <= LONGEST_NAME and re.fullmatch(MODEL_NAME, name) is not None
