"""Recorder of completions: storing one that its request asked to keep.

It is written before the answer's last bytes leave, so that who has the answer finds it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import orjson

from shared.engine.types import SequenceUsage
from shared.protocol.choices import Choice, collect, usages
from shared.storage.base import StoreError
from shared.storage.types import StoredCompletion

if TYPE_CHECKING:
    from shared.completion.dialect import Dialect
    from shared.engine.generation import Generation
    from shared.engine.types import Output, SamplingParams
    from shared.runtime.request_context import RequestContext
    from shared.runtime.state import ServerState

_log = logging.getLogger("pilotlight.store")

_SAMPLED = ("seed", "temperature", "top_p", "presence_penalty", "frequency_penalty")
_DEFAULTED = ("tools", "tool_choice", "response_format")
"""Fields that OpenAI shows with a stored completion: as sampled, and as sent or set by default."""


@dataclass(frozen=True, slots=True)
class Recording:
    """What is kept of a completion beside its answer: ``fields`` of `StoredCompletion`.

    ``until``, on `time.monotonic`'s clock, is when the answer can't wait for the store any longer.
    """

    fields: Mapping[str, Any]
    until: float | None

    @classmethod
    def of(
        cls,
        state: ServerState,
        context: RequestContext,
        dialect: Dialect[Any],
        sampling: SamplingParams,
    ) -> Self:
        """Of a request that asks for it.

        ``sampling``: what it is sampled with, the defaults of server and model included.
        """
        caller, sent, asked, head = context.caller, context.body, dialect.asked, dialect.head
        days = state.retention_days(caller.tenant)
        defaults = {name for name in _DEFAULTED if sent.get(name) is None}
        fields = {
            "id": head.id,
            "kind": dialect.kind,
            "tenant": caller.tenant,
            "created": head.created,
            "model": head.model,
            "request": sent,
            "used": {
                **{name: getattr(sampling, name) for name in _SAMPLED},
                **asked.model_dump(include=defaults, exclude_none=True),
            },
            "request_id": context.request_id,
            "metadata": dict(asked.metadata or {}),
            "user": asked.user,
            "key_id": caller.key_id,
            "expires_at": head.created + days * 86400 if days else None,
        }
        return cls(fields, context.deadline.end_of_storing if context.deadline else None)


@dataclass(slots=True)
class Recorder:
    """Keeps one completion: gathers what is generated, and writes it at the end.

    Incomplete completions are kept too: those whose client went away, with what there was.
    """

    state: ServerState
    recording: Recording
    choices: list[Choice]
    generation: Generation
    _is_incomplete: bool = False

    def add(self, outputs: Sequence[Output]) -> None:
        """Take what a stream is sent; raises `APIError` when the engine failed."""
        collect(self.choices, outputs)

    def count_unfinished(self) -> None:
        """Give choices that were cut off the usage that they have come to."""
        prompts = [r.prompt for r in self.generation.requests for _ in range(r.n)]
        for choice, prompt in zip(self.choices, prompts, strict=True):
            if choice.usage is None:
                self._is_incomplete = True
                choice.usage = SequenceUsage(
                    prompt_tokens=len(prompt),
                    cached_tokens=0,
                    completion_tokens=len(choice.tokens),
                    queue_seconds=0.0,
                    prefill_seconds=0.0,
                    decode_seconds=0.0,
                )

    async def store(self, body: bytes, cost: float | None = None) -> bool:
        """Write the completion with its answer; False, with an error in the log, if that fails.

        ``cost``, in dollars, is kept in the answer's ``usage``, whether or not the caller was told.
        """
        found = usages(self.choices)
        response = orjson.loads(body)
        if cost is not None:
            response["usage"]["cost"] = cost
        completion = StoredCompletion(
            **self.recording.fields,
            response=response,
            timings={
                "total_seconds": time.monotonic() - self.generation.submitted,
                "queue_seconds": max((usage.queue_seconds for usage in found), default=0.0),
                "prefill_seconds": max((usage.prefill_seconds for usage in found), default=0.0),
                "decode_seconds": max((usage.decode_seconds for usage in found), default=0.0),
            },
            is_incomplete=self._is_incomplete,
        )
        try:
            with self.state.metrics.time_store():
                await self._write(completion)
        except StoreError as error:
            _log.error("completion %s is not stored: %s", completion.id, error)
            self.state.metrics.count_stored(is_stored=False)
            return False
        self.state.metrics.count_stored(is_stored=True)
        return True

    async def _write(self, completion: StoredCompletion) -> None:
        """Raises `StoreError` when the store can't do it, or not in time.

        A write that takes too long is given up on but not stopped: nothing can stop its thread.
        """
        write = asyncio.ensure_future(self.state.in_store(lambda store: store.put(completion)))
        until = self.recording.until
        left = None if until is None else max(until - time.monotonic(), 0)
        await asyncio.wait([write], timeout=left)
        if not write.done():
            write.add_done_callback(partial(_log_late, completion.id))
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
