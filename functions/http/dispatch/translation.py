"""Translation of another dialect to chat completions and back, around whoever answers these.

A request is written anew as one for a chat completion, and goes the way of all of them: validation,
upstreams and stand-ins, limits, the store. What comes back is written anew on its way to the
client. Chat completions themselves do no more for it than to note the prompt's tokens and the stop
string that was found, in the request's context.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import orjson
from starlette.requests import Request
from starlette.responses import Response

from functions.http.request_body import BodyT, read_json, validated
from shared.completion.headers import ignored_header
from shared.protocol.errors import APIError, server_error
from shared.protocol.sse import KEEP_ALIVE
from shared.protocol.translated_request import TranslatedRequest
from shared.runtime.request_context import request_context

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from shared.runtime.state import ServerState

_log = logging.getLogger("pilotlight.translation")

INLINE_BYTES = 2**13
"""Bytes of JSON that are read and written on the event loop."""
_INLINE_STREAM = 2**18
"""Bytes of a stream whose end repeats them all: a larger one's is written on a thread."""
_ENCODED = (b"accept-encoding", b"content-encoding", b"content-length", b"transfer-encoding")
"""Headers that are not true of, or not wanted for, what is written anew."""
_IGNORED = b"x-ignored-params"
_DONE = b"[DONE]"
_UNREADABLE = "The upstream's answer can't be read."
_MALFORMED = (LookupError, TypeError, ValueError, AttributeError)
"""What the translation of an answer raises that is none of its API: an upstream's, as a rule."""


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

    request: TranslatedRequest

    @property
    def stored_fields(self) -> dict[str, Any] | None:
        """What is stored with the chat completion, to show the answer again."""

    def whole(self, completion: Mapping[str, Any]) -> Mapping[str, Any]:
        """The answer's JSON."""

    def stream(self) -> StreamTranslation:
        """A new formatter of a stream."""

    def error(self, status: int, body: Mapping[str, Any], request_id: str) -> Mapping[str, Any]:
        """The envelope of an error, from OpenAI's."""


async def read_as(request: Request, state: ServerState, schema: type[BodyT]) -> BodyT:
    """The body as ``schema`` has it; raises `APIError`. It is read once."""
    return await read_json(request, state, lambda data, _: validated(schema, data))


async def translated_response(
    request: Request,
    translate: Callable[[], Translation],
    create_chat_completion: Callable[[Request], Awaitable[ASGIApp]],
) -> Response:
    """The response to the request as another one, which ``translate`` makes; raises `APIError`."""
    translation = await request_context().run(translate)
    return await response_of(request, translation, create_chat_completion)


async def response_of(
    request: Request,
    translation: Translation,
    create_chat_completion: Callable[[Request], Awaitable[ASGIApp]],
) -> Response:
    """The response to the request that was translated; raises `APIError`."""
    chat = await with_body(request, translation.request)
    context = request_context()
    context.dialect_fields, context.translated = translation.stored_fields, translation.request
    try:
        response = await create_chat_completion(chat)
    except APIError as error:
        raise translation.request.renamed(error) from None
    return _TranslatedResponse(response, translation)


async def with_body(request: Request, translated: TranslatedRequest) -> Request:
    """The request with another body."""
    body = await request_context().run(lambda: orjson.dumps(translated.fields))
    headers = [each for each in request.scope["headers"] if each[0] not in _ENCODED]
    is_read = False

    async def receive() -> Message:
        nonlocal is_read
        if is_read:
            return await request.receive()
        is_read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return Request({**request.scope, "headers": headers}, receive)


