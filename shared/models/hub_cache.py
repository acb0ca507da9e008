"""Cache of the Hugging Face hub's client, read without that client, whose import takes 0.2 s.

https://huggingface.co/docs/huggingface_hub/guides/manage-cache
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from shared.models.files import split_names

HUB_SOURCE = re.compile(r"hf:(?P<repo>[\w.\-]+/[\w.\-]+):(?P<file>[\w.\-/]+\.gguf)")
"""How settings name a file on the hub."""


def downloaded_before(source: str, environment: Mapping[str, str]) -> tuple[Path, ...]:
    """The files of ``source`` as they were when it was asked for last; none where one is missing.

    The hub may have newer ones. Raises `ModelSourceError` for a further part of a split model, and
    `OSError`.
    """
    match = HUB_SOURCE.fullmatch(source)
    if match is None:
        return ()
    repository = _cache(environment) / f"models--{match['repo'].replace('/', '--')}"
    try:
        revision = (repository / "refs" / "main").read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ()
    first = repository / "snapshots" / revision / match["file"]
    paths = tuple(first.with_name(name) for name in split_names(first.name))
    return paths if all(path.is_file() for path in paths) else ()


def _cache(environment: Mapping[str, str]) -> Path:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if name in environment:
            return _expanded(environment[name])
    caches = environment.get("XDG_CACHE_HOME", "~/.cache")
    return _expanded(environment.get("HF_HOME", f"{caches}/huggingface")) / "hub"


def _expanded(path: str) -> Path:
    return Path(os.path.expandvars(os.path.expanduser(path)))
