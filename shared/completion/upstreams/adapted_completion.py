"""Completion by an upstream, in adapter mode: validated, translated, stored as a model's here is.

The upstream's stream begins the answer: what goes wrong before has a status, what goes wrong later
is an event. Where it is silent for 15 seconds the answer begins with a comment instead.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Self

import orjson
from starlette.requests import ClientDisconnect

from shared.completion.client_disconnect import QuietTimer
from shared.completion.headers import NOT_STORED, ignored_header, stored_header
from shared.completion.recording import SAMPLED, Recording
from shared.completion.upstreams.adapted_answer import AdaptedAnswer
from shared.completion.upstreams.adapted_request import AdaptedRequest, ParsedRequest, adapted
from shared.completion.upstreams.exchange import UpstreamExchange
from shared.protocol.errors import APIError, server_error
from shared.protocol.sse import HEADERS, KEEP_ALIVE, error_event
from shared.runtime.request_context import UpstreamInference
from shared.upstreams import errors
from shared.upstreams.answer_bytes import bounded, slices
from shared.upstreams.connection import BrokenConnectionError
from shared.upstreams.dialects.selection import dialect_of
from shared.upstreams.usage_tap import estimated_prompt

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from shared.runtime.state import ServerState
    from shared.upstreams.client import UpstreamClient
    from shared.upstreams.connection import Answer
    from shared.upstreams.dialects.dialect import AnswerPart, WireRequest
    from shared.upstreams.request import UpstreamRequest

_log = logging.getLogger("pilotlight.completions")

_PREFIXES = {"chat": "chatcmpl", "text": "cmpl"}
_PROVIDERS = {"openai": "openai", "anthropic": "anthropic", "bedrock": "aws.bedrock"}
"""Dialects' names in OpenTelemetry's conventions."""
_CONTENT_HEADERS = [
    (b"content-type", b"application/json"),
    (b"accept-encoding", b"identity"),
    (b"user-agent", b"pilotlight"),
]
_INLINE_BYTES = 2**16
"""A larger answer takes milliseconds to read and to write: on a thread."""
_DRAIN_SECONDS = 0.1
"""For the end of a stream that has said it is complete, so that its connection can be kept."""


class AdaptedCompletion(UpstreamExchange):
    """Completion of one request."""

    def __init__(
        self,
        state: ServerState,
        client: UpstreamClient,
        asked: UpstreamRequest,
        parsed: ParsedRequest,
    ) -> None:
        """Raises `APIError` 403 for a model that the caller may not use."""
        super().__init__(state, client, asked)
        self._parsed = parsed
        self._request: AdaptedRequest
        self._wire: WireRequest
        self._answer: AdaptedAnswer
        self._dialect = dialect_of(asked.name, asked.upstream)
        self._recording: Recording | None = None
        self._finishing: asyncio.Task[bool] | None = None
        self._first_part = 0.0
        self._quiet: QuietTimer | None = None
        self._sending = asyncio.Lock()
        self._is_ended = False
        self._ignored: dict[str, str] = {}

    async def respond(self) -> Self:
        """Do all that can fail for what the caller sent; raises `APIError` 400 or 429."""
        context, state, name = self._context, self._state, self._asked.name
        native = self._asked.native

        def prepare() -> tuple[AdaptedRequest, WireRequest, int, dict[str, str]]:
            request = adapted(self._parsed, state, context)
            wire = self._dialect.request(request.endpoint, {**request.fields, **native})
            estimate = estimated_prompt(request.fields)
            return request, wire, estimate, ignored_header(request.ignored)

        self._request, self._wire, estimate, self._ignored = await context.run(prepare)
        request = self._request
        self._reader = self._dialect.reader(request.endpoint)
        completion_id = context.new_completion_id(_PREFIXES[request.endpoint])
        created = int(time.time())
        self._answer = AdaptedAnswer(
            request,
            self._asked.upstream,
            self._reader,
            completion_id=completion_id,
            created=created,
            model=name,
            prompt_estimate=estimate,
        )
        asked = request.asked
        self._trace(completion_id)
        metered = {"max_tokens": self._dialect.default_max_tokens, **request.fields}
        self._meter_by(metered, self._answer, tier=request.tier, user=asked.user)
        if asked.store:
            self._recording = Recording.of(
                state,
                context,
                asked,
                completion_id=completion_id,
                kind=request.endpoint,
                created=created,
                model=name,
                sampled=asked.model_dump(include=set(SAMPLED), exclude_none=True),
                served_by=self._asked.upstream.served_by,
            )
        return self

    def _trace(self, completion_id: str) -> None:
        """Note for the request's trace what is asked for."""
        request = self._request
        if self._context.span is not None:
            self._context.inference = UpstreamInference(
                operation="chat" if request.endpoint == "chat" else "text_completion",
                provider=_PROVIDERS[self._asked.upstream.dialect],
                response_id=completion_id,
                is_streamed=bool(request.asked.stream),
                fields=request.fields,
                finish_reasons=self._answer.finish_reasons,
                submitted=time.monotonic(),
            )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask the upstream and send its answer; raises `APIError` before the first byte."""
        try:
            await super().__call__(scope, receive, send)
        except ClientDisconnect:
            if self._finishing is not None:
                with suppress(APIError):  # it is in the log
                    await self._finishing
            elif self._recording is not None and self._answer.has_begun:
                await self._store(is_incomplete=True)
            raise

    async def _exchange(self, scope: Scope, send: Send) -> None:  # noqa: ARG002
        """One answer. An error after the first byte is a stream's last event."""
        wire = await self._dialect.authorized(self._wire)
        asked = replace(self._asked, body=wire.body)
        headers = [*wire.headers, *_CONTENT_HEADERS]
        begin_by = self._context.begin_by
        exchange = self._client.exchange(asked, wire.path, headers, self._end, begin_by)
        if not self._request.asked.stream:
            async with exchange as answer:
                parts = await self._whole(answer)
            await self._send_whole(parts, send)
            return
        if begin_by is None:  # else another model may be asked, until something has been sent
            self._keep_alive(send)
        try:
            async with exchange as answer:
                await self._stream(answer, send)
            # Behind the exchange, whose time ends before that of storing.
            is_stored = await self._finish()
            end = b"" if is_stored else NOT_STORED
            await self._send(send, end + self._answer.end(self._shown_cost()), is_end=True)
        except APIError as error:
            if not self._is_started:
                raise
            await self._send_error(error, send)
        except Exception:
            if not self._is_started:
                raise
            _log.exception("a stream failed")
            await self._send_error(server_error(), send)
        finally:
            if self._quiet is not None:
                self._quiet.cancel()
        await send({"type": "http.response.body", "body": b""})

    def _keep_alive(self, send: Send) -> None:
        """Send a comment wherever nothing comes for 15 seconds."""
        if self._quiet is None:
            self._quiet = QuietTimer(lambda: self._send(send, KEEP_ALIVE))

    async def _whole(self, answer: Answer) -> list[AnswerPart]:
        """The parts of an answer that is no stream."""
        self._first_part = time.monotonic()
        body = b"".join([part async for part in bounded(aiter(answer), self._asked.upstream)])
        if len(body) <= _INLINE_BYTES:
            return self._reader.whole(body)
        return await asyncio.to_thread(self._reader.whole, body)

    async def _send_whole(self, parts: list[AnswerPart], send: Send) -> None:
        for part in parts:
            self._answer.add(part)
        is_stored = await self._finish()
        headers = {**self._own_headers, **self._ignored}
        if self._recording is not None:
            headers |= stored_header(is_stored)
        self.media_type = "application/json"
        answer = self._answer.body(self._shown_cost())
        if self._answer.n_bytes > _INLINE_BYTES:
            self.body = await asyncio.to_thread(orjson.dumps, answer)
        else:
            self.body = orjson.dumps(answer)
        self.init_headers(headers)
        self._is_started = True
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        await send({"type": "http.response.body", "body": self.body})

    async def _stream(self, answer: Answer, send: Send) -> None:
        """The chunks as they come; raises `UpstreamError` for an answer that breaks off."""
        parts = bounded(aiter(answer), self._asked.upstream)
        async for data in slices(parts):
            events, error = self._events(data)
            if events:
                if not self._first_part:
                    self._first_part = time.monotonic()
                    answer.commit()
                    self._keep_alive(send)
                await self._send(send, events)
            if error is not None:
                raise error
            if self._reader.is_done:
                break
        else:
            raise errors.incomplete(self._asked.upstream)
        # What is complete stays so, however the connection ends.
        with suppress(OSError, BrokenConnectionError, APIError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                async for _ in parts:
                    pass

    def _events(self, data: bytes) -> tuple[bytes, APIError | None]:
        """The chunks for the next bytes of a stream, and what is wrong with it behind them."""
        chunks = bytearray()
        try:
            for part in self._reader.feed(data):
                chunks += self._answer.events(part)
        except APIError as error:
            return bytes(chunks), error
        return bytes(chunks), self._reader.error

    async def _send(self, send: Send, events: bytes, *, is_end: bool = False) -> None:
        """Send a part of a stream, its head first; nothing after the end."""
        if self._quiet is not None:
            self._quiet.is_quiet = False
        async with self._sending:
            if self._is_ended:
                return
            self._is_ended = is_end
            if not self._is_started:
                self._is_started = True
                self.init_headers({**HEADERS, **self._own_headers, **self._ignored})
                head = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
                await send(head)
            await send({"type": "http.response.body", "body": events, "more_body": True})

    async def _send_error(self, error: APIError, send: Send) -> None:
        """The last event of a stream that failed. Where nothing of it has come nobody pays."""
        self._context.error = error
        if self._meter is not None:
            if not self._answer.has_begun:
                self._meter.forgive()
            await self._meter.abandon()  # before a function may be frozen
        end = b""
        if self._recording is not None and self._state.is_shutting_down and self._answer.has_begun:
            end = b"" if await self._store(is_incomplete=True) else NOT_STORED
        await self._send(send, end + error_event(error), is_end=True)

    async def _finish(self) -> bool:
        """Settle and store a complete answer, also if the client disconnects meanwhile.

        False where it was to be stored and is not. Raises `APIError` 503 where a budget needs it.
        """
        self._finishing = asyncio.create_task(self._finished())
        return await asyncio.shield(self._finishing)

    async def _finished(self) -> bool:
        await self._settle(self._first_part or time.monotonic(), self._answer.counted)
        return await self._store(is_incomplete=False)

    async def _store(self, *, is_incomplete: bool) -> bool:
        if self._recording is None:
            return True
        cost = self._cost()
        timings = {"total_seconds": time.monotonic() - self._context.started}
        answer = partial(self._answer.body, cost)
        return await self._recording.store(answer, timings, cost=cost, is_incomplete=is_incomplete)

    def _cost(self) -> float | None:
        """Dollars that the request has come to, where it has a price."""
        return None if self._meter is None else self._meter.cost

    def _shown_cost(self) -> float | None:
        """The same where answers tell it."""
        return self._cost() if self._state.settings.usage_cost else None
