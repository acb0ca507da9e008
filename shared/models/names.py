"""Name of a model when no alias is set: that of its file."""

from __future__ import annotations

import re
from pathlib import Path

from shared.models.files import name_of_split

BUILTIN = "builtin"
"""The source of the model that comes with pilotlight."""
NONE = "none"
"""The source of no model: there are only those that somebody else serves."""
BUILTIN_NAME = "pilotlight-builtin"

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._/:\-]+")


def default_name(source: str) -> str:
    """What requests call the model when no alias is set: the file's name without its ending.

    Characters that the API's ``model`` field does not allow become hyphens.
    """
    if source == BUILTIN:
        return BUILTIN_NAME
    if source.startswith("s3://"):
        source = source.partition("?versionId=")[0]
    stem = name_of_split(Path(source.rpartition(":")[2]).stem)
    return _NOT_IN_NAMES.sub("-", stem).strip("-._/:")[:256] or "model"
