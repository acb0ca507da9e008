"""Responses in the background: those that go on when their request has been answered.

They live in this process, and so does what is asked of them while they run; when they have ended
they are in the store. So there are none where another process may get the next request, and where
none may run between two.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from shared.protocol.errors import overloaded

_KEPT_SECONDS = 300.0
"""For which the events of one that has ended can be read, as with OpenAI."""
_KEPT_BYTES = 64 * 2**20
"""Of events of those that have ended; the oldest are forgotten."""
_RETRY_SECONDS = 5


@dataclass(slots=True)
class BackgroundResponse:
    """One response, as far as it has come.

    - ``queued``: what its request is answered with, as JSON.
    - ``response``: what asking for it tells, as JSON: with log probabilities it may be so many
      objects that forgetting them would hold the event loop.
    - ``status``: of this.
    - ``fields``: what is stored with it, and shown of it then.
    - ``asked``: JSON of what its input became, ``messages`` and ``tools`` of a chat completion.
    - ``events``: of its stream, in order of their sequence numbers; None where it has none.
    - ``n_event_bytes``: of these, or else of the response.
    """

    id: str
    tenant: str
    queued: bytes
    response: bytes
    status: str
    fields: dict[str, Any]
    asked: bytes
    events: list[bytes] | None = None
    is_done: bool = False
    n_event_bytes: int = 0
    task: asyncio.Task[None] | None = None
    _cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def add_event(self, event: bytes) -> None:
        """Keep an event of its stream for whoever reads it; where nobody may, the last one."""
        if self.events is None:
            self.n_event_bytes = len(event)
            return
        self.events.append(event)
        self.n_event_bytes += len(event)
        self._wake()

    def finish(self) -> None:
        """Nothing more will come."""
        self.is_done = True
        self._wake()

    @property
    def n_bytes(self) -> int:
        """Of all that is kept of it."""
        return len(self.asked) + self.n_event_bytes

    @property
    def is_streamed(self) -> bool:
        """Whether its events are kept."""
        return self.events is not None

    def cancel(self) -> None:
        """Have it end with what there is."""
        if not self.is_done:
            self.fields["status"] = "cancelled"
            self._cancelled.set()

    async def wait_for_cancellation(self) -> None:
        """Wait until somebody cancels it."""
        await self._cancelled.wait()

    async def wait_for_end(self) -> None:
        """Wait until it has ended."""
        while not self.is_done:
            await self._changed.wait()

    async def read(self, after: int, quiet_seconds: float) -> AsyncIterator[Sequence[bytes]]:
        """Its events after the one of the number ``after``; nothing where there was none lately."""
        position = after + 1
        while True:
            assert self.events is not None
            found, is_done = self.events[position:], self.is_done
            if is_done and not found:
                return
            yield found
            position += len(found)
            if position >= len(self.events) and not self.is_done:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), quiet_seconds)

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


class BackgroundResponses:
    """The responses of this process that run in the background, and lately have."""

    def __init__(self, limit: int) -> None:
        """``limit``: how many of a tenant run at once."""
        self._limit = limit
        self._running: Counter[str] = Counter()
        self._found: OrderedDict[str, BackgroundResponse] = OrderedDict()

    @property
    def is_open(self) -> bool:
        """Whether there may be any."""
        return self._limit > 0

    def get(self, tenant: str, response_id: str) -> BackgroundResponse | None:
        """One of a tenant's; None where it is not known, or not any longer."""
        found = self._found.get(response_id)
        return found if found is not None and found.tenant == tenant else None

    def forget(self, response: BackgroundResponse) -> None:
        """Know nothing of one any longer that has ended."""
        self._found.pop(response.id, None)

    def check(self, tenant: str) -> None:
        """Raise `APIError` 429 where as many run as may."""
        if self._running[tenant] >= self._limit:
            raise overloaded(
                f"{self._limit} responses run in the background, which is the most for one owner "
                "of keys here. Try again when one has ended, or cancel one.",
                _RETRY_SECONDS,
            )

    def begin(self, response: BackgroundResponse) -> None:
        """Take one that begins to run."""
        self._found[response.id] = response
        self._running[response.tenant] += 1

    def end(self, response: BackgroundResponse) -> None:
        """Note that it has ended. Its events are there for some minutes more."""
        response.finish()
        self._running[response.tenant] -= 1
        if not self._running[response.tenant]:
            del self._running[response.tenant]
        asyncio.get_running_loop().call_later(_KEPT_SECONDS, self._found.pop, response.id, None)
        done = [each for each in self._found.values() if each.is_done]
        n_bytes = sum(each.n_bytes for each in done)
        for each in done:
            if n_bytes <= _KEPT_BYTES:
                break
            del self._found[each.id]
            n_bytes -= each.n_bytes
