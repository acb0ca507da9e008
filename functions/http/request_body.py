"""Request bodies: reading within a limit, content encodings, JSON, validation.

A body is parsed once. Whatever has to be done for each of a large body's values happens on a
thread, so that other requests' events go on meanwhile.
"""

from __future__ import annotations

import re
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import orjson
from pydantic import ValidationError
from pydantic_core import from_json
from starlette.requests import ClientDisconnect

from shared.protocol.errors import APIError, invalid
from shared.protocol.validation_errors import Path, from_validation_error, spelled
from shared.runtime.request_context import request_context

if TYPE_CHECKING:
    from starlette.requests import Request

    from shared.protocol.fields import RequestBody
    from shared.runtime.state import ServerState

BodyT = TypeVar("BodyT", bound="RequestBody")
ResultT = TypeVar("ResultT")

MAX_FIELDS = 1024
"""Fields of a body's object: its own are fewer than a hundred."""
MAX_VALUES = 2**17 + 2**12
"""Commas in a body, about as many as values: prompts of 128 Ki token ids, and their fields."""
MAX_NAMES = 2**15
"""Fields of all objects, which take longest to read."""
MAX_CONTAINERS = 2**15
"""Arrays and objects: an empty one of four bytes takes 56 in memory."""
MAX_DEPTH = 200
"""Arrays and objects within each other: what writes JSON again has such limits too."""

