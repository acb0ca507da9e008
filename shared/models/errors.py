"""Errors of model sources."""

from __future__ import annotations


class ModelSourceError(ValueError):
    """The model can't be had; the message says why and what to do."""


class CorruptError(ModelSourceError):
    """What arrived is not what was uploaded, or no model: it is of no use to anybody."""


class AccessDeniedError(ModelSourceError):
    """Whoever asks may not read it, or not yet."""