class _TranslatedResponse(Response):
    """A response whose chat completion is written in another dialect."""

    def __init__(self, response: ASGIApp, translation: Translation) -> None:
        self.background = None
        self._response = response
        self._translation = translation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response (ASGI 3)."""
        try:
            await self._response(scope, receive, _Sender(send, self._translation))
        except APIError as error:
            raise self._translation.request.renamed(error) from None


class _Sender:
    """ASGI's ``send`` for a chat completion, which sends the translation."""

    def __init__(self, send: Send, translation: Translation) -> None:
        self._send = send
        self._translation = translation
        self._start: Message = {}
        self._stream: StreamTranslation | None = None
        self._body = bytearray()
        """What is not translated yet: of a whole answer all, of a stream its last line."""
        self._size = 0

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
        stream = self._stream
        context = request_context()
        repeats = self._size == 0 or _DONE in body  # the request's fields, or all of the answer
        self._size += len(body)
        is_large = context.is_large or self._size > _INLINE_STREAM
        if len(body) > INLINE_BYTES or (repeats and is_large):
            events = await context.on_thread(lambda: self._translated(body, stream))
        else:
            events = self._translated(body, stream)
        if is_end:
            events += stream.fail("The answer broke off.")
        if events or is_end:
            sent = {"type": "http.response.body", "body": events, "more_body": not is_end}
            await self._send(sent)

    async def _begin(self, message: Message) -> None:
        headers = dict(message["headers"])
        ignored = [*self._translation.request.ignored, *request_context().left_out]
        if ignored:
            names = headers.get(_IGNORED, b"").decode("latin-1").split(", ")
            told = ignored_header([*filter(None, names), *ignored])
            pairs = [(name.encode(), value.encode()) for name, value in told.items()]
            others = [each for each in message["headers"] if each[0] != _IGNORED]
            message = {**message, "headers": [*others, *pairs]}
        if headers.get(b"content-type", b"").startswith(b"text/event-stream"):
            self._stream = self._translation.stream()
            await self._send(message)
        else:
            self._start = message

    async def _send_whole(self) -> None:
        context = request_context()
        if len(self._body) > INLINE_BYTES:
            status, body = await context.on_thread(self._whole)
        else:
            status, body = self._whole()
        headers = [each for each in self._start["headers"] if each[0] not in _ENCODED]
        headers.append((b"content-length", b"%d" % len(body)))
        await self._send({**self._start, "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    def _whole(self) -> tuple[int, bytes]:
        """Status and body. An answer that is none of its API is the upstream's error, or ours."""
        status = self._start["status"]
        try:
            data = orjson.loads(self._body)
        except orjson.JSONDecodeError:
            data = None
        if status == 200:
            try:
                return status, orjson.dumps(self._translation.whole(data))
            except _MALFORMED as error:
                _log_malformed("an answer", error)
            if request_context().served_by is None:
                return self._failure(server_error())
            status = 502
        told = data.get("error") if isinstance(data, dict) else None
        if isinstance(told, dict) and isinstance(told.get("message"), str):
            param = told.get("param")
            message, name = self._translation.request.told(
                told["message"], param if isinstance(param, str) else None
            )
            told = {**told, "message": message, "param": name}
        else:
            told = _malformed(self._start["status"])
        request_id = request_context().request_id
        return status, orjson.dumps(self._translation.error(status, {"error": told}, request_id))

    def _failure(self, error: APIError) -> tuple[int, bytes]:
        """Status and body of an error of ours, which is noted."""
        context = request_context()
        context.error = error
        told = orjson.loads(error.body())
        envelope = self._translation.error(error.status, told, context.request_id)
        return error.status, orjson.dumps(envelope)

    def _translated(self, data: bytes, stream: StreamTranslation) -> bytes:
        """The events for the next bytes of a stream, which may end in the middle of a line."""
        *lines, rest = data.split(b"\n")
        if not lines:
            self._body += rest
            return b""
        lines[0] = bytes(self._body) + lines[0]
        self._body = bytearray(rest)
        return b"".join(_event(line.rstrip(b"\r"), stream) for line in lines)


def _log_malformed(what: str, error: Exception) -> None:
    """Log where translating failed, without the error's words: they may be the answer's."""
    frames = traceback.extract_tb(error.__traceback__)
    _log.error(
        "%s can't be translated: %s in %s, line %s",
        what,
        type(error).__name__,
        frames[-1].name,
        frames[-1].lineno,
    )


def _malformed(status: int) -> dict[str, Any]:
    """What an answer without words of its own is told as."""
    if status != 200:
        message = f"The upstream answers {status}."
        return {"message": message, "type": "upstream_error", "param": None, "code": None}
    code = "upstream_answer_malformed"
    return {"message": _UNREADABLE, "type": "upstream_error", "param": None, "code": code}


def _event(line: bytes, stream: StreamTranslation) -> bytes:
    """The events for one line: OpenAI's events have one line of data each."""
    if line.startswith(b":"):
        return stream.comment() if line == KEEP_ALIVE.rstrip() else line + b"\n\n"
    if not line.startswith(b"data:"):
        return b""
    data = line[len(b"data:") :].strip()
    try:
        return stream.end() if data == _DONE else stream.chunk(orjson.loads(data))
    except _MALFORMED as error:  # JSON's is one of them
        _log_malformed("a stream", error)
        context = request_context()
        if context.served_by is not None:
            return stream.fail(_UNREADABLE)
        context.error = server_error()
        return stream.fail(context.error.message)
