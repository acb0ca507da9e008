"""A fake upstream: a real HTTP server, which answers as a test says, byte by byte if need be."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Received:
    """A request as it came."""

    line: str
    headers: dict[str, str]
    body: bytes
    is_closed: threading.Event = field(default_factory=threading.Event)
    """Whether the connection has ended."""


class FakeUpstream:
    """A server on the loopback; ``answer`` writes the answer to each request."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.received: list[Received] = []
        self.answer: Answer = whole({})
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        start = asyncio.start_server(self._handle, "127.0.0.1", 0, ssl=tls)
        self._server = asyncio.run_coroutine_threadsafe(start, self._loop).result(60)
        self.port = self._server.sockets[0].getsockname()[1]
        address = "https://localhost" if tls else "http://127.0.0.1"
        self.url = f"{address}:{self.port}/v1"

    def section(self, **fields: Any) -> dict[str, Any]:
        """A section of the configuration that names it."""
        return {
            "upstream": self.url,
            "key": "env:FAKE_KEY",
            "mode": "direct",
            "max_failures": 0,
            **fields,
        }

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received = None
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                line, *lines = head.decode("latin-1").strip().split("\r\n")
                headers = {k.lower(): v.strip() for k, v in (each.split(":", 1) for each in lines)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                received = Received(line, headers, body)
                self.received.append(received)
                await self.answer(reader, writer)
                await writer.drain()
                if writer.is_closing():
                    break
        except (asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
            pass
        finally:
            if received is not None:
                received.is_closed.set()
            writer.close()

    def stop(self) -> None:
        """End it, with its connections."""

        async def close() -> None:
            self._server.close()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(close(), self._loop).result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def head(status: int = 200, **headers: str) -> bytes:
    """The beginning of an answer; underscores in names of headers are hyphens."""
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([f"HTTP/1.1 {status} X", *lines, "", ""]).encode()


def raw(*parts: bytes, closes: bool = False) -> Answer:
    """An answer of these bytes, each in a write of its own."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
        if closes:
            writer.close()

    return answer


def whole(data: object, status: int = 200, **headers: str) -> Answer:
    """An answer of one JSON value."""
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    length = str(len(body))
    return raw(
        head(status, content_type="application/json", content_length=length, **headers) + body
    )


STREAM_HEAD = head(content_type="text/event-stream", transfer_encoding="chunked")


def chunk(part: bytes) -> bytes:
    """A chunk of a body (RFC 9112, section 7.1)."""
    return b"%x\r\n%b\r\n" % (len(part), part)


def stream(*parts: bytes) -> Answer:
    """An event stream whose parts arrive one by one."""
    return raw(STREAM_HEAD, *map(chunk, parts), b"0\r\n\r\n")


def stalls(*parts: bytes) -> Answer:
    """An answer that begins with these bytes, and never goes on."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await raw(*parts)(reader, writer)
        await reader.read()  # until the other side closes the connection

    return answer


def endless(first: bytes, part: bytes) -> Answer:
    """An answer that never ends: these bytes, and then others again and again."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        while not writer.is_closing():
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)

    return answer


def in_turn(*answers: Answer) -> Answer:
    """The first of ``answers`` to the first request, and so on."""
    left = iter(answers)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await next(left)(reader, writer)

    return answer


def delta(text: str) -> bytes:
    """An event with a piece of text."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    fields = {"id": "chatcmpl-up", "object": "chat.completion.chunk", "created": 1, "model": "big"}
    return b"data: " + json.dumps({**fields, "choices": [choice]}).encode() + b"\n\n"


def completion(text: str = "Paris", **fields: Any) -> dict[str, Any]:
    """A chat completion."""
    message = {"role": "assistant", "content": text}
    usage = {
        "prompt_tokens": 20,
        "completion_tokens": 3,
        "total_tokens": 23,
        "prompt_tokens_details": {"cached_tokens": 8},
    }
    return {
        "id": "chatcmpl-up",
        "object": "chat.completion",
        "created": 1,
        "model": "big-2026",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": usage,
        **fields,
    }
