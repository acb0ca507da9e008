"""Error envelope of OpenAI's API, and how everything that can go wrong gets into it."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

_MAX_MESSAGE = 2000
"""Characters, whatever a caller wrote that is repeated in it."""


class APIError(Exception):
    """An error that the caller sees, in OpenAI's envelope.

    ``param`` names the offending field (``messages[1].content``), ``code`` is for programs.
    ``counts`` has numbers of the message by name, for dialects that show them.
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
        counts: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = shortened(message, _MAX_MESSAGE)
        self.type = type
        self.param = param
        self.code = code
        self.headers = dict(headers or {})
        self.counts = dict(counts or {})

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
    return APIError(
        400,
        f"This model's maximum context length is {n_ctx} tokens, but the prompt alone has "
        f"{n_prompt}. Shorten it.",
        param=param,
        code="context_length_exceeded",
        counts={"n_prompt_tokens": n_prompt, "n_ctx": n_ctx},
    )


def model_not_found(name: str, known: list[str]) -> APIError:
    """404: no such model here."""
    return APIError(
        404,
        f"The model '{name}' does not exist here. Available: {', '.join(known) or 'none'}.",
        param="model",
        code="model_not_found",
    )


def model_not_permitted(name: str) -> APIError:
    """403: the project may not use this model."""
    return APIError(
        403,
        f"This key's project may not use the model '{name}'.",
        type="permission_error",
        param="model",
        code="model_not_permitted",
    )


def rate_limited(message: str, headers: Mapping[str, str]) -> APIError:
    """429: a rate limit of the project."""
    return APIError(
        429, message, type="rate_limit_error", code="rate_limit_exceeded", headers=headers
    )


def insufficient_quota(message: str) -> APIError:
    """429: the month's budget is spent. Clients need not try again."""
    return APIError(
        429,
        message,
        type="insufficient_quota",
        code="insufficient_quota",
        headers={"x-should-retry": "false"},
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


def accounts_unavailable() -> APIError:
    """503: the store of accounts does not answer; nothing is known to be wrong with the request."""
    return APIError(
        503,
        "The store of accounts does not answer. Try again shortly.",
        type="server_error",
        code="accounts_unavailable",
        headers={"retry-after": "5"},
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


def model_unavailable() -> APIError:
    """500: the model could not be loaded; where it lies is nothing for callers to know."""
    return APIError(
        500,
        "The model could not be loaded. The server's log says why.",
        type="server_error",
        code="model_unavailable",
    )


def model_stopped() -> APIError:
    """503: the engine died; whoever watches over this process is to replace it."""
    return model_loading("The model is not being served right now.", 5)


def engine_stalled() -> APIError:
    """503: there are sequences, but none gets on; whoever watches may replace the process."""
    return APIError(
        503,
        "The engine has not evaluated a batch for minutes, although there are requests. The "
        "server's log may say why; restart it.",
        type="server_error",
        code="engine_stalled",
    )


def shutting_down() -> APIError:
    """503: this instance ends; another one may be there already, for another connection."""
    error = model_loading("The server is shutting down. Try again in a moment.", 5)
    error.headers["connection"] = "close"
    return error


def server_error() -> APIError:
    """500: our fault; the log has the details under the request's id."""
    return APIError(
        500,
        "The server failed to handle the request. The log has the details under its x-request-id.",
        type="server_error",
        code="internal_error",
    )


def shortened(text: str, limit: int) -> str:
    """``text`` without its end, where a caller made it long."""
    return text if len(text) <= limit else f"{text[:limit]}..."
