"""Completion: a request of any dialect from validation to its last byte.

Prepare, submit, stream or whole, record, respond. It exists once, for all completions endpoints, so
that no way out of it can leave a generation behind that nobody reads: whatever is raised between
submitting and the last byte, the generation is cancelled. What can fail for what the caller sent
comes before.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Generic, Self

from starlette.requests import ClientDisconnect
from starlette.responses import Response

from shared.completion.answer_format import AnswerFormat, is_large
from shared.completion.client_disconnect import DisconnectWatch, KeepAliveTimer
from shared.completion.constraint import Before
from shared.completion.dialect import Dialect, RequestT
from shared.completion.headers import (
    DEADLINE_HEADER,
    DEADLINE_REACHED,
    NOT_STORED,
    ignored_header,
    raw_headers,
    stored_header,
)
from shared.completion.recorder import Recorder, recording_of
from shared.completion.refusals import refusal
from shared.completion.validation import validated
from shared.completion.verbose import verbose_answers
from shared.engine.types import (
    EngineError,
)
from shared.protocol.choices import Choice, collect, usages
from shared.protocol.errors import (
    APIError,
    invalid,
    server_error,
)
from shared.protocol.sse import HEADERS, KEEP_ALIVE, error_event
from shared.runtime.request_context import Inference, request_context

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from shared.completion.generated_tokens import GeneratedTokens
    from shared.completion.metering import Meter
    from shared.completion.recording import Recording
    from shared.engine.mailbox.generation import Generation
    from shared.engine.types import GenerationRequest
    from shared.runtime.served_model import ServedModel
    from shared.runtime.state import ServerState

_log = logging.getLogger("pilotlight.completions")

_EVENT_STREAM = raw_headers(HEADERS)
_JSON = (b"content-type", b"application/json")


class Completion(Response, Generic[RequestT]):
    """Completion of one request; the response generates when it is sent, and ends with it."""

    def __init__(
        self,
        state: ServerState,
        served: ServedModel,
        parsed: RequestT,
        dialect: type[Dialect[RequestT]],
    ) -> None:
        """Raises `APIError` 400, 403 or 404 for what the model or the deployment does not take."""
        self.background = None
        self.status_code = 200
        self._state = state
        self._served = served
        self._context = request_context()
        self._asked = validated(parsed, state, served, self._context.caller)
        self._dialect = dialect(self._asked, served, self._context, state.settings.max_content_size)
        self._requests: Sequence[GenerationRequest] = ()
        self._recording: Recording | None = None
        self._own_headers: dict[str, str] = {}
        self._meter: Meter | None = None
        self._tokens: GeneratedTokens | None = None
        self._format: AnswerFormat

    async def respond(self, receive: Receive) -> Self:
        """Do all that can fail for what the caller sent; raises `APIError` 400, 429 or 503.

        Returns the response, which submits when it is sent. What is cheap comes first: no
        constraint is compiled for a request that is refused anyway, nor for a client that has
        disconnected, which ``receive`` tells.
        """
        self._requests = await self._dialect.engine_requests()
        verbose = None
        if self._asked.verbose:
            verbose = await verbose_answers(self._dialect, self._requests)
        self._format = AnswerFormat(self._dialect, self._requests, verbose)
        self._context.model = self._served.name
        n_tokens = 0
        for request in self._requests:
            if not len(request.prompt):
                raise invalid("The prompt is empty: it has no tokens.", self._dialect.prompt_field)
            n_tokens += len(request.prompt)
        self._context.prompt_tokens = n_tokens
        self._meter = self._new_meter()
        if self._meter is not None:
            self._meter.check()
        constraint = await self._dialect.constraint(Before(self._check_room, receive))
        if constraint is not None:
            self._requests = [replace(each, constraint=constraint) for each in self._requests]
        dialect = self._dialect
        self._own_headers = await self._context.run(lambda: ignored_header(dialect.ignored_params))
        if self._asked.store:
            sampling = self._requests[0].sampling
            self._recording = recording_of(self._state, self._context, self._dialect, sampling)
        return self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Generate and send; raises `APIError` 400, 429 or 503 before the first byte."""
        meter = self._meter
        if meter is not None:
            meter.reserve_nonblocking()
        try:
            generation = self._submit()
            try:
                if meter is not None:
                    await meter.reserve()
                    self._own_headers |= meter.headers
                with DisconnectWatch(receive, generation.cancel, scope) as watch:
                    if self._asked.stream:
                        await self._send_events(generation, send)
                    else:
                        await self._send_whole(generation, watch, send)
            finally:
                generation.cancel()
                await self._written(generation)
        except Exception as error:
            is_answered = isinstance(error, ClientDisconnect) or self._asked.stream
            if meter is not None and (isinstance(error, APIError) or not is_answered):
                meter.forgive()
            raise
        finally:
            if meter is not None:
                await meter.abandon()

    async def _end_writes(self, generation: Generation, choices: Sequence[Choice]) -> None:
        """Have what is written of the prompt's state end before the answer, and count it there."""
        n_tokens = await self._written(generation)
        if n_tokens and choices[0].usage is not None:
            choices[0].usage = replace(choices[0].usage, cache_write_tokens=n_tokens)

    async def _written(self, generation: Generation) -> int:
        """Wait for such writes, until generation has to end; how many tokens were written."""
        deadline = self._context.deadline
        until = None if deadline is None else deadline.end_of_generation
        return await self._served.engine.end_writes(generation, until)

    def _submit(self) -> Generation:
        """Queue the requests; raises `APIError` 400, 429 or 503."""
        may_be_refused = self._meter is not None and not self._meter.has_reserved
        try:
            return self._served.engine.submit(
                *self._requests,
                tenant=self._context.caller.tenant,
                inline=self._state.has_one_request and not may_be_refused,
            )
        except EngineError as error:
            raise refusal(error, self._dialect, self._requests) from None

    def _new_meter(self) -> Meter | None:
        """The meter of a project's request; others have none, nor what importing it costs."""
        caller = self._context.caller
        if caller.holder is None:
            return None
        from shared.accounts.ledger.usage import Group
        from shared.completion.generated_tokens import GeneratedTokens
        from shared.completion.metering import Meter

        self._tokens = GeneratedTokens(self._requests, self._served.engine.window)
        group = Group(
            key_id=caller.key_id,
            model=self._served.name,
            tier=self._dialect.head.service_tier,
            user=self._asked.user,
        )
        return Meter.of(self._state, caller.holder, self._tokens, group)

    def _cost(self) -> float | None:
        """Dollars that the request has come to, where it has a price."""
        return None if self._meter is None else self._meter.cost

    def _shown_cost(self) -> float | None:
        """The same where answers tell it."""
        return self._cost() if self._state.settings.usage_cost else None

    def _trace(self, generation: Generation, choices: Sequence[Choice]) -> None:
        """Note for the request's trace what is generated, and ``choices`` as they will end."""
        if self._context.span is not None:
            self._context.inference = Inference(
                operation=self._dialect.operation,
                response_id=self._dialect.head.id,
                is_streamed=bool(self._asked.stream),
                seed=self._asked.seed,
                requests=self._requests,
                choices=choices,
                submitted=generation.submitted,
            )

    def _check_room(self) -> None:
        """Raise what `_submit` would raise now."""
        try:
            self._served.engine.check(*self._requests, tenant=self._context.caller.tenant)
        except EngineError as error:
            raise refusal(error, self._dialect, self._requests) from None

    def _recorder(self, generation: Generation, choices: list[Choice]) -> Recorder | None:
        if self._recording is None:
            return None
        return Recorder(self._recording, choices, generation)

    async def _send_whole(self, generation: Generation, watch: DisconnectWatch, send: Send) -> None:
        """One body, once all choices have ended; raises `ClientDisconnect` if nobody waits."""
        choices = self._format.new_choices()
        self._trace(generation, choices)
        while not generation.is_finished:
            outputs = await generation.receive()
            collect(choices, outputs)
            if self._tokens is not None:
                self._tokens.add(outputs)
        await self._end_writes(generation, choices)
        self._context.generated = (generation, usages(choices))
        self._context.stop = choices[0].stop
        is_unread = watch.is_disconnected and len(usages(choices)) < len(choices)
        headers = dict(self._own_headers)
        if generation.reached_deadline:
            headers |= DEADLINE_HEADER
        recorder = self._recorder(generation, choices)
        if recorder is not None:
            recorder.count_unfinished()
        elif is_unread:
            raise ClientDisconnect
        body = await self._format.body(choices, self._shown_cost())
        if self._meter is not None:
            await self._meter.settle()
        if recorder is not None:
            headers |= stored_header(await recorder.store(body, self._cost()))
        if is_unread:
            raise ClientDisconnect
        head = [*raw_headers(headers), (b"content-length", b"%d" % len(body)), _JSON]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": body})

    async def _send_events(self, generation: Generation, send: Send) -> None:
        """The events as they come, each part of the stream in one write."""
        head = [*_EVENT_STREAM, *raw_headers(self._own_headers)]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        async for event in self._events(generation):
            await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _events(self, generation: Generation) -> AsyncIterator[bytes]:
        """What a stream consists of; a failure becomes its last event.

        It is stored before the last event says that all is well, and also when the client has gone
        away or this server ends first.
        """
        stream = self._format.new_stream()
        self._trace(generation, stream.choices)
        recorder = self._recorder(generation, self._format.new_choices() if self._recording else [])
        try:
            if beginning := stream.begin():
                yield beginning
            with KeepAliveTimer(generation) as timer:
                while not generation.is_finished:
                    outputs = await generation.receive()
                    timer.is_quiet = not outputs
                    if self._tokens is not None:
                        self._tokens.add(outputs)
                    if recorder is not None:
                        recorder.add(outputs)
                    if is_large(outputs):
                        yield await self._context.on_thread(partial(stream.format, outputs))
                    else:
                        yield stream.format(outputs) if outputs else KEEP_ALIVE
            await self._end_writes(generation, stream.choices)
            self._context.generated = (generation, usages(stream.choices))
            self._context.stop = stream.choices[0].stop
            if generation.reached_deadline:
                yield DEADLINE_REACHED
            if self._meter is not None:
                await self._meter.settle()
            if recorder is not None and not await self._store(recorder):
                yield NOT_STORED
            yield stream.end(self._shown_cost())
        except APIError as error:
            self._context.error = error
            is_kept = recorder is not None and self._state.is_shutting_down
            if is_kept and recorder is not None and not await self._store(recorder):
                yield NOT_STORED
            yield error_event(error)
        except Exception:
            _log.exception("a stream failed")
            self._context.error = failure = server_error()
            yield error_event(failure)

    async def _store(self, recorder: Recorder) -> bool:
        """Write what a stream adds up to; False if the store can't."""
        recorder.count_unfinished()
        return await recorder.store(await self._format.body(recorder.choices), self._cost())
