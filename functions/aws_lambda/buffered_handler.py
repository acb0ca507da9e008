"""Buffered handler of API Gateway events (Mangum): an event comes in, a whole response goes out."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any

from mangum import Mangum
from mangum.protocols import HTTPCycle

from shared.protocol.errors import APIError

if TYPE_CHECKING:
    from mangum.types import ASGI, LambdaContext, Scope

RESPONSE_LIMIT = 6_291_556
"""Bytes that Lambda takes from a function as a response: 6 MB and some for its envelope.
https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""
_LONGEST_ESCAPE = 6
"""Bytes that JSON takes at most for a character, as in "\\u0000"."""

_log = logging.getLogger("pilotlight")


class UnsupportedEventError(Exception):
    """An event that is no HTTP request, such as a schedule's or the console's example.

    The invocation fails with it, so that whoever sent the event learns of it: any response would
    count as success, and a queue, say, would drop a message that nobody has read.
    """

    def __init__(self) -> None:
        super().__init__(
            "This function answers HTTP requests only, and the event is none. Send requests to "
            "ApiUrl. To invoke the function itself, send what API Gateway sends in payload format "
            "2.0; its least, for GET /health: "
            '{"version": "2.0", "requestContext": {"http": '
            '{"method": "GET", "path": "/health", "sourceIp": "127.0.0.1"}}}'
        )


class BufferedHandler:
    """Answers API Gateway's events by an ASGI app: those of HTTP APIs and of REST APIs."""

    def __init__(self, app: ASGI) -> None:
        # Python 3.14 makes none by itself.
        asyncio.set_event_loop(asyncio.new_event_loop())
        self._app = app
        self._mangum = Mangum(app, lifespan="off")

    def __call__(self, event: Any, context: LambdaContext) -> dict[str, Any]:
        """The response to one event, as API Gateway expects it.

        Raises `UnsupportedEventError` for what is no request.
        """
        if not _is_request(event):
            raise UnsupportedEventError
        # As Mangum does, which fails in many ways at what no gateway sends.
        try:
            request = self._mangum.infer(event, context)
        except (RuntimeError, TypeError, LookupError, AttributeError):
            raise UnsupportedEventError from None
        try:
            scope, body = request.scope, request.body
            _check(scope)
        except (TypeError, ValueError, LookupError, AttributeError) as error:
            _log.warning("an event can't be read as a request: %s", type(error).__name__)
            return _malformed()
        response: dict[str, Any] = request(HTTPCycle(scope, body)(self._app))
        return response if _fits(response) else _too_large(response)


def _is_request(event: Any) -> bool:
    """Whether Mangum makes an HTTP request of it. Any JSON may be sent to a function."""
    context = event.get("requestContext") if isinstance(event, dict) else None
    if not isinstance(context, dict):
        return False
    if event.get("version") == "2.0":
        http = context.get("http")
        return isinstance(http, dict) and {"method", "path", "sourceIp"} <= set(http)
    return {"httpMethod", "path"} <= set(event)  # load balancers' and REST APIs'


def _check(scope: Scope) -> None:
    """Raise `TypeError` or `ValueError` for what ASGI does not allow in a request."""
    for name in ("method", "path"):
        scope[name].encode()  # text, without halves of characters
    for part in (scope["query_string"], *(part for pair in scope["headers"] for part in pair)):
        if not isinstance(part, bytes):
            raise TypeError


def _malformed() -> dict[str, Any]:
    error = APIError(
        400,
        "The event is no HTTP request as API Gateway sends it: a field of it has another type, or "
        "is missing.",
        code="malformed_event",
    )
    return {
        "statusCode": error.status,
        "headers": {"content-type": "application/json"},
        "body": error.body().decode(),
        "isBase64Encoded": False,
    }


def _fits(response: dict[str, Any]) -> bool:
    """Whether Lambda takes the response. Only large ones are written out to know it."""
    if _LONGEST_ESCAPE * len(response["body"]) < RESPONSE_LIMIT // 2:  # the rest is headers
        return True
    # As the runtime client writes it on Python 3.12 and newer.
    return len(json.dumps(response, ensure_ascii=False).encode()) <= RESPONSE_LIMIT


def _too_large(response: dict[str, Any]) -> dict[str, Any]:
    """The same response with an error instead of the body; Lambda's own would say nothing.

    Not 5xx: clients would try again, and generate the same for minutes.
    """
    error = APIError(
        400,
        f"The response is larger than the {RESPONSE_LIMIT} bytes that AWS Lambda returns at once. "
        "Ask for less: a shorter list, or a shorter answer.",
        code="response_too_large",
    )
    headers = response["headers"] | {"content-type": "application/json"}
    body = error.body().decode()
    if "content-length" in headers:
        headers["content-length"] = str(len(body))
    _log.warning("request %s: the response is too large", headers.get("x-request-id"))
    return response | {
        "statusCode": error.status,
        "headers": headers,
        "body": body,
        "isBase64Encoded": False,
    }
