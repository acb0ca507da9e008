"""Static files: their URLs have a hash of their content, so that browsers keep them for good."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_DIRECTORY = Path(__file__).parent / "static"
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file. ``url_name``: its name with the hash."""

    url_name: str
    content: bytes
    media_type: str


@cache
def static_files() -> dict[str, StaticFile]:
    """All files by their names, read at the first use. Nothing else is ever served."""
    files = {}
    for path in sorted(_DIRECTORY.iterdir()):
        if path.suffix in _TYPES:
            content = path.read_bytes()
            digest = hashlib.sha256(content).hexdigest()[:12]
            url_name = f"{path.name.removesuffix(path.suffix)}.{digest}{path.suffix}"
            files[path.name] = StaticFile(url_name, content, _TYPES[path.suffix])
    return files


@cache
def by_url_name() -> dict[str, StaticFile]:
    """All files by the names that their URLs have."""
    return {file.url_name: file for file in static_files().values()}
