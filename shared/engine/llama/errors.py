"""Errors of llama.cpp: it refused or failed."""

from __future__ import annotations

from pathlib import Path


class LlamaError(RuntimeError):
    """llama.cpp refused or failed; the message says what and, where it told, why."""


class NoNumbersError(LlamaError):
    """The model's logits are NaN, as those of damaged weights are: no token can be sampled."""

    def __init__(self) -> None:
        super().__init__("what the model computes is not a number (NaN): its file may be damaged")


class MemoryShortageError(LlamaError):
    """There is too little memory, which others may have that could give it back."""


class ModelLoadError(LlamaError):
    """The file is missing, truncated, corrupt, not GGUF, too large, or no model that writes text.

    ``reason`` is the message without the path, which says nothing to somebody who named none.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"can't load {path}: {reason}")
        self.reason = reason


class ModelTooLargeError(ModelLoadError, MemoryShortageError):
    """There is too little memory for the weights."""
