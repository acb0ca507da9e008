"""Completion by an upstream, in direct mode: bytes pass as they are, and are metered.

A project's whole answers are collected before they are sent, so that they are counted by then;
streams are counted before their last event leaves.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from shared.completion.client_disconnect import unless_disconnected
from shared.protocol.errors import APIError, model_not_permitted
from shared.protocol.sse import error_event
from shared.runtime.request_context import GenerationRecord, request_context
from shared.upstreams import errors
from shared.upstreams.errors import SERVED_BY
from shared.upstreams.headers import Headers, request_headers, response_headers
from shared.upstreams.usage_tap import UsageTap

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from shared.completion.metering import Meter
    from shared.runtime.state import ServerState
    from shared.upstreams.client import UpstreamClient
    from shared.upstreams.connection import Answer
    from shared.upstreams.request import UpstreamRequest

_LONGEST_USER = 512
_EVENT_ENDS = (b"\n\n", b"\r\n\r\n", b"\r\r")


class UpstreamCompletion(Response):
    """Completion of one request; the upstream is asked when the response is sent."""

    def __init__(
        self, state: ServerState, client: UpstreamClient, asked: UpstreamRequest, path: str
    ) -> None:
        """``path``: the upstream's, below its URL. Raises `APIError` 403 and 429."""
        self.background = None
        self.status_code = 200
        self._client = client
        self._asked = asked
        self._path = path
        self._context = context = request_context()
        if not context.caller.may_use((asked.name,)):
            raise model_not_permitted(asked.name)
        context.model = asked.name
        self._tap: UsageTap | None = None
        self._meter = self._new_meter(state)
        if self._meter is not None:
            self._meter.check()
        self._is_started = False
        self._is_stream = False
        self._tail = b"\n\n"
        """The last bytes of a stream, as if an event had ended before it."""

    @property
    def _secret(self) -> str | None:
        key = self._asked.upstream.key
        return None if key is None else key.get_secret_value()

    def _new_meter(self, state: ServerState) -> Meter | None:
        """The meter of a project's request; others have none, nor what importing it costs."""
        caller = self._context.caller
        if caller.holder is None:
            return None
        from shared.accounts.ledger.usage import Group
        from shared.completion.metering import Meter
        from shared.completion.upstream_tokens import UpstreamTokens

        self._tap = UsageTap()
        user = self._asked.data.get("user")
        is_user = isinstance(user, str) and 0 < len(user) <= _LONGEST_USER
        group = Group(
            key_id=caller.key_id,
            model=self._asked.name,
            tier="default",
            user=user if is_user else None,
        )
        return Meter.of(state, caller.holder, UpstreamTokens(self._asked.data, self._tap), group)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask the upstream and pass on its answer; raises `APIError` before the first byte."""
        meter = self._meter
        headers = request_headers(scope["headers"], self._secret)
        try:
            if meter is not None:
                await meter.reserve()
            work = asyncio.ensure_future(self._exchange(headers, send))
            await unless_disconnected(receive, work)
        except Exception as error:
            if meter is not None and isinstance(error, APIError) and not self._is_started:
                meter.forgive()
            raise
        finally:
            if meter is not None:
                await meter.abandon()

    async def _exchange(self, headers: Headers, send: Send) -> None:
        """One answer. An error after the first byte is a stream's last event.

        Where an event has begun, or the answer is no stream, the connection breaks off instead.
        """
        deadline = self._context.deadline
        end = None if deadline is None else deadline.end_of_generation
        try:
            async with self._client.exchange(self._asked, self._path, headers, end) as answer:
                await self._pass_on(answer, send)
        except APIError as error:
            if not self._is_started:
                raise
            self._context.error = error
            if not (self._is_stream and self._tail.endswith(_EVENT_ENDS)):
                raise
            await send({"type": "http.response.body", "body": error_event(error)})

    async def _pass_on(self, answer: Answer, send: Send) -> None:
        upstream = self._asked.upstream
        headers: Sequence[tuple[bytes, bytes]] = response_headers(answer.raw_headers, self._secret)
        own = {
            SERVED_BY: upstream.served_by,
            **({} if self._meter is None else self._meter.headers),
        }
        headers = [*headers, *((name.encode(), value.encode()) for name, value in own.items())]
        start = {"type": "http.response.start", "status": answer.status_code, "headers": headers}
        content_type = answer.headers.get("content-type", "").lower()
        self._is_stream = content_type.startswith("text/event-stream")
        is_collected = self._tap is not None and not self._is_stream
        started, size, parts = time.monotonic(), 0, list[bytes]()
        if not is_collected:
            await self._start(start, send)
        async for part in answer:
            size += len(part)
            if size > upstream.max_answer_size:
                raise errors.too_large(upstream)
            if is_collected:
                parts.append(part)
                continue
            if self._is_stream:
                self._tail = part[-4:] if len(part) >= 4 else (self._tail + part)[-4:]
                if self._tap is not None:
                    await self._tap.pass_on(part)
                    if self._tap.is_done:
                        await self._settle(started)
            await send({"type": "http.response.body", "body": part, "more_body": True})
        body = b"".join(parts)
        if is_collected and self._tap is not None:
            await asyncio.to_thread(self._tap.whole, body)
        await self._settle(started)
        if is_collected:
            await self._start(start, send)
        await send({"type": "http.response.body", "body": body})

    async def _start(self, start: dict[str, Any], send: Send) -> None:
        self._is_started = True
        await send(start)

    async def _settle(self, first_byte: float) -> None:
        """Count what the answer came to, once; raises `APIError` 503 where a budget needs it."""
        if self._meter is None or self._tap is None:
            return
        if self._tap.usage is not None:
            prompt, cached, completion = self._tap.usage
            self._context.generation = GenerationRecord(
                prompt_tokens=prompt,
                cached_tokens=cached,
                completion_tokens=completion,
                submitted=self._context.started,
                begun=self._context.started,
                first_token=first_byte,
                ended=time.monotonic(),
            )
        await self._meter.settle()
