"""HTTP/1.1 within limits: uvicorn's protocol, for clients that nothing is known of yet.

uvicorn itself takes heads of any size, waits for them and for bodies as long as a connection lasts,
and writes that a request is malformed into the answer to the one before.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from functions.http.server.body_meter import BodyMeter
from functions.http.server.connection_limits import ConnectionState
from functions.http.server.cycle import Cycle, UnchunkedCycle
from functions.http.server.lingering_close import LingeringClose
from functions.http.server.peer_close import has_peer_closed
from functions.http.server.reader_watch import ReaderWatch
from functions.http.server.refusal import reason, rendered
from functions.http.server.request_head import (
    CHECKED_HEADERS,
    HEAD_BYTES,
    MAX_HEADERS,
    RequestHead,
    complete_scope,
)
from shared.protocol.errors import APIError
from shared.protocol.http_errors import (
    bad_http,
    head_too_large,
    request_timeout,
    too_many_connections,
)

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

_log = logging.getLogger("pilotlight.access")

MAX_PIPELINED = 64
"""Requests of a connection that wait for the answers to those before them."""


class LimitedHttpProtocol(HttpToolsProtocol):
    """One connection. What exceeds a limit is answered in OpenAI's envelope, and ends it."""

    server_state: ConnectionState
    cycle: Cycle

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limits = self.server_state.limits
        self._since = self.server_state.now
        """When what the client is waited for began."""
        self._refusal: APIError | None = None
        """What the connection ends with, after the answers to earlier requests."""
        self._lingering: LingeringClose
        self._reader_watch: ReaderWatch
        self._answered: Cycle | None = None
        """What is answered now, or was last; ``cycle`` is the request read last."""

        self.is_reading_body = False
        self.is_reading_head = False
        self._has_ended = False
        """Whether a request has ended in the data that is being parsed."""
        self._data_size = 0
        self._head = RequestHead()
        self.body = BodyMeter()

    # Called by the event loop

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin; with a refusal if there are too many."""
        # Not uvicorn's, which asks the kernel six times for addresses that uvloop has.
        self.connections.add(self)
        self.transport = transport
        self.flow = FlowControl(transport)
        self.server = _address(transport, "sockname")
        self.client = _address(transport, "peername")
        self.scheme = "http"
        self._reader_watch = ReaderWatch(transport)
        self._lingering = LingeringClose(transport, self.flow, self.server_state)
        if self.server_state.is_full():
            self.refuse(too_many_connections())

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._lingering.end()
        super().connection_lost(exc)
        answered = self._answered
        if answered is not None and not answered.response_complete:
            answered.disconnect()
            answered.message_event.set()

    def data_received(self, data: bytes) -> None:
        """Parse what has come, unless the connection is about to end."""
        if self._refusal is not None or self._lingering.has_begun:
            return
        self._has_ended = False
        self._data_size = len(data)
        was_reading_body = self.is_reading_body
        try:
            self.parser.feed_data(data)
            if self._has_ended:
                pass
            elif self.is_reading_head:
                self._head.add(len(data))
            elif was_reading_body:
                self.body.add_framed(len(data))
        except httptools.HttpParserUpgrade as upgrade:
            self._go_on_without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self.refuse(reason(error, data))
        except APIError as error:
            self.refuse(error)

    def pause_writing(self) -> None:
        """Wait for the client to read."""
        super().pause_writing()
        self._reader_watch.begin(self.server_state.now)

    def resume_writing(self) -> None:
        """Write on."""
        super().resume_writing()
        self._reader_watch.end()

    # Called by the parser; what is raised ends the connection

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self.is_reading_head = True
        self._since = self.server_state.now
        self._head.begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; or a trailer, of which nothing is made."""
        if not self.is_reading_head:
            self.body.add_part(0)
            return
        if len(self.headers) == MAX_HEADERS:
            raise head_too_large(HEAD_BYTES, MAX_HEADERS)
        name = name.lower()
        if name in CHECKED_HEADERS:
            self._head.check_header(name, value.lower(), self.parser)
        elif name == b"expect":
            self.expect_100_continue = value.lower() == b"100-continue"
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Handle the request, or have it wait for those before it."""
        self._head.end(self._data_size, self.url, self.headers)
        if self.parser.should_upgrade():
            return
        version = self.parser.get_http_version()
        complete_scope(self.scope, version, self.parser.get_method(), self.url)
        is_first = self.cycle is None or self.cycle.response_complete
        if not is_first and len(self.pipeline) == MAX_PIPELINED:
            raise bad_http(f"more than {MAX_PIPELINED} others wait on its connection")
        self._begin_body()
        self.cycle = (UnchunkedCycle if version == "1.0" else Cycle)(
            loop=self.loop,
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version != "1.0" and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        if is_first:
            self._start_asgi_task(self.cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def on_body(self, body: bytes) -> None:
        """A part of a body. Of one that nobody wants any more, so much is dropped."""
        self.body.add_part(len(body))
        if self.cycle.response_complete:
            if self.body.size > self._limits.unwanted_body:
                self._lingering.begin()
            return
        self.cycle.body += body
        if len(self.cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        self.cycle.message_event.set()

    def on_message_complete(self) -> None:
        """A request is there wholly."""
        if self.is_reading_head:
            return  # an upgrade
        self.is_reading_body = False
        self._has_ended = True
        if not self.cycle.response_complete:
            self.cycle.more_body = False
            self.cycle.message_event.set()

    # Called by the cycle

    def on_response_complete(self) -> None:
        """Go on with the next request, or wait for it."""
        self.server_state.total_requests += 1
        self._since = self.server_state.now
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._refusal is not None:
            self._answer_refusal(self._refusal)
        elif self.cycle.ends_connection:
            self._lingering.begin()

    # Called by the server

    def shutdown(self) -> None:
        """End the connection with the answer that is being sent, if there is one."""
        if self._lingering.has_begun:
            self.transport.close()
        else:
            super().shutdown()

    def check(self) -> None:
        """End the connection if its client takes too long."""
        now = self.server_state.now
        if self._lingering.has_begun:
            self._lingering.check()
            return
        if self.pipeline and self.flow.read_paused and has_peer_closed(self.transport):
            self.transport.close()
        is_closing = self.transport.is_closing()
        is_answering = self.cycle is not None and not self.cycle.response_complete
        self._reader_watch.check(
            now, self._limits.transfer, is_writing=is_answering and not is_closing
        )
        if self._refusal is not None or is_closing:
            return
        waited = now - self._since
        if self.is_reading_body:
            self._check_body(now)
        elif is_answering:
            self._since = now
        elif self.is_reading_head:
            if waited >= self._limits.head:
                self.refuse(request_timeout(f"its head took more than {self._limits.head:g} s"))
        elif waited >= (self._limits.head if self.cycle is None else self._limits.idle):
            self.transport.close()

    def refuse(self, error: APIError) -> None:
        """End the connection with ``error``, after the answers to earlier requests."""
        self._refusal = error
        if self.is_reading_body:
            cycle = self.cycle
            if self.pipeline and self.pipeline[0][0] is cycle:
                self.pipeline.popleft()
                return
            if cycle.response_started:
                self._lingering.begin() if cycle.response_complete else self.transport.abort()
                return
            # Its handler finds that the client has gone, and what it sends is dropped.
            cycle.waiting_for_100_continue = False
            cycle.message_event.set()
            cycle.disconnect()
        elif self.cycle is not None and not self.cycle.response_complete:
            return
        self._answer_refusal(error)

    # What those have in common

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        assert isinstance(cycle, Cycle)
        self._answered = cycle
        super()._start_asgi_task(cycle, app)

    def _begin_body(self) -> None:
        self.is_reading_head = False
        self.is_reading_body = True
        self._since = self.server_state.now
        self.body.begin()
        if not self.flow.write_paused:
            self._reader_watch.end()

    def _go_on_without_upgrade(self, rest: bytes) -> None:
        """Read a request that offers another protocol as if it did not, as RFC 9110 allows.

        The parser would skip its body. Java's own client offers HTTP/2 with each request.
        """
        method = self.parser.get_method()
        if method == b"CONNECT":
            self.refuse(bad_http("this server is no proxy"))
            return
        headers = [b"%b: %b\r\n" % pair for pair in self.headers if pair[0] != b"upgrade"]
        head = b"%b %b HTTP/1.1\r\n%b\r\n" % (method, self.url, b"".join(headers))
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(head + rest)

    def _check_body(self, now: float) -> None:
        if self.flow.read_paused:
            self._since = now
        elif now - self._since >= self._limits.transfer:
            self._since = now
            if not self.body.has_progressed():
                self.refuse(request_timeout("its body arrives too slowly"))

    def _answer_refusal(self, error: APIError) -> None:
        headers = [*self.server_state.default_headers, *self._cors_headers()]
        self.transport.write(rendered(error, headers))
        _log.info("a connection ends with %d %s", error.status, error.code)
        self._lingering.begin()

    def _cors_headers(self) -> Iterable[tuple[bytes, bytes]]:
        cors = self.server_state.cors
        return () if cors is None else cors.refusal_headers(self.headers or ())


def _address(transport: asyncio.Transport, which: str) -> tuple[str, int] | None:
    """Host and port of an end of a connection; None where it has none, as a Unix socket."""
    info = transport.get_extra_info(which)
    return (str(info[0]), int(info[1])) if isinstance(info, tuple) else None
