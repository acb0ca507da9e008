"""Running of responses in the background: a request that goes on without its client.

It is handled as any other, streamed, with a context of its own; what would be sent is kept. Who
cancels it is the client that goes away.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import StreamingResponse

from functions.http.dispatch.translation import INLINE_BYTES, Translation, response_of
from shared.completion.client_disconnect import KEEP_ALIVE_SECONDS
from shared.protocol.errors import APIError, invalid, server_error
from shared.protocol.openai.responses.answer import failure
from shared.protocol.sse import HEADERS, KEEP_ALIVE
from shared.runtime import request_context
from shared.runtime.background_responses import BackgroundResponse, BackgroundResponses
from shared.runtime.request_context import RequestContext

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message

    from shared.protocol.openai.responses.requests import ResponsesRequest
    from shared.runtime.state import ServerState

_log = logging.getLogger("pilotlight.background")

_INPUT = ("messages", "tools")
"""Fields of the request that tell what the input was."""
_ENDED = ("completed", "incomplete", "failed", "cancelled")


class BackgroundTranslation(Translation, Protocol):
    """`Translation` of a response."""

    @property
    def stored_fields(self) -> dict[str, Any]:
        """What is stored with the chat completion, to show the answer again."""

    def begun(self, chunk: Mapping[str, Any]) -> dict[str, Any]:
        """The response before anything of it is there."""


async def begin_in_background(
    request: Request,
    state: ServerState,
    background: BackgroundResponses,
    translate: Callable[[], BackgroundTranslation],
    create_chat_completion: Callable[[Request], Awaitable[ASGIApp]],
) -> BackgroundResponse:
    """Begin a response, and return it when it can't be refused any longer; raises `APIError`."""
    context = request_context.request_context()
    tenant = context.caller.tenant
    background.check(tenant)
    translation = await context.run(translate)
    fields = translation.request.fields
    asked = await context.run(
        lambda: orjson.dumps({name: fields[name] for name in _INPUT if name in fields})
    )
    if not fields.get("store"):
        raise invalid("'background' needs 'store': true, to be fetched.", "store")
    is_streamed = bool(fields.get("stream"))
    fields |= {"stream": True, "stream_options": {"include_usage": True}}
    completion_id = context.new_completion_id("chatcmpl")
    head = {"id": completion_id, "created": int(time.time()), "model": _model(state, translation)}
    queued = {**translation.begun(head), "status": "queued"}
    response = BackgroundResponse(
        id=completion_id.replace("chatcmpl-", "resp_", 1),
        tenant=tenant,
        queued=queued,
        response=queued,
        fields=translation.stored_fields,
        asked=asked,
        events=[] if is_streamed else None,
    )
    run = _Run(request, state, translation, create_chat_completion, response)
    background.begin(response)
    response.task = asyncio.create_task(run.run(context, completion_id, background))
    await run.accepted
    return response


def background_of(state: ServerState, asked: ResponsesRequest) -> BackgroundResponses:
    """Where responses run in the background; raises `APIError` 400 where they can't."""
    why = None
    name = state.settings.served_names[0] if asked.model is None else asked.model
    upstream = state.settings.upstreams.get(name)
    if state.background is None:
        why = "this server may end between two requests, or get only some of them"
    elif not state.background.is_open:
        why = "the server's setting background_responses is 0"
    elif state.settings.store == "none":
        why = "this server stores no responses"
    elif upstream is not None and upstream.mode == "direct":
        why = "answers of this model, which somebody else serves in direct mode, are not stored"
    if why is not None or state.background is None:
        raise invalid(
            f"'background' is not supported here: {why}. Leave it out, and take the answer as it "
            "comes, say with 'stream'.",
            "background",
            "unsupported_parameter",
        )
    return state.background


def event_response(response: BackgroundResponse, after: int = -1) -> StreamingResponse:
    """Its events behind the one of the number ``after``, as they come."""

    async def events() -> AsyncIterator[bytes]:
        async for found in response.read(after, KEEP_ALIVE_SECONDS):
            yield b"".join(found) or KEEP_ALIVE

    return StreamingResponse(events(), headers=HEADERS)


