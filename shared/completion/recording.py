"""Recording of a completion that its request asked to keep: what the store gets of it.

It is written before the answer's last bytes leave, so that who has the answer finds it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from shared.storage.base import StoreError
from shared.storage.types import StoredCompletion

if TYPE_CHECKING:
    from shared.protocol.fields import SharedFields
    from shared.runtime.request_context import RequestContext
    from shared.runtime.state import ServerState
    from shared.storage.base import CompletionStore
    from shared.storage.types import Kind

_log = logging.getLogger("pilotlight.store")

SAMPLED = ("seed", "temperature", "top_p", "presence_penalty", "frequency_penalty")
_DEFAULTED = ("tools", "tool_choice", "response_format")
"""Fields that OpenAI shows with a stored completion: as sampled, and as sent or set by default."""


@dataclass(frozen=True, slots=True)
class Recording:
    """What is kept of a completion beside its answer: ``fields`` of `StoredCompletion`.

    ``until``, on `time.monotonic`'s clock, is when the answer can't wait for the store any longer.
    """

    state: ServerState
    fields: Mapping[str, Any]
    until: float | None
    dialect_fields: dict[str, Any] | None = None

    @classmethod
    def of(
        cls,
        state: ServerState,
        context: RequestContext,
        asked: SharedFields,
        *,
        completion_id: str,
        kind: Kind | None,
        created: int,
        model: str,
        sampled: Mapping[str, Any],
        served_by: str | None = None,
    ) -> Self:
        """Of a request that asks for it.

        - ``asked``: the request, defaults of the model applied.
        - ``created``: Unix seconds.
        - ``sampled``: the values that hold of `SAMPLED`, as far as they are known.
        - ``served_by``: the upstream, where another one than this server answers.
        """
        caller, sent = context.caller, context.body
        days = state.retention_days(caller.tenant)
        defaults = {name for name in _DEFAULTED if sent.get(name) is None}
        fields = {
            "id": completion_id,
            "kind": kind,
            "tenant": caller.tenant,
            "created": created,
            "model": model,
            "request": sent,
            "used": {**sampled, **asked.model_dump(include=defaults, exclude_none=True)},
            "request_id": context.request_id,
            "metadata": dict(asked.metadata or {}),
            "user": asked.user,
            "key_id": caller.key_id,
            "served_by": served_by,
            "expires_at": created + days * 86400 if days else None,
        }
        until = context.deadline.end_of_storing if context.deadline else None
        return cls(state, fields, until, context.dialect_fields)

    async def store(
        self,
        answer: Callable[[], dict[str, Any]],
        timings: Mapping[str, float],
        *,
        cost: float | None,
        is_incomplete: bool,
    ) -> bool:
        """Write the completion with its answer; False, with an error in the log, if that fails.

        - ``answer`` is called on the store's thread: one with many log probabilities is megabytes,
          which take 0.1 s to read, and to forget.
        - ``cost``, in dollars, is kept in the answer's ``usage``, whether or not the caller was
          told.
        """
        if self.dialect_fields is not None:
            self.dialect_fields["completed_at"] = int(time.time())

        def put(store: CompletionStore) -> None:
            response = answer()
            if cost is not None:
                response["usage"]["cost"] = cost
            completion = StoredCompletion(
                **self.fields,
                response=response,
                timings=timings,
                is_incomplete=is_incomplete,
                dialect_fields=self.dialect_fields,
            )
            store.put(completion)

        metrics = self.state.metrics
        try:
            with metrics.time_store():
                await self._write(put)
        except StoreError as error:
            _log.error("completion %s is not stored: %s", self.fields["id"], error)
            metrics.count_stored(is_stored=False)
            return False
        metrics.count_stored(is_stored=True)
        return True

    async def _write(self, put: Callable[[CompletionStore], None]) -> None:
        """Raises `StoreError` when the store can't do it, or not in time.

        A write that takes too long is given up on but not stopped: nothing can stop its thread.
        """
        write = asyncio.ensure_future(self.state.stores.in_store(put))
        left = None if self.until is None else max(self.until - time.monotonic(), 0)
        await asyncio.wait([write], timeout=left)
        if not write.done():
            write.add_done_callback(partial(_log_late, self.fields["id"]))
            location = self.state.settings.store
            raise StoreError(f"{location}: the deadline of its request came first")
        write.result()


def _log_late(completion_id: str, write: asyncio.Task[None]) -> None:
    """Tell what became of a write that its answer did not wait for."""
    if write.cancelled():
        _log.error("completion %s: writing it was cut off", completion_id)
    elif error := write.exception():
        _log.error("completion %s is not stored: %s", completion_id, error)
    else:
        _log.warning("completion %s is stored after all, too late to say so", completion_id)
