"""Validation of what forms send, by the schemas of the API's requests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from shared.protocol.validation_errors import from_validation_error

SchemaT = TypeVar("SchemaT", bound=BaseModel)


def checked(schema: type[SchemaT], values: Mapping[str, Any]) -> SchemaT:
    """The request that a form stands for; raises `APIError` 400."""
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise from_validation_error(error, values) from None