def _model(state: ServerState, translation: Translation) -> str:
    """The name that the answer will have for the model."""
    asked = translation.request.fields.get("model")
    own = None if asked is None else state.models.get(asked)
    if own is not None or asked is None:
        return (own or state.models.default).name
    return str(asked)


class _Run:
    """One response that runs: ASGI's ``receive`` and ``send`` without a client."""

    def __init__(
        self,
        request: Request,
        state: ServerState,
        translation: BackgroundTranslation,
        create_chat_completion: Callable[[Request], Awaitable[ASGIApp]],
        response: BackgroundResponse,
    ) -> None:
        # Extensions tell of the client, which may go away: who cancels it is told by `_receive`.
        self._request = Request({**request.scope, "extensions": {}}, self._receive)
        self._state = state
        self._translation = translation
        self._create_chat_completion = create_chat_completion
        self._response = response
        self._rest = b""
        self.accepted: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(
        self, asked: RequestContext, completion_id: str, background: BackgroundResponses
    ) -> None:
        """Run to the end; what goes wrong becomes the response's failure."""
        response, state = self._response, self._state
        context = request_context.begin(asked.request_id, asked.method)
        context.caller, context.completion_id = asked.caller, completion_id
        context.is_large = asked.is_large
        state.n_active += 1  # a shutdown waits for it
        try:
            made = await response_of(self._request, self._translation, self._create_chat_completion)
            if context.served_by is not None:  # it begins when the upstream does, which may be long
                self._accept()
            await made(self._request.scope, self._receive, self._send)
        except APIError as error:
            self._fail(error)
        except ClientDisconnect:
            self._end_by_cancellation()
        except Exception:
            _log.exception("response %s failed", response.id)
            self._fail(server_error())
        finally:
            state.n_active -= 1
            background.end(response)
            context.end()
            status = response.response["status"]
            seconds = time.monotonic() - context.started
            _log.info("response %s %s %.1f s %s", response.id, status, seconds, context.request_id)

    def _accept(self) -> None:
        if not self.accepted.done():
            self.accepted.set_result(None)

    async def _receive(self) -> Message:
        await self._response.wait_for_cancellation()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        """Take what a client would be sent: events, or the body of an error in their place."""
        self._accept()
        body = message.get("body", b"")
        *events, self._rest = (self._rest + body).split(b"\n\n")
        is_large = len(body) > INLINE_BYTES
        context = request_context.request_context()
        for event in events:
            told = await context.on_thread(partial(_told, event)) if is_large else _told(event)
            self._take(event + b"\n\n", told)
        is_end = message["type"] == "http.response.body" and not message.get("more_body")
        if is_end and self._rest.startswith(b"{"):  # an upstream's error, which was no stream
            told = orjson.loads(self._rest).get("error") or {}
            message_of_it = str(told.get("message") or "The request failed.")
            self._fail(APIError(502, message_of_it))

    def _take(self, event: bytes, told: Mapping[str, Any] | None) -> None:
        if told is None:
            return  # a comment
        if "response" in told:
            self._response.response = told["response"]
        self._response.add_event(event)

    def _fail(self, error: APIError) -> None:
        if not self.accepted.done():
            self.accepted.set_exception(error)
            self._response.cancel()
            return
        self._end("failed", failure(error.code, error.message))

    def _end_by_cancellation(self) -> None:
        """With an upstream's model: what was there of the answer is in the store."""
        self._accept()
        self._end("cancelled", None)

    def _end(self, status: str, error: Mapping[str, Any] | None) -> None:
        response = self._response
        if response.response["status"] in _ENDED:
            return
        response.response = {**response.response, "status": status, "error": error}
        if response.events is not None:
            kind = "failed" if status == "failed" else "incomplete"
            told = {"type": f"response.{kind}", "response": response.response}
            data = orjson.dumps({**told, "sequence_number": len(response.events)})
            response.add_event(b"event: response.%b\ndata: %b\n\n" % (kind.encode(), data))


def _told(event: bytes) -> dict[str, Any] | None:
    """The data of an event; None of a comment."""
    data = next((line for line in event.split(b"\n") if line.startswith(b"data:")), None)
    return None if data is None else orjson.loads(data.removeprefix(b"data:"))
