"""The way of a completion from the queue to its last byte: submit, stream or whole, record.

It exists once, for all completions endpoints, so that no way out of it can leave a generation
behind that nobody reads: whatever is raised here, the generation is cancelled. What can fail for
what the caller sent comes before, in the endpoint.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from starlette.requests import ClientDisconnect
from starlette.responses import Response

from shared.completion.deadline import DEADLINE_REACHED, deadline_header
from shared.completion.hang_ups import DisconnectWatch, outputs_or_keep_alive
from shared.completion.preparation import submit
from shared.completion.recorder import (
    INLINE_SCORES,
    NOT_STORED,
    BodyOf,
    Recorder,
    Recording,
    formatted,
    stored_header,
)
from shared.protocol.choices import Choice, collect, new_plain_choice, usages
from shared.protocol.errors import APIError, server_error
from shared.protocol.sse import HEADERS, KEEP_ALIVE, error_event
from shared.runtime.request_context import note_error

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from shared.engine.generation import Generation
    from shared.engine.types import GenerationRequest, Output, SequenceUsage
    from shared.runtime.served_model import ServedModel
    from shared.runtime.state import ServerState

_log = logging.getLogger("pilotlight.completions")


class CompletionStream(Protocol):
    """A formatter of chunks: `ChatStream` or `TextStream`."""

    def begin(self) -> bytes:
        """What comes before the first output."""

    def format(self, outputs: Sequence[Output]) -> bytes:
        """The events for ``outputs``; raises `APIError` when the engine failed."""

    def usages(self) -> list[SequenceUsage]:
        """What the finished choices cost."""

    def end(self) -> bytes:
        """What comes after the last output."""


class CompletionResponse(Response):
    """A completion's response. The generation begins when it is sent, and ends with it."""

    def __init__(
        self,
        state: ServerState,
        served: ServedModel,
        requests: Sequence[GenerationRequest],
        *,
        param: str,
        tenant: str,
        headers: Mapping[str, str],
        body_of: BodyOf,
        stream: CompletionStream | None = None,
        new_choice: Callable[[int], Choice] = new_plain_choice,
        recording: Recording | None = None,
    ) -> None:
        """What is to be generated, and how it is shown and kept.

        - ``requests``: one for each prompt; ``param`` names the prompts' field in errors.
        - ``tenant``: whose they are.
        - ``headers``: beside those that say how the request went.
        - ``body_of``: the whole answer's JSON, from all choices.
        - ``stream``: formats the events, None for one whole answer.
        - ``new_choice``: makes what gathers a choice's outputs, by its index.
        - ``recording``: what is kept of the completion beside the answer, None to keep nothing.
        """
        self.background = None
        self.status_code = 200
        self._state = state
        self._served = served
        self._requests = requests
        self._param = param
        self._tenant = tenant
        self._more_headers = headers
        self._body_of = body_of
        self._stream = stream
        self._new_choice = new_choice
        self._recording = recording

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Generate and send; raises `APIError` 400, 429 or 503 before the first byte."""
        generation = submit(self._served, self._requests, self._param, self._tenant)
        try:
            with DisconnectWatch(receive, generation.cancel) as watch:
                if self._stream is None:
                    response = await self._whole(generation, watch)
                    await response(scope, receive, send)
                else:
                    await self._send_events(generation, self._stream, send)
        finally:
            generation.cancel()

    def _new_choices(self) -> list[Choice]:
        return [self._new_choice(i) for i in range(sum(request.n for request in self._requests))]

    def _recorder(self, generation: Generation, choices: list[Choice]) -> Recorder | None:
        if self._recording is None:
            return None
        return Recorder(self._state, self._recording, choices, self._body_of, generation)

    async def _whole(self, generation: Generation, watch: DisconnectWatch) -> Response:
        """One body, once all choices have ended; raises `ClientDisconnect` if nobody waits."""
        choices = self._new_choices()
        async for outputs in generation:
            collect(choices, outputs)
        self._state.metrics.observe(generation, usages(choices))
        is_unread = watch.is_disconnected and len(usages(choices)) < len(choices)
        headers = dict(self._more_headers)
        if generation.reached_deadline:
            headers |= deadline_header()
        if recorder := self._recorder(generation, choices):
            headers |= stored_header(await recorder.store())
        if is_unread:
            raise ClientDisconnect
        body = await formatted(self._body_of, choices)
        return Response(body, media_type="application/json", headers=headers)

    async def _send_events(
        self, generation: Generation, stream: CompletionStream, send: Send
    ) -> None:
        """The events as they come, each part of the stream in one write."""
        self.init_headers({**HEADERS, **self._more_headers})
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        async for event in self._events(generation, stream):
            await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _events(
        self, generation: Generation, stream: CompletionStream
    ) -> AsyncIterator[bytes]:
        """What a stream consists of; a failure becomes its last event.

        It is stored before the last event says that all is well, and also when the client has hung
        up or this server ends first.
        """
        recorder = self._recorder(generation, self._new_choices() if self._recording else [])
        try:
            if beginning := stream.begin():
                yield beginning
            async for outputs in outputs_or_keep_alive(generation):
                if recorder is not None:
                    recorder.add(outputs)
                if sum(len(output.prompt_logprobs) for output in outputs) > INLINE_SCORES:
                    yield await asyncio.to_thread(stream.format, outputs)
                else:
                    yield stream.format(outputs) if outputs else KEEP_ALIVE
            self._state.metrics.observe(generation, stream.usages())
            if generation.reached_deadline:
                yield DEADLINE_REACHED
            if recorder is not None and not await recorder.store():
                yield NOT_STORED
            yield stream.end()
        except APIError as error:
            note_error(error)
            if recorder is not None and self._state.is_draining and not await recorder.store():
                yield NOT_STORED
            yield error_event(error)
        except Exception:
            _log.exception("a stream failed")
            failure = server_error()
            note_error(failure)
            yield error_event(failure)
