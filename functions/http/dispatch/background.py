"""Running of responses in the background: a request that goes on without its client.

It is handled as any other, streamed, with a context of its own; what would be sent is kept. Who
cancels it is the client that goes away.
"""

from __future__ import annotations

import asyncio
import logging
import re
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
_EVENT_END = b"\n\n"
_WITH_RESPONSE = re.compile(rb'event: [a-z_.]+\ndata: \{"type":"response\.([a-z_]+)","response":')
"""The beginning of an event that has the whole response as it is then."""
_NUMBER = b',"sequence_number":'
"""What is behind that."""
_LAST_EVENT = (
    b'event: response.%b\ndata: {"type":"response.%b","response":%b,"sequence_number":%d}\n\n'
)
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
    if not fields.get("store"):
        raise invalid("'background' needs 'store': true, to be fetched.", "store")
    is_streamed = bool(fields.get("stream"))
    fields |= {"stream": True, "stream_options": {"include_usage": True}}
    completion_id = context.new_completion_id("chatcmpl")
    head = {"id": completion_id, "created": int(time.time()), "model": _model(state, translation)}
    queued, asked = await context.run(partial(_written, translation, head))
    response = BackgroundResponse(
        id=completion_id.replace("chatcmpl-", "resp_", 1),
        tenant=tenant,
        queued=queued,
        response=queued,
        status="queued",
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
            await self._fail(error)
        except ClientDisconnect:
            await self._end_by_cancellation()
        except Exception:
            _log.exception("response %s failed", response.id)
            await self._fail(server_error())
        finally:
            state.n_active -= 1
            background.end(response)
            context.end()
            seconds = time.monotonic() - context.started
            ended = (response.id, response.status, seconds, context.request_id)
            _log.info("response %s %s %.1f s %s", *ended)

    def _accept(self) -> None:
        if not self.accepted.done():
            self.accepted.set_result(None)

    async def _receive(self) -> Message:
        await self._response.wait_for_cancellation()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        """Take what a client would be sent: events, or the body of an error in their place."""
        self._accept()
        body = self._rest + message.get("body", b"")
        is_large = len(body) > INLINE_BYTES
        context = request_context.request_context()
        start = 0
        while True:
            cut = partial(_event, body, start)
            event, told = await context.on_thread(cut) if is_large else cut()
            if not event:
                break
            start += len(event)
            if told is not None:
                self._take(*told)
            if not event.startswith(b":"):
                self._response.add_event(event)
        self._rest = body[start:]
        is_end = message["type"] == "http.response.body" and not message.get("more_body")
        if is_end and self._rest.startswith(b"{"):  # an upstream's error, which was no stream
            failed = orjson.loads(self._rest).get("error") or {}
            message_of_it = str(failed.get("message") or "The request failed.")
            await self._fail(APIError(502, message_of_it))

    def _take(self, told: bytes, name: str) -> None:
        """Take the response that the event of ``name`` tells of."""
        response = self._response
        response.response = told
        response.status = response.fields.get("status", name) if name == "incomplete" else name

    async def _fail(self, error: APIError) -> None:
        if not self.accepted.done():
            self.accepted.set_exception(error)
            self._response.cancel()
            return
        await self._end("failed", failure(error.code, error.message))

    async def _end_by_cancellation(self) -> None:
        """With an upstream's model: what was there of the answer is in the store."""
        self._accept()
        await self._end("cancelled", None)

    async def _end(self, status: str, error: Mapping[str, Any] | None) -> None:
        response = self._response
        if response.status in _ENDED:
            return
        ended = partial(_with_end, response.response, status, error)
        response.response = await request_context.request_context().run(ended)
        response.status = status
        if response.events is not None:
            kind = b"failed" if status == "failed" else b"incomplete"
            told = (kind, kind, response.response, len(response.events))
            response.add_event(_LAST_EVENT % told)


def _written(translation: BackgroundTranslation, head: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """JSON of the response before it runs, and of what its input became."""
    fields = translation.request.fields
    asked = {name: fields[name] for name in _INPUT if name in fields}
    return orjson.dumps({**translation.begun(head), "status": "queued"}), orjson.dumps(asked)


def _with_end(response: bytes, status: str, error: Mapping[str, Any] | None) -> bytes:
    """A response's JSON, ended like that."""
    return orjson.dumps({**orjson.loads(response), "status": status, "error": error})


def _event(body: bytes, start: int) -> tuple[bytes, tuple[bytes, str] | None]:
    """A stream's next event or comment, the response in it and what it is named after.

    Nothing where it is not all there yet.

    JSON with many log probabilities is not read: that is one call, which holds the interpreter for
    0.1 s where 4,000 tokens have 20 each.
    """
    end = body.find(_EVENT_END, start) + len(_EVENT_END)
    if end < start + len(_EVENT_END):
        return b"", None
    found = _WITH_RESPONSE.match(body, start, end)
    if found is None:
        return body[start:end], None
    response = body[found.end() : body.rindex(_NUMBER, start, end)]
    return body[start:end], (response, found[1].decode())
