"""The base of everything that is read from a request."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """JSON types are taken at their word: the string "1" is no number, 1.5 no integer."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False, serialize_by_alias=True)
