"""Request-response cycle of HTTP/1, and responses to HTTP/1.0."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


class Cycle(RequestResponseCycle):
    """uvicorn's, but it leaves it to the protocol to end a connection whose client still sends.

    Closing it at once would make the client's kernel drop the answer.
    """

    def __init__(self, *, expect_100_continue: bool, **kwargs: Any) -> None:
        self._is_body_wanted = not expect_100_continue
        super().__init__(expect_100_continue=expect_100_continue, **kwargs)

    def receive(self) -> Coroutine[Any, Any, Any]:
        """Receive a part of the body (ASGI 3)."""
        self._is_body_wanted = True
        return super().receive()

    @property
    def ends_connection(self) -> bool:
        """Whether nothing may follow the answer.

        A client that was not asked for the body may send it, or another request in its place.
        """
        return not self._keep_alive or (self.more_body and not self._is_body_wanted)

    @property
    def keep_alive(self) -> bool:
        """What uvicorn closes the connection without, as soon as the answer is complete."""
        return not self.ends_connection or (self.response_complete and self.more_body)

    @keep_alive.setter
    def keep_alive(self, keep_alive: bool) -> None:
        self._keep_alive = keep_alive


class UnchunkedCycle(Cycle):
    """An answer to HTTP/1.0, which knows no chunks: without a length the connection ends it."""

    _is_unframed = False

    def send(self, message: Any) -> Coroutine[Any, Any, None]:
        """Send a part of the answer (ASGI 3)."""
        if not self.response_started:
            names = [name.lower() for name, _ in message.get("headers", ())]
            self._is_unframed = b"content-length" not in names
            if self._is_unframed:
                self.chunked_encoding = False
        elif self._is_unframed:
            self.expected_content_length = len(message.get("body", b""))
        return super().send(message)
