"""Cache of API keys from accounts: whose they are, for up to 30 s.

So most requests ask no store whose key it is, and a key that was revoked stops everywhere within
that time.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from shared.accounts.api_keys import Holder
from shared.accounts.key_format import hash_of, is_key
from shared.runtime.caller import Caller

_MAX_AGE = 30.0
"""Seconds from the moment when the store was asked."""
_MAX_KEYS = 10_000
"""Keys that are remembered, those that are nobody's included."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the store said of a key, and when it was asked: by `time.monotonic`, and Unix time."""

    caller: Caller | None
    asked: float
    asked_at: float


class KeyCache:
    """Callers by their keys. Used on an event loop."""

    def __init__(
        self,
        look_up: Callable[[str], Awaitable[Holder | None]],
        *,
        monotonic: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``look_up`` asks the store whose a key with this hash is."""
        self._look_up = look_up
        self._monotonic = monotonic
        self._clock = clock
        self._answers: OrderedDict[str, _Answer] = OrderedDict()
        self._asking: dict[str, asyncio.Task[_Answer]] = {}

    async def caller(self, key: bytes) -> Caller | None:
        """Whose ``key`` is, None if it is nobody's; raises as ``look_up`` does."""
        return await self.caller_of_hash(hash_of(key)) if is_key(key) else None

    async def caller_of_hash(self, key_hash: str) -> Caller | None:
        """Whose key has this hash, None if it is nobody's; raises as ``look_up`` does."""
        answer = self._answers.get(key_hash)
        if answer is None or self._age(answer) >= _MAX_AGE:
            answer = await self._ask(key_hash)
        caller = answer.caller
        if caller is None or caller.holder is None or caller.holder.key.is_expired(self._clock()):
            return None
        return caller

    def _age(self, answer: _Answer) -> float:
        """Seconds since the store was asked, by whichever clock says more.

        The one stands still while a function is frozen, the other may be set.
        """
        return max(self._monotonic() - answer.asked, self._clock() - answer.asked_at)

    async def _ask(self, key_hash: str) -> _Answer:
        """The store's answer: those who want to know the same at the same time ask once."""
        task = self._asking.get(key_hash)
        if task is None or task.get_loop() is not asyncio.get_running_loop():
            task = asyncio.create_task(self._fetch(key_hash))
            self._asking[key_hash] = task
        # Shielded: a client that disconnects shall not end it for the others.
        return await asyncio.shield(task)

    async def _fetch(self, key_hash: str) -> _Answer:
        try:
            asked, asked_at = self._monotonic(), self._clock()
            holder = await self._look_up(key_hash)
            answer = _Answer(_caller(holder), asked, asked_at)
            self._answers[key_hash] = answer
            self._answers.move_to_end(key_hash)
            if len(self._answers) > _MAX_KEYS:
                self._answers.popitem(last=False)
            return answer
        finally:
            self._asking.pop(key_hash, None)


def _caller(holder: Holder | None) -> Caller | None:
    """An admin's tenant is that of its key: it owns nothing."""
    if holder is None:
        return None
    tenant = holder.project.id if holder.project is not None else holder.key.id
    return Caller(tenant, holder.key.id, holder)
