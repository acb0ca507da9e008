"""Files of a model on this machine: one GGUF file, or all of a split one."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from shared.models.errors import ModelSourceError

GGUF_MAGIC = b"GGUF"

_SPLIT = re.compile(r"(?P<prefix>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """``paths``: one file, or all of a split model in order.

    ``descriptors`` keep files alive that are nowhere but in memory; they may be closed once
    llama.cpp has mapped the files. ``is_remote``: the user named no path, so errors shouldn't.
    """

    paths: tuple[Path, ...]
    descriptors: tuple[int, ...] = ()
    is_remote: bool = False

    def close(self) -> None:
        """Let go of the files; what is mapped of them stays."""
        for descriptor in self.descriptors:
            os.close(descriptor)


def split_names(name: str) -> tuple[str, ...]:
    """All files of the model whose first one is ``name``: just that, unless it is split.

    ``model-00001-of-00003.gguf`` is how llama.cpp's ``gguf-split`` names them. Raises
    `ModelSourceError` if ``name`` is one of the others.
    """
    match = _SPLIT.fullmatch(name)
    if match is None:
        return (name,)
    prefix, count = match["prefix"], match["count"]
    if int(match["number"]) != 1:
        raise ModelSourceError(
            f"{name} is a further part of a split model: name the first one, "
            f"{prefix}-00001-of-{count}.gguf"
        )
    return tuple(
        f"{prefix}-{number:05}-of-{count}.gguf" for number in range(1, max(int(count), 1) + 1)
    )


def name_of_split(stem: str) -> str:
    """A file's name (without its ending) without the numbers of a split model's part."""
    match = _SPLIT.fullmatch(f"{stem}.gguf")
    return match["prefix"] if match else stem


def check_magic(name: object, magic: bytes) -> None:
    """Raise `ModelSourceError` unless a file that begins with ``magic`` is GGUF."""
    if magic != GGUF_MAGIC:
        raise ModelSourceError(f"{name} is not a GGUF file (it begins with {magic!r})")
