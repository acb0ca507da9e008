"""Exchange with an upstream that answers one request: permission, meter, client disconnect.

It is what the modes have in common. The upstream is asked when the response is sent.
"""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from starlette.requests import ClientDisconnect
from starlette.responses import Response

from shared.completion.client_disconnect import unless_disconnected
from shared.protocol.errors import model_not_permitted
from shared.runtime.request_context import GenerationRecord, request_context
from shared.upstreams.errors import SERVED_BY

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from shared.completion.metering import Meter
    from shared.completion.upstreams.token_counts import UsageSource
    from shared.runtime.state import ServerState
    from shared.upstreams.client import UpstreamClient
    from shared.upstreams.request import UpstreamRequest


class UpstreamExchange(Response):
    """Response that an upstream gives."""

    def __init__(self, state: ServerState, client: UpstreamClient, asked: UpstreamRequest) -> None:
        """Raises `APIError` 403 for a model that the caller may not use."""
        self.background = None
        self.status_code = 200
        self._state = state
        self._client = client
        self._asked = asked
        self._context = context = request_context()
        if not context.caller.may_use((asked.name,)):
            raise model_not_permitted(asked.name)
        context.model = asked.name
        context.served_by = asked.upstream.served_by
        self._meter: Meter | None = None
        self._is_started = False
        """Whether the response has begun."""

    def _meter_by(
        self, data: Mapping[str, Any], usage: UsageSource, *, tier: str, user: str | None
    ) -> None:
        """Meter a project's request; others aren't, nor is loaded what that takes.

        ``data``: the request's fields. Raises `APIError` 429 for what was refused a moment ago.
        """
        caller = self._context.caller
        if caller.holder is None:
            return
        from shared.accounts.ledger.usage import Group
        from shared.completion.metering import Meter
        from shared.completion.upstreams.token_counts import UpstreamTokens

        group = Group(key_id=caller.key_id, model=self._asked.name, tier=tier, user=user)
        self._meter = Meter.of(self._state, caller.holder, UpstreamTokens(data, usage), group)
        if self._meter is not None:
            self._meter.check()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask the upstream and send its answer; raises `APIError` before the first byte."""
        meter = self._meter
        try:
            if meter is not None:
                await meter.reserve()
            work = asyncio.ensure_future(self._exchange(scope, send))
            await unless_disconnected(receive, work)
        except Exception as error:
            is_paid = self._is_started or isinstance(error, ClientDisconnect)
            if meter is not None and not is_paid:
                meter.forgive()
            raise
        finally:
            if meter is not None:
                await meter.abandon()

    @abstractmethod
    async def _exchange(self, scope: Scope, send: Send) -> None:
        """Ask and answer; cancelled when the client disconnects."""

    @property
    def _end(self) -> float | None:
        """When the answer must have ended, on `time.monotonic`'s clock."""
        deadline, end_by = self._context.deadline, self._context.end_by
        ends = [] if deadline is None else [deadline.end_of_generation]
        return min([*ends, *([] if end_by is None else [end_by])], default=None)

    @property
    def _own_headers(self) -> dict[str, str]:
        """Who answers, and what is left of the project's limits."""
        limits = {} if self._meter is None else self._meter.headers
        return {SERVED_BY: self._asked.upstream.served_by, **limits}

    async def _settle(self, first_byte: float, counted: tuple[int, int, int] | None) -> None:
        """Count what the answer came to, once; raises `APIError` 503 where a budget needs it.

        - ``first_byte``: when it began, on `time.monotonic`'s clock.
        - ``counted``: prompt tokens, cached ones among them, completion tokens, if they are known.
        """
        if counted is not None:
            prompt, cached, completion = counted
            self._context.generation = GenerationRecord(
                prompt_tokens=prompt,
                cached_tokens=cached,
                completion_tokens=completion,
                submitted=self._context.started,
                begun=self._context.started,
                first_token=first_byte,
                ended=time.monotonic(),
            )
        if self._meter is not None:
            await self._meter.settle()
