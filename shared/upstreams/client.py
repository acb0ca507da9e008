"""HTTP client of upstreams: pools of connections, and one deadline for each answer.

Nothing here follows redirects, keeps cookies, or takes proxies and credentials from the
environment. TLS is verified.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import socket
import ssl
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from shared.config.upstreams import UpstreamModel
from shared.protocol.errors import shutting_down
from shared.upstreams import errors
from shared.upstreams.circuit_breaker import CircuitBreaker
from shared.upstreams.connection import Answer, BrokenConnectionError, Connection
from shared.upstreams.headers import Headers
from shared.upstreams.request import UpstreamRequest

_CONNECT_SECONDS = 10.0
_ADDRESS_SECONDS = 3.0
"""For each of a host's addresses."""
_KEEPALIVE_SECONDS = 30.0
_MOST_IDLE = 128
"""Connections to one host and port."""
_LONGEST_ERROR = 2**16
_PORTS = {"http": 80, "https": 443}

Origin = tuple[str, str, int]
"""Scheme, host and port."""

_log = logging.getLogger("pilotlight.upstreams")


class UpstreamClient:
    """Client of all upstreams of a server."""

    def __init__(self, upstreams: Mapping[str, UpstreamModel]) -> None:
        """Read the certificates of authorities and the keys, if ``upstreams`` need them."""
        has_tls = any(each.upstream.startswith("https:") for each in upstreams.values())
        # Now: it takes 30 ms.
        self._tls = _tls_context() if has_tls else None
        for each in upstreams.values():
            if each.key is not None:
                each.key.read()
        self._idle: defaultdict[Origin, list[Connection]] = defaultdict(list)
        self._breakers = {
            name: CircuitBreaker(upstream.max_failures) for name, upstream in upstreams.items()
        }
        self._running: set[asyncio.Timeout] = set()
        self._is_aborted = False

    @asynccontextmanager
    async def exchange(
        self,
        asked: UpstreamRequest,
        path: str,
        headers: Headers,
        deadline: float | None,
        begin_by: float | None = None,
    ) -> AsyncIterator[Answer]:
        """The upstream's answer with a status of 2xx, whose bytes are still to be read.

        - ``path``: below the upstream's URL, as ``/chat/completions``.
        - ``headers``: as `shared.upstreams.headers.request_headers` has them.
        - ``deadline``: when all must have ended, on `time.monotonic`'s clock, besides the timeout
          of the model.
        - ``begin_by``: when it ends unless `Answer.commit` was called, as another model is asked.

        Raises `UpstreamError` whatever goes wrong within the context, and `APIError` 503 when the
        server ends.
        """
        if self._is_aborted:
            raise shutting_down()
        upstream = asked.upstream
        seconds = upstream.timeout
        if deadline is not None:
            seconds = min(seconds, deadline - time.monotonic())
        breaker = self._breakers[asked.name]
        if open_seconds := breaker.open_seconds:
            raise errors.unavailable(upstream, open_seconds)
        url = urlsplit(upstream.upstream + path)
        origin = (url.scheme, url.hostname or "", url.port or _PORTS[url.scheme])
        head = _head(url.path, url.netloc, headers, len(asked.body))
        with breaker.attempt() as attempt:
            first_seconds = min(seconds, _left(begin_by))
            end = asyncio.get_running_loop().time() + seconds
            connection = None
            try:
                async with asyncio.timeout(first_seconds) as timeout:
                    self._running.add(timeout)
                    try:
                        connection, answer = await self._ask(origin, head, asked.body)

                        def commit() -> None:
                            breaker.note_first_byte(attempt)
                            self._extend(timeout, end)

                        answer.commit = commit
                        await _check(upstream, answer)
                        yield answer
                        attempt.has_succeeded = True
                    finally:
                        self._running.discard(timeout)
                        if connection is not None and connection.release():
                            self._keep(origin, connection)
            except TimeoutError:
                if self._is_aborted:
                    raise shutting_down() from None
                # Whoever has a deadline before the upstream's says nothing of it, nor does a client
                # that reads too slowly.
                is_late = first_seconds < seconds or seconds >= upstream.timeout
                is_late &= connection is None or connection.is_awaited
                attempt.has_succeeded = False if is_late else None
                _log.warning("%s did not answer model %s in time", upstream.served_by, asked.name)
                raise errors.timed_out(upstream) from None
            except errors.UpstreamError as error:
                attempt.has_succeeded = error.status < 500
                raise
            except (BrokenConnectionError, OSError) as error:
                attempt.has_succeeded = False
                _log.warning("%s failed for model %s: %s", upstream.served_by, asked.name, error)
                raise errors.unreachable(upstream) from None

    def _extend(self, timeout: asyncio.Timeout, end: float) -> None:
        if not self._is_aborted and not timeout.expired():
            timeout.reschedule(end)

    def paused_seconds(self, name: str) -> float:
        """For how long a model is not asked, since it failed again and again; 0 where it is."""
        return self._breakers[name].open_seconds

    def abort(self) -> None:
        """End all exchanges, on the event loop: the server ends."""
        self._is_aborted = True
        now = asyncio.get_running_loop().time()
        for timeout in self._running:
            if not timeout.expired():
                timeout.reschedule(now)

    async def close(self) -> None:
        """Close the connections that nobody uses."""
        for connections in self._idle.values():
            for connection in connections:
                connection.close()
        self._idle.clear()

    async def _ask(self, origin: Origin, head: bytes, body: bytes) -> tuple[Connection, Answer]:
        """Send a request; the connection, and the answer on it.

        A server may close an idle connection in the moment in which it gets another request. One
        that has said nothing at all is asked once more, on a connection of its own.
        """
        connection = self._take_idle(origin)
        if connection is not None:
            try:
                return connection, await self._answer(connection, head, body)
            except BrokenConnectionError as error:
                if not error.is_unanswered:
                    raise
        connection = await self._connect(origin)
        return connection, await self._answer(connection, head, body)

    async def _answer(self, connection: Connection, head: bytes, body: bytes) -> Answer:
        try:
            return await connection.ask(head, body)
        except BaseException:
            connection.close()
            raise

    def _take_idle(self, origin: Origin) -> Connection | None:
        connections = self._idle[origin]
        oldest = time.monotonic() - _KEEPALIVE_SECONDS
        while connections:
            connection = connections.pop()
            if not connection.is_closed and connection.idle_since > oldest:
                return connection
            connection.close()
        return None

    def _keep(self, origin: Origin, connection: Connection) -> None:
        connections = self._idle[origin]
        oldest = time.monotonic() - _KEEPALIVE_SECONDS
        while connections and (connections[0].is_closed or connections[0].idle_since <= oldest):
            connections.pop(0).close()
        if len(connections) < _MOST_IDLE:
            connections.append(connection)
        else:
            connection.close()

    async def _connect(self, origin: Origin) -> Connection:
        """A new connection; raises `OSError`, and `TimeoutError` where nobody answers."""
        scheme, host, port = origin
        loop = asyncio.get_running_loop()
        tls = self._tls if scheme == "https" else None
        async with asyncio.timeout(_CONNECT_SECONDS):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            # IPv4 first: not every network that has addresses of IPv6 has a way out for them.
            addresses = sorted({each[4][0] for each in found}, key=lambda each: ":" in str(each))
            for address in addresses:
                last = address is addresses[-1]
                try:
                    async with asyncio.timeout(None if last else _ADDRESS_SECONDS):
                        _, connection = await loop.create_connection(
                            Connection,
                            str(address),
                            port,
                            ssl=tls,
                            server_hostname=host if tls else None,
                        )
                        return connection
                except ssl.SSLError:
                    raise
                except OSError:
                    if last:
                        raise
        raise OSError(f"{host} has no address")


