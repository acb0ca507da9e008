"""OpenAI's error envelope, and how everything that can go wrong gets into it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from pydantic import ValidationError
from pydantic_core import ErrorDetails, from_json

_UNION_HINT = " or "
_INPUT_SHOULD = "Input should be "


class APIError(Exception):
    """An error that the caller sees, in OpenAI's envelope.

    ``param`` names the offending field (``messages[1].content``), ``code`` is for programs.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.type = type
        self.param = param
        self.code = code
        self.headers = dict(headers or {})

    def body(self) -> bytes:
        """The envelope as JSON."""
        return orjson.dumps(self.envelope())

    def envelope(self) -> dict[str, dict[str, str | None]]:
        """``{"error": {"message", "type", "param", "code"}}``."""
        error = {
            "message": self.message,
            "type": self.type,
            "param": self.param,
            "code": self.code,
        }
        return {"error": error}


def invalid(message: str, param: str | None, code: str | None = "invalid_value") -> APIError:
    """400: the caller sent something that can't be served."""
    return APIError(400, message, param=param, code=code)


def context_length_exceeded(n_prompt: int, n_ctx: int, param: str) -> APIError:
    """400: the prompt leaves no room for a completion."""
    return invalid(
        f"This model's maximum context length is {n_ctx} tokens, but the prompt alone has "
        f"{n_prompt}. Shorten it.",
        param,
        "context_length_exceeded",
    )


def model_not_found(name: str, known: list[str]) -> APIError:
    """404: no such model here."""
    return APIError(
        404,
        f"The model '{name}' does not exist here. Available: {', '.join(known)}.",
        param="model",
        code="model_not_found",
    )


def overloaded(message: str, retry_after: int = 1) -> APIError:
    """429: the queue is full. ``retry_after`` in seconds."""
    return APIError(
        429,
        message,
        type="overloaded",
        code="queue_full",
        headers={"retry-after": str(retry_after)},
    )


def model_loading(message: str, retry_after: int = 1) -> APIError:
    """503: not ready yet, or shutting down. ``retry_after`` in seconds."""
    return APIError(
        503,
        message,
        type="model_loading",
        code="model_loading",
        headers={"retry-after": str(retry_after)},
    )


def server_error() -> APIError:
    """500: our fault; the log has the details under the request's id."""
    return APIError(
        500,
        "The server failed to handle the request. The log has the details under its x-request-id.",
        type="server_error",
        code="internal_error",
    )


def from_validation_error(error: ValidationError, body: bytes) -> APIError:
    """400 for the first (and most precise) of pydantic's complaints about ``body``."""
    details = error.errors(include_url=False, include_context=True)
    first = details[0]
    if first["type"] == "json_invalid":
        reason = first["msg"].removeprefix("Invalid JSON: ")
        return invalid(f"The body is not valid JSON: {reason}.", None, "invalid_json")
    data = from_json(body)
    located = [(_path(detail, data), detail) for detail in details]
    path = located[0][0]
    # A union complains once for each of its members; the complaint that got deepest into the value
    # is the one about the member that was meant.
    same_field = [item for item in located if item[0][: len(path)] == path]
    path = max((item[0] for item in same_field), key=len)
    reasons = list(dict.fromkeys(d["msg"] for p, d in same_field if p == path))
    detail = next(d for p, d in same_field if p == path)
    param = _spell(path)
    if detail["type"] in ("missing", "union_tag_not_found"):
        return invalid(f"Missing required field: '{param}'.", param, "missing_required_parameter")
    if len(reasons) > 1 and all(reason.startswith(_INPUT_SHOULD) for reason in reasons):
        reasons = [reasons[0], *(reason.removeprefix(_INPUT_SHOULD) for reason in reasons[1:])]
    message = _UNION_HINT.join(reasons)
    code = "invalid_value"
    if detail["type"].startswith("unsupported_"):
        code = detail["type"]
    elif detail["type"].endswith("_type"):
        code = "invalid_type"
    if not path:
        return invalid(f"Invalid body: {message}.", None, code)
    return invalid(f"Invalid '{param}': {message}.", param, code)


def _path(detail: ErrorDetails, data: Any) -> tuple[str | int, ...]:
    """The location without pydantic's names of union members and discriminators."""
    path: list[str | int] = []
    at = data
    location = detail["loc"]
    for i, part in enumerate(location):
        is_last = i == len(location) - 1
        in_object = isinstance(at, dict) and part in at
        if in_object or (isinstance(at, list) and isinstance(part, int) and part < len(at)):
            at = at[part]
        elif not (is_last and detail["type"] == "missing"):
            continue
        path.append(part)
    if detail["type"].startswith("union_tag"):
        path.append("role")  # the only discriminator there is
    return tuple(path)


def _spell(path: tuple[str | int, ...]) -> str | None:
    """``messages[1].content``."""
    spelled = ""
    for part in path:
        if isinstance(part, int):
            spelled += f"[{part}]"
        else:
            spelled += f".{part}" if spelled else part
    return spelled or None
