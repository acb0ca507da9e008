"""Sources of models: from what the user names to a file on this machine."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from shared.models.errors import ModelSourceError
from shared.models.files import GGUF_MAGIC, ModelFiles, check_magic, split_names
from shared.models.hub_cache import HUB_SOURCE
from shared.models.names import BUILTIN

__all__ = ["BUILTIN_PATH", "ModelSourceError", "draft_model_files", "model_files"]

BUILTIN_PATH = Path(__file__).with_name("builtin.gguf")

_REPOSITORY = re.compile(r"\w[\w.\-]*/\w[\w.\-]*")
_HUB_SECONDS = 3.0
"""For the hub's first answer."""
_SHOWN = 5
"""Models of a directory that an error names."""


def model_files(
    source: str,
    cache: str | None = None,
    on_progress: Callable[[float], None] = lambda _: None,
) -> ModelFiles:
    """The GGUF files of ``source``, downloading them first if need be.

    ``source`` is ``builtin``, a path, ``hf:OWNER/REPO:FILE`` or ``s3://BUCKET/KEY``; of a split
    model, its first file. Downloads show progress and are resumed. Those from the Hugging Face hub
    land in its own cache (``HF_HOME``), those from S3 in ``cache``: see
    `shared.models.s3.source.fetch`, also for ``on_progress``. Raises `ModelSourceError`.
    """
    if source.startswith("s3://"):
        from shared.models.s3 import early_fetch

        if (files := early_fetch.take(source, cache, on_progress)) is not None:
            return files
        from shared.models.s3.source import fetch  # brings AWS's library, which takes 0.2 s

        return fetch(source, cache, on_progress)
    if source.startswith("hf:"):
        paths = _from_hub(source)
    elif source == BUILTIN:
        paths = (BUILTIN_PATH,)
    else:
        first = _path(source)
        if source and first.is_dir():
            raise ModelSourceError(_directory(first))
        if not first.name:
            raise ModelSourceError(f"no such model file: {source!r}")
        paths = tuple(first.with_name(name) for name in split_names(first.name))
    for path in paths:
        if not path.is_file():
            hint = f" (on the Hugging Face hub? hf:{source}:FILE.gguf)" if _on_hub(source) else ""
            raise ModelSourceError(f"no such model file: {path}{hint}")
        with path.open("rb") as file:
            check_magic(path, file.read(len(GGUF_MAGIC)))
    return ModelFiles(paths)


def _path(source: str) -> Path:
    """The path that ``source`` is, ``~`` and ``~USER`` being home directories."""
    try:
        return Path(source).expanduser()
    except RuntimeError as error:  # there is no such user
        raise ModelSourceError(
            f"no such model file: {source}: its ~ has no home directory"
        ) from error


def draft_model_files(
    source: str,
    cache: str | None = None,
    on_progress: Callable[[float], None] = lambda _: None,
) -> ModelFiles:
    """The same of a draft model; errors say that it is one."""
    try:
        return model_files(source, cache, on_progress)
    except ModelSourceError as error:
        raise ModelSourceError(f"can't use the draft model {source}: {error}") from error


def _directory(path: Path) -> str:
    """That ``path`` is a directory, and which models are in it."""
    names = sorted(found.name for found in path.glob("*.gguf"))
    within = f"one of its files: {', '.join(names[:_SHOWN])}" if names else "a file"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    nothing = "" if names else "; there is no .gguf file in it"
    return f"{path} is a directory: name {within}{more}{nothing}"


def _on_hub(source: str) -> bool:
    """Whether ``source``, which is no file, reads like a repository's name."""
    return _REPOSITORY.fullmatch(source) is not None and not source.endswith(".gguf")


def _from_hub(source: str) -> tuple[Path, ...]:
    match = HUB_SOURCE.fullmatch(source)
    if match is None:
        raise ModelSourceError(f"expected hf:OWNER/REPO:FILE.gguf, not {source!r}")
    # Only downloads need the hub's client, and it is slow to import.
    try:
        from huggingface_hub import close_session, constants, get_session, hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ModuleNotFoundError:
        raise ModelSourceError(
            f"can't download {source}: huggingface-hub is not installed here. On AWS Lambda, copy "
            "the model to S3 and name it as s3://BUCKET/KEY"
        ) from None

    directory, slash, first = match["file"].rpartition("/")
    unreachable = ""
    try:
        try:  # downloading itself would try for half a minute
            if not constants.HF_HUB_OFFLINE:
                get_session().head(constants.ENDPOINT, timeout=_HUB_SECONDS)
        except Exception as error:  # of the client's library, which is the hub's affair
            unreachable = str(error) or type(error).__name__
        return tuple(
            Path(
                hf_hub_download(
                    match["repo"],
                    f"{directory}{slash}{name}",
                    local_files_only=bool(unreachable),
                )
            )
            for name in split_names(first)
        )
    except LocalEntryNotFoundError as error:
        if not unreachable:
            raise ModelSourceError(f"can't download {source}: {error}") from error
        raise ModelSourceError(
            f"can't download {source}: {constants.ENDPOINT} can't be reached ({unreachable}), and "
            "the file has not been downloaded before. Connect, or name a file on this machine"
        ) from error
    except (HfHubHTTPError, OSError) as error:
        raise ModelSourceError(f"can't download {source}: {error}") from error
    finally:
        close_session()  # a snapshot of this process can hold no connection