def _left(moment: float | None) -> float:
    """Seconds until a moment on `time.monotonic`'s clock, None for never."""
    return math.inf if moment is None else max(moment - time.monotonic(), 0)


def _head(path: str, host: str, headers: Headers, length: int) -> bytes:
    """The head of a request: `UpstreamModel` and `request_headers` let nothing break its lines."""
    lines = [b"%b: %b\r\n" % header for header in headers]
    first = f"POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {length}\r\n"
    return b"".join((first.encode(), *lines, b"\r\n"))


def _tls_context() -> ssl.SSLContext:
    """What verifies upstreams: the system's authorities, or those of ``SSL_CERT_FILE``."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    paths = ssl.get_default_verify_paths()
    if paths.cafile is None and not (paths.capath and os.listdir(paths.capath)):
        import certifi

        context.load_verify_locations(certifi.where())
    return context


async def _check(upstream: UpstreamModel, answer: Answer) -> None:
    """Raise `UpstreamError` for an answer that is none to a completion's request."""
    if answer.status_code in (401, 403) and upstream.key is not None:
        upstream.key.renew()
    if not 200 <= answer.status_code < 300:
        body = await _small_body(answer)
        raise errors.refusal(upstream, answer.status_code, answer.headers, body)
    if answer.headers.get("content-encoding", "identity") != "identity":
        raise errors.compressed(upstream)
    # Digits: the parser has refused all else.
    if int(answer.headers.get("content-length", 0)) > upstream.max_answer_size:
        raise errors.too_large(upstream)


async def _small_body(answer: Answer) -> bytes:
    """The body of an error; empty if it is too large for one, or compressed."""
    body = bytearray()
    if answer.headers.get("content-encoding", "identity") != "identity":
        return b""
    async for part in answer:
        body += part
        if len(body) > _LONGEST_ERROR:
            return b""
    return bytes(body)
