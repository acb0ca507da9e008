"""A server that does nothing but send prepared events: it shows what the client can take.

``python -m benchmarks.canned PORT`` answers every request with the tokens it asks for, all
streams in turn, one event a write, like a server whose model costs nothing.
"""

import asyncio
import re
import sys
from typing import cast

from benchmarks import client

_EVENT = (
    b'data: {"id":"cmpl-0123456789abcdef","object":"text_completion","created":1700000000,'
    b'"model":"model","choices":[{"index":0,"text":" word","logprobs":null,'
    b'"finish_reason":null}]}\n\n'
)
_LAST = _EVENT.replace(b'"finish_reason":null', b'"finish_reason":"length"')
_STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
_JSON_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
_JSON = _LAST.removeprefix(b"data: ").strip()


class _Canned(asyncio.Protocol):
    def __init__(self) -> None:
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport isn't derived from asyncio's class.
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, separator, body = self.received.partition(b"\r\n\r\n")
        length = re.search(rb"Content-Length: (\d+)", head)
        if not separator or (length is not None and len(body) < int(length[1])):
            return
        if b'"stream": true' in body:
            tokens = re.search(rb'"max_tokens": (\d+)', body)
            assert tokens is not None
            self.transport.write(_STREAM_HEAD)
            self.step(int(tokens[1]))
        else:
            self.transport.write(_JSON_HEAD + _JSON)
            self.transport.close()

    def step(self, left: int) -> None:
        """Send one event, then let the other streams send theirs."""
        if self.transport.is_closing():
            return
        if left > 1:
            self.transport.write(_EVENT)
            asyncio.get_running_loop().call_soon(self.step, left - 1)
        else:
            self.transport.write(_LAST + b"data: [DONE]\n\n")
            self.transport.close()


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(_Canned, "127.0.0.1", port, backlog=128)
    await server.serve_forever()


if __name__ == "__main__":
    client.run(_serve(int(sys.argv[1])))