_CHUNK = 2**16
_INLINE_BYTES = 2**13
"""What is done with a larger body takes milliseconds: on a thread."""
_WBITS = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}
"""What zlib calls the formats (RFC 9110, section 8.4.1)."""
_RAW_DEFLATE = -15
"""What some clients send as ``deflate``, without zlib's header around it."""
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff", b"{\x00", b"\x00{")
_GZIP = b"\x1f\x8b"
_MOST = sys.float_info.max
_LONG_NUMBER = re.compile(rb"(?<![0-9.])[1-9][0-9]{309,}+(?:\.[0-9]++)?(?![0-9.eE])")
"""What is beyond all floats; a parser may take no such number of digits, whatever it would do."""


async def parse_body(request: Request, schema: type[BodyT], state: ServerState) -> BodyT:
    """The body as ``schema`` has it; raises `APIError` 400, 413 or 415."""

    return await read_json(request, state, lambda data, _: validated(schema, data))


def validated(schema: type[BodyT], data: Any, context: Mapping[str, Any] | None = None) -> BodyT:
    """A body's JSON value as ``schema`` has it in a ``context``; raises `APIError` 400."""
    try:
        return schema.model_validate(data, context=context)
    except ValidationError as error:
        raise from_validation_error(error, data) from None


async def read_json(
    request: Request, state: ServerState, use: Callable[[Any, bytes], ResultT]
) -> ResultT:
    """What ``use`` makes of the body's JSON value and bytes; raises `APIError` 400, 413 or 415.

    The request's context has it as sent, and whether it is large.
    """
    context, limit = request_context(), state.settings.max_body_size
    length, encoding = _framing(request.scope["headers"])
    raw = await _read(request, length, limit)

    def work() -> ResultT:
        body = _decoded(raw, encoding, limit) if encoding not in (b"", b"identity") else raw
        context.body_size = len(body)
        context.is_large = len(body) > _INLINE_BYTES
        context.body = data = _json(body)
        return use(data, body)

    context.is_large = bool(encoding) or len(raw) > _INLINE_BYTES
    return await context.run(work)


def _framing(headers: Iterable[tuple[bytes, bytes]]) -> tuple[int, bytes]:
    """The body's bytes as far as the head tells, and its encoding.

    Not through Starlette's headers, which are made anew and searched once for each name.
    """
    length: bytes | None = None
    encodings: list[str] = []
    for name, value in headers:
        if name == b"content-length" and length is None:
            length = value
        elif name == b"content-encoding":
            encodings.append(value.decode("latin-1"))
    size = int(length) if length is not None and length.isdigit() and len(length) < 19 else 0
    return size, ", ".join(encodings).strip().lower().encode() if encodings else b""


async def _read(request: Request, length: int, limit: int) -> bytes:
    """The bytes as sent; raises `APIError` 413 once they are known to exceed ``limit``.

    Raises `ClientDisconnect` where they end too early.
    """
    if length > limit:
        raise _too_large(limit)
    parts: list[bytes] = []
    size, is_whole = 0, False
    while not is_whole:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        part = message.get("body", b"")
        parts.append(part)
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        is_whole = not message.get("more_body", False)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_large(limit: int) -> APIError:
    return APIError(
        413,
        f"The request body is larger than the limit of {limit} bytes.",
        code="request_too_large",
        headers={"connection": "close"},
    )


def _decoded(raw: bytes, encoding: bytes, limit: int) -> bytes:
    """The decompressed body. Never more than ``limit`` bytes of it are in memory."""
    if encoding not in _WBITS:
        shown = encoding[:64].decode("ascii", "replace")
        raise APIError(
            415,
            f"The content encoding '{shown}' is not supported: send the body as gzip, as deflate, "
            "or without 'content-encoding'.",
            code="unsupported_content_encoding",
            headers={"accept-encoding": "gzip, deflate"},
        )
    is_raw = encoding == b"deflate" and raw[:1] and raw[0] & 0x0F != zlib.DEFLATED
    stream = zlib.decompressobj(_RAW_DEFLATE if is_raw else _WBITS[encoding])
    try:
        body = stream.decompress(raw, limit + 1)
    except zlib.error as error:
        raise _broken(encoding, str(error)) from None
    if len(body) > limit:
        raise _too_large(limit)
    if not stream.eof:
        raise _broken(encoding, "it ends too early")
    if stream.unused_data:
        raise _broken(encoding, "there are other bytes behind its end")
    return body


def _broken(encoding: bytes, reason: str) -> APIError:
    return invalid(
        f"The body can't be decompressed as {encoding.decode()}: {reason}.", None, "invalid_body"
    )


def _json(body: bytes) -> Any:
    """The body's JSON value; raises `APIError` 400 for what is none, is too deep or too wide.

    All that it accepts can be written as JSON again: there are no numbers without end in it.
    """
    body = body.removeprefix(_BYTE_ORDER_MARK)  # a parser may skip it (RFC 8259, section 8.1)
    n_containers = _check_width(body)
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if (path := _path_of_endless_number(body)) is not None:
            param = spelled(path)
            raise invalid(
                f"Invalid '{param}': numbers are finite, and less than 1.8e308 "
                "(RFC 8259, section 6).",
                param,
            ) from None
        raise invalid(_not_json(body, str(error)), None, "invalid_json") from None
    if isinstance(data, dict) and len(data) > MAX_FIELDS:
        raise invalid(f"The body has more than {MAX_FIELDS} fields.", None)
    # A body without so many brackets can't be so deep. Most are told apart by this alone.
    if n_containers > MAX_DEPTH and _is_deep(data):
        raise invalid(
            f"The body's arrays and objects are nested deeper than {MAX_DEPTH} levels.",
            None,
            "invalid_json",
        )
    return data


def _not_json(body: bytes, reason: str) -> str:
    if body.startswith(_UTF_16):
        return "The body is in UTF-16: JSON is sent in UTF-8 (RFC 8259)."
    if body.startswith(_GZIP):
        return "The body is compressed: say so with the header 'content-encoding: gzip'."
    if "UTF-8" in reason:
        return "The body is not valid JSON: it is not in UTF-8 (RFC 8259)."
    return f"The body is not valid JSON: {reason}."


def _check_width(body: bytes) -> int:
    """The number of arrays and objects, or more; raises `APIError` 400 for too many parts.

    The parser holds the interpreter, and with it all requests: 10 ms are the goal, also for 4 MiB.
    """
    counts = _parts(body)
    if _fits(counts):
        return counts[2]
    # Texts may have as many: the parts between the quotes are what counts.
    counts = (0, 0, 0)
    for outside in _outside_texts(body):
        more = _parts(outside)
        counts = (counts[0] + more[0], counts[1] + more[1], counts[2] + more[2])
        if not _fits(counts):
            raise invalid(
                f"The body has more than {MAX_VALUES} values, {MAX_NAMES} fields or "
                f"{MAX_CONTAINERS} arrays and objects: send it in several requests.",
                None,
                "invalid_json",
            )
    return counts[2]


def _outside_texts(body: bytes) -> Iterator[bytes]:
    """What stands between JSON's texts, chunk by chunk: each call holds the interpreter."""
    start, is_text = 0, False
    while start < len(body):
        chunk = body[start : start + _CHUNK]
        n_backslashes = len(chunk) - len(chunk.rstrip(b"\\"))
        if n_backslashes % 2:  # what the last one escapes belongs to it
            chunk = body[start : start + _CHUNK + 1]
        start += len(chunk)
        pieces = chunk.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
        yield b"".join(pieces[is_text::2])
        is_text ^= len(pieces) % 2 == 0


def _parts(text: bytes) -> tuple[int, int, int]:
    """Values, fields, and arrays and objects: as many as commas, colons and brackets."""
    return text.count(b","), text.count(b":"), text.count(b"[") + text.count(b"{")


def _fits(counts: tuple[int, int, int]) -> bool:
    values, names, containers = counts
    return values <= MAX_VALUES and names <= MAX_NAMES and containers <= MAX_CONTAINERS


def _path_of_endless_number(body: bytes) -> Path | None:
    """Where NaN, an infinity, or what is beyond all floats stands in what would be JSON else."""
    try:
        data = from_json(_LONG_NUMBER.sub(b"1e999", body))
    except ValueError:
        return None
    if not isinstance(data, dict):
        return None  # what is no object has no fields to name
    path: list[str | int] = []
    inside: list[Iterator[tuple[str | int, Any]]] = [iter(data.items())]
    while inside:
        part, value = next(inside[-1], (None, None))
        if part is None:
            inside.pop()
            del path[-1:]
        elif isinstance(value, dict | list):
            path.append(part)
            inside.append(iter(value.items() if isinstance(value, dict) else enumerate(value)))
        elif isinstance(value, float | int) and not -_MOST <= value <= _MOST:
            return (*path, part)
    return None


def _is_deep(data: Any) -> bool:
    """Whether there are more than `MAX_DEPTH` arrays and objects within each other."""
    level = [data] if isinstance(data, dict | list) else []
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
    return bool(level)
