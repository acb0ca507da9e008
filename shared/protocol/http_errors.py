"""Errors of requests that are not HTTP, or break its limits, in OpenAI's envelope."""

from __future__ import annotations

from shared.protocol.errors import APIError


def bad_http(problem: str) -> APIError:
    """400: a request of which nobody knows where it ends. Never 5xx: clients would try again."""
    return APIError(400, f"The request can't be read: {problem}.", code="invalid_http_request")


def head_too_large(max_bytes: int, max_headers: int) -> APIError:
    """431: a request line and headers beyond the limits."""
    return APIError(
        431,
        f"The request's head is too large: its line and headers may have {max_bytes} bytes and "
        f"{max_headers} headers together. Send content in the body.",
        code="request_header_fields_too_large",
    )


def request_timeout(problem: str) -> APIError:
    """408: a client that takes too long to send a request."""
    return APIError(
        408, f"The request is not waited for any longer: {problem}.", code="request_timeout"
    )


def too_many_connections() -> APIError:
    """503: all connections are taken."""
    return APIError(
        503,
        "The server has as many connections as it can. Try again in a moment, and send several "
        "requests over one connection.",
        type="overloaded",
        code="too_many_connections",
        headers={"retry-after": "1"},
    )
