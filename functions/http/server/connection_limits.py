"""Connection limits and timeouts: how many there are, how long clients may take to send and read.

Nobody has shown a key before a request's head is there, so nothing until then may cost much. Times
are looked at for all connections together, twice a second, which costs a request nothing.
"""

from __future__ import annotations

import logging
import resource
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

from uvicorn.server import ServerState as UvicornState

from shared.protocol.errors import shutting_down

if TYPE_CHECKING:
    from collections.abc import Iterable

    from functions.http.cors import CrossOriginPolicy
    from shared.config.settings import Settings
    from shared.protocol.errors import APIError

_log = logging.getLogger("pilotlight")

_RESERVED_FILES = 160
"""Open files that are no connections: the model, the store (three for each of its threads), the
log, clients of AWS, and connections that are being refused."""
_FEWEST_CONNECTIONS = 16
_IDLE_SECONDS = 75.0

_MAX_LINGERING = 32
CHECK_SECONDS = 0.5
"""From one check to the next."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Of one server; times in seconds.

    ``head``: for a request's head to arrive. ``transfer``: for each
    `functions.http.server.body_meter.TRANSFER_BYTES` of a body or an answer. ``idle``:
    between two requests of a connection. ``unwanted_body``: bytes of a body that are read after its
    request has been answered.
    """

    connections: int
    head: float
    transfer: float
    idle: float
    unwanted_body: int

    @classmethod
    def of(cls, settings: Settings) -> ConnectionLimits:
        """As set; fewer connections where the process may not have as many files open."""
        possible = _possible_connections()
        if settings.upstreams:  # each may have another connection, to an upstream
            possible //= 2
        return cls(
            connections=min(settings.max_connections, possible),
            head=settings.header_timeout,
            transfer=settings.transfer_timeout,
            idle=_IDLE_SECONDS,
            unwanted_body=settings.max_body_size,
        )


def _possible_connections() -> int:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        files = 2**31
    return max(files - _RESERVED_FILES, _FEWEST_CONNECTIONS)


class LimitedConnection(Protocol):
    """A connection as its limits see it."""

    @property
    def is_reading_body(self) -> bool:
        """Whether a request's head is here and its body is not."""

    def check(self) -> None:
        """End what takes too long."""

    def refuse(self, error: APIError) -> None:
        """Answer with an error, and close."""


class ConnectionState(UvicornState):
    """The connections of a server, as uvicorn keeps them, with their limits.

    ``now`` is in seconds for which the server has attended to its connections. It stands still
    while the process does (AWS Lambda freezes it between invocations), so that clients are not
    blamed for that.
    """

    def __init__(self, limits: ConnectionLimits, cors: CrossOriginPolicy | None = None) -> None:
        """``cors``: whose pages may read what a refused connection is answered."""
        super().__init__()
        self.limits = limits
        self.cors = cors
        self.now = 0.0
        self.n_lingering = 0
        """Connections that have been refused, and wait for their clients to notice."""
        self._checked_at: float | None = None
        self._is_full = False

    def _protocols(self) -> Iterable[LimitedConnection]:
        return cast("Iterable[LimitedConnection]", list(self.connections))

    @property
    def n_open(self) -> int:
        """Connections but those that are refused."""
        return len(self.connections) - self.n_lingering

    def may_linger(self) -> bool:
        """Whether one more connection may wait for its client to notice that it is refused."""
        return self.n_lingering < _MAX_LINGERING

    def is_full(self) -> bool:
        """Whether the connection made last is one too many."""
        if self.n_open <= self.limits.connections:
            return False
        if not self._is_full:
            self._is_full = True
            _log.warning(
                "all %d connections are taken; further ones get 503 (see --max-connections)",
                self.limits.connections,
            )
        return True

    def check(self, moment: float) -> None:
        """End what takes too long. ``moment`` is on the event loop's clock; not all is used."""
        if self._checked_at is not None and moment - self._checked_at < CHECK_SECONDS:
            return
        if self._checked_at is not None:
            self.now += min(moment - self._checked_at, 2 * CHECK_SECONDS)
        self._checked_at = moment
        if self.n_open < self.limits.connections:
            self._is_full = False
        for protocol in self._protocols():
            protocol.check()

    def refuse_unread_requests(self) -> None:
        """Answer 503 to requests that have not arrived yet as a whole: the server ends."""
        for protocol in self._protocols():
            if protocol.is_reading_body:
                protocol.refuse(shutting_down())
