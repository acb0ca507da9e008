"""AWS Lambda's time limit (its timeout): the seconds that an invocation has left."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field, ValidationError

if TYPE_CHECKING:
    from starlette.types import Scope

_log = logging.getLogger("pilotlight.deadline")

_ADAPTER_CONTEXT = b"x-amzn-lambda-context"


def event_remaining(scope: Scope) -> float | None:
    """Seconds that are left, from the invocation's context where Mangum puts it."""
    context = scope.get("aws.context")
    return None if context is None else context.get_remaining_time_in_millis() / 1000


class _AdapterContext(BaseModel):
    """What is read of the Lambda Web Adapter's header: ``deadline`` in milliseconds since 1970."""

    deadline: int = Field(gt=0, lt=2**63)


def adapter_remaining(scope: Scope) -> float | None:
    """Seconds that are left, from the header ``x-amzn-lambda-context``.

    Only for servers behind the Lambda Web Adapter, which replaces what a client sends under that
    name. None, with a warning in the log, for a header that can't be read.
    """
    for name, value in scope["headers"]:
        if name == _ADAPTER_CONTEXT:
            try:
                context = _AdapterContext.model_validate_json(value)
            except ValidationError as error:
                problem = error.errors(include_input=False, include_url=False)[0]["msg"]
                _log.warning("the request has no deadline: x-amzn-lambda-context: %s", problem)
                return None
            return context.deadline / 1000 - time.time()
    return None
