"""From what the user names to a file on this machine."""

from __future__ import annotations

import re
from pathlib import Path

from shared.settings import BUILTIN

BUILTIN_PATH = Path(__file__).with_name("builtin.gguf")
BUILTIN_NAME = "pilotlight-builtin"

_HUB_SOURCE = re.compile(r"hf:(?P<repo>[\w.\-]+/[\w.\-]+):(?P<file>[\w.\-/]+\.gguf)")
_GGUF_MAGIC = b"GGUF"
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._/:\-]+")


class ModelSourceError(ValueError):
    """The model can't be had; the message says why and what to do."""


def default_name(source: str) -> str:
    """What requests call the model when no alias is set: the file's name without its ending.

    Characters that the API's ``model`` field does not allow become hyphens.
    """
    if source == BUILTIN:
        return BUILTIN_NAME
    stem = Path(source.rpartition(":")[2]).stem
    return _NOT_IN_NAMES.sub("-", stem).strip("-._/:")[:256] or "model"


def local_path(source: str) -> Path:
    """The GGUF file of ``source``, downloading it first if need be.

    ``source`` is ``builtin``, a path, or ``hf:OWNER/REPO:FILE``. Downloads land in the Hugging Face
    cache (``HF_HOME``), show progress, and are resumed. Raises `ModelSourceError`.
    """
    if source == BUILTIN:
        path = BUILTIN_PATH
    elif source.startswith("hf:"):
        path = _from_hub(source)
    else:
        path = Path(source).expanduser()
    if not path.is_file():
        raise ModelSourceError(f"no such model file: {path}")
    with path.open("rb") as file:
        magic = file.read(len(_GGUF_MAGIC))
    if magic != _GGUF_MAGIC:
        raise ModelSourceError(f"{path} is not a GGUF file (it begins with {magic!r})")
    return path


def _from_hub(source: str) -> Path:
    match = _HUB_SOURCE.fullmatch(source)
    if match is None:
        raise ModelSourceError(f"expected hf:OWNER/REPO:FILE.gguf, not {source!r}")
    # Only downloads need the hub's client, and it is slow to import.
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(match["repo"], match["file"]))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise ModelSourceError(f"can't download {source}: {error}") from error
