"""Completion by an upstream, in direct mode: bytes pass as they are, and are metered.

A project's whole answers are collected before they are sent, so that they are counted by then;
streams are counted before their last event leaves.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from shared.completion.upstreams.exchange import UpstreamExchange
from shared.protocol.errors import APIError
from shared.protocol.sse import error_event
from shared.upstreams import errors
from shared.upstreams.headers import request_headers, response_headers
from shared.upstreams.usage_tap import UsageTap

if TYPE_CHECKING:
    from starlette.types import Scope, Send

    from shared.runtime.state import ServerState
    from shared.upstreams.client import UpstreamClient
    from shared.upstreams.connection import Answer
    from shared.upstreams.request import UpstreamRequest

_LONGEST_USER = 512
_EVENT_ENDS = (b"\n\n", b"\r\n\r\n", b"\r\r")


class DirectCompletion(UpstreamExchange):
    """Completion of one request."""

    def __init__(
        self, state: ServerState, client: UpstreamClient, asked: UpstreamRequest, path: str
    ) -> None:
        """``path``: the upstream's, below its URL. Raises `APIError` 403 and 429."""
        super().__init__(state, client, asked)
        self._path = path
        self._tap: UsageTap | None = None
        if self._context.caller.holder is not None:
            self._tap = UsageTap()
            user = asked.data.get("user")
            is_user = isinstance(user, str) and 0 < len(user) <= _LONGEST_USER
            self._meter_by(asked.data, self._tap, tier="default", user=user if is_user else None)
        self._is_stream = False
        self._tail = b"\n\n"
        """The last bytes of a stream, as if an event had ended before it."""

    @property
    def _secret(self) -> str | None:
        key = self._asked.upstream.key
        return None if key is None else key.get_secret_value()

    async def _exchange(self, scope: Scope, send: Send) -> None:
        """One answer. An error after the first byte is a stream's last event.

        Where an event has begun, or the answer is no stream, the connection breaks off instead.
        """
        headers = request_headers(scope["headers"], self._secret)
        exchange = self._client.exchange(
            self._asked, self._path, headers, self._end, self._context.begin_by
        )
        try:
            async with exchange as answer:
                await self._pass_on(answer, send)
        except APIError as error:
            if not self._is_started:
                raise
            self._context.error = error
            if not (self._is_stream and self._tail.endswith(_EVENT_ENDS)):
                raise
            if self._meter is not None:
                await self._meter.abandon()  # before a function may be frozen
            await send({"type": "http.response.body", "body": error_event(error)})

    async def _pass_on(self, answer: Answer, send: Send) -> None:
        upstream = self._asked.upstream
        headers: Sequence[tuple[bytes, bytes]] = response_headers(answer.raw_headers, self._secret)
        own = self._own_headers.items()
        headers = [*headers, *((name.encode(), value.encode()) for name, value in own)]
        start = {"type": "http.response.start", "status": answer.status_code, "headers": headers}
        content_type = answer.headers.get("content-type", "").lower()
        self._is_stream = content_type.startswith("text/event-stream")
        is_collected = self._tap is not None and not self._is_stream
        started, size, parts = time.monotonic(), 0, list[bytes]()
        if not is_collected:
            answer.commit()
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
                        await self._settle(started, self._counted)
            await send({"type": "http.response.body", "body": part, "more_body": True})
        body = b"".join(parts)
        if is_collected and self._tap is not None:
            await asyncio.to_thread(self._tap.whole, body)
        await self._settle(started, self._counted)
        if is_collected:
            await self._start(start, send)
        await send({"type": "http.response.body", "body": body})

    @property
    def _counted(self) -> tuple[int, int, int] | None:
        return None if self._tap is None else self._tap.usage

    async def _start(self, start: dict[str, Any], send: Send) -> None:
        self._is_started = True
        await send(start)
