"""HTTP client of upstreams: one connection pool, one deadline for each answer.

It is httpx2's transport without the client around it: nothing follows redirects, keeps cookies, or
takes proxies and credentials from the environment. TLS is verified.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2

from shared.protocol.errors import shutting_down
from shared.upstreams import errors
from shared.upstreams.headers import Headers
from shared.upstreams.request import UpstreamRequest

_CONNECT_SECONDS = 10.0
_KEEPALIVE_SECONDS = 30.0
_LONGEST_ERROR = 2**16

_log = logging.getLogger("pilotlight.upstreams")


class UpstreamClient:
    """Client of all upstreams of a server."""

    def __init__(self) -> None:
        self._transport = httpx2.AsyncHTTPTransport(
            verify=True,
            trust_env=False,
            limits=httpx2.Limits(
                max_connections=None,
                max_keepalive_connections=128,
                keepalive_expiry=_KEEPALIVE_SECONDS,
            ),
        )
        self._running: set[asyncio.Timeout] = set()
        self._is_aborted = False

    @asynccontextmanager
    async def exchange(
        self, asked: UpstreamRequest, path: str, headers: Headers, deadline: float | None
    ) -> AsyncIterator[httpx2.Response]:
        """The upstream's answer with a status of 2xx, whose bytes are still to be read.

        - ``path``: below the upstream's URL, as ``/chat/completions``.
        - ``deadline``: when all must have ended, on `time.monotonic`'s clock, besides the timeout
          of the model.

        Raises `UpstreamError` whatever goes wrong within the context, and `APIError` 503 when the
        server ends.
        """
        upstream = asked.upstream
        seconds = upstream.timeout
        if deadline is not None:
            seconds = min(seconds, deadline - time.monotonic())
        limits = {"connect": min(_CONNECT_SECONDS, seconds), "read": None, "write": None}
        request = httpx2.Request(
            "POST",
            upstream.upstream + path,
            headers=headers,
            content=asked.body,
            extensions={"timeout": {**limits, "pool": None}},
        )
        try:
            async with asyncio.timeout(seconds) as timeout:
                self._running.add(timeout)
                try:
                    answer = await self._transport.handle_async_request(request)
                    try:
                        if not 200 <= answer.status_code < 300:
                            body = await _small_body(answer)
                            raise errors.refusal(upstream, answer.status_code, answer.headers, body)
                        if answer.headers.get("content-encoding", "identity") != "identity":
                            raise errors.compressed(upstream)
                        yield answer
                    finally:
                        await answer.aclose()
                finally:
                    self._running.discard(timeout)
        except (TimeoutError, httpx2.TimeoutException):
            if self._is_aborted:
                raise shutting_down() from None
            _log.warning("%s did not answer model %s in time", upstream.served_by, asked.name)
            raise errors.timed_out(upstream) from None
        except httpx2.TransportError as error:
            reason = f"{type(error).__name__}: {error}"
            _log.warning("%s failed for model %s: %s", upstream.served_by, asked.name, reason)
            raise errors.unreachable(upstream) from None

    def abort(self) -> None:
        """End all exchanges, on the event loop: the server ends."""
        self._is_aborted = True
        now = asyncio.get_running_loop().time()
        for timeout in self._running:
            timeout.reschedule(now)

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.aclose()


async def _small_body(answer: httpx2.Response) -> bytes:
    """The body of an error; empty if it is too large for one."""
    body = bytearray()
    async for part in answer.stream:  # type: ignore[union-attr]
        body += part
        if len(body) > _LONGEST_ERROR:
            return b""
    return bytes(body)
