"""Translation of another dialect to chat completions and back, around whoever answers these.

A request is written anew as one for a chat completion, and goes the way of all of them: validation,
upstreams and stand-ins, limits, the store. What comes back is written anew on its way to the
client. Nothing of that costs those who speak OpenAI's dialect anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import orjson
from starlette.requests import Request
from starlette.responses import Response

from functions.http.request_body import BodyT, read_json, validated
from shared.protocol.sse import KEEP_ALIVE
from shared.runtime.request_context import request_context

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from shared.runtime.state import ServerState

_INLINE_BYTES = 2**13
_ENCODED = (b"accept-encoding", b"content-encoding", b"content-length", b"transfer-encoding")
"""Headers that are not true of, or not wanted for, what is written anew."""
_DONE = b"[DONE]"


class StreamTranslation(Protocol):
    """Formatter of a stream, from the chunks of a chat completion's."""

    def chunk(self, chunk: Mapping[str, Any]) -> bytes:
        """The events for a chunk, or for an error in its place."""

    def comment(self) -> bytes:
        """The event that keeps the connection open."""

    def end(self) -> bytes:
        """The events at the end."""

    def fail(self, message: str) -> bytes:
        """The last event of a stream that can't go on; nothing where it has ended."""


class Translation(Protocol):
    """Formatter of an answer, from a chat completion."""

    def whole(self, completion: Mapping[str, Any]) -> Mapping[str, Any]:
        """The answer's JSON."""

    def stream(self) -> StreamTranslation:
        """A new formatter of a stream."""

    def error(self, status: int, body: Mapping[str, Any], request_id: str) -> Mapping[str, Any]:
        """The envelope of an error, from OpenAI's."""


async def read_as(request: Request, state: ServerState, schema: type[BodyT]) -> BodyT:
    """The body as ``schema`` has it; raises `APIError`. It is read once."""
    return await read_json(request, state, lambda data, _: validated(schema, data))


async def translated_request(
    request: Request, translate: Callable[[], Mapping[str, Any]]
) -> Request:
    """The request with another body, which ``translate`` makes; raises what that raises."""
    body = await request_context().run(lambda: orjson.dumps(translate()))
    headers = [each for each in request.scope["headers"] if each[0] not in _ENCODED]
    is_read = False

    async def receive() -> Message:
        nonlocal is_read
        if is_read:
            return await request.receive()
        is_read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return Request({**request.scope, "headers": headers}, receive)


class TranslatedResponse(Response):
    """A response whose chat completion is written in another dialect."""

    def __init__(self, response: ASGIApp, translation: Translation) -> None:
        self.background = None
        self._response = response
        self._translation = translation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response (ASGI 3)."""
        await self._response(scope, receive, _Sender(send, self._translation))


class _Sender:
    """ASGI's ``send`` for a chat completion, which sends the translation."""

    def __init__(self, send: Send, translation: Translation) -> None:
        self._send = send
        self._translation = translation
        self._start: Message = {}
        self._stream: StreamTranslation | None = None
        self._body = bytearray()
        """What is not translated yet: of a whole answer all, of a stream its last line."""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._begin(message)
            return
        body, is_end = message.get("body", b""), not message.get("more_body")
        if self._stream is None:
            self._body += body
            if is_end:
                await self._send_whole()
            return
        events = self._translated(body, self._stream)
        if is_end:
            events += self._stream.fail("The answer broke off.")
        if events or is_end:
            sent = {"type": "http.response.body", "body": events, "more_body": not is_end}
            await self._send(sent)

    async def _begin(self, message: Message) -> None:
        headers = dict(message["headers"])
        if headers.get(b"content-type", b"").startswith(b"text/event-stream"):
            self._stream = self._translation.stream()
            await self._send(message)
        else:
            self._start = message

    async def _send_whole(self) -> None:
        context = request_context()
        if len(self._body) > _INLINE_BYTES:
            body = await context.on_thread(self._whole)
        else:
            body = self._whole()
        headers = [each for each in self._start["headers"] if each[0] not in _ENCODED]
        headers.append((b"content-length", b"%d" % len(body)))
        await self._send({**self._start, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    def _whole(self) -> bytes:
        status = self._start["status"]
        try:
            data = orjson.loads(self._body)
        except orjson.JSONDecodeError:
            data = None
        if status == 200 and isinstance(data, dict):
            return orjson.dumps(self._translation.whole(data))
        error = data if isinstance(data, dict) else {}
        request_id = request_context().request_id
        return orjson.dumps(self._translation.error(status, error, request_id))

    def _translated(self, data: bytes, stream: StreamTranslation) -> bytes:
        """The events for the next bytes of a stream, which may end in the middle of a line."""
        *lines, rest = data.split(b"\n")
        if not lines:
            self._body += rest
            return b""
        lines[0] = bytes(self._body) + lines[0]
        self._body = bytearray(rest)
        return b"".join(_event(line.rstrip(b"\r"), stream) for line in lines)


def _event(line: bytes, stream: StreamTranslation) -> bytes:
    """The events for one line: OpenAI's events have one line of data each."""
    if line.startswith(b":"):
        return stream.comment() if line == KEEP_ALIVE.rstrip() else line + b"\n\n"
    if not line.startswith(b"data:"):
        return b""
    data = line[len(b"data:") :].strip()
    if data == _DONE:
        return stream.end()
    try:
        chunk = orjson.loads(data)
    except orjson.JSONDecodeError:
        return stream.fail("The upstream's answer can't be read.")
    return stream.chunk(chunk) if isinstance(chunk, dict) else b""
