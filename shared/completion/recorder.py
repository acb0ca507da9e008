"""Storing a completion that its request asked to keep, before the answer's last bytes leave."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson

from functions.http.request_body import sent_data
from shared.completion.deadline import end_of_storing
from shared.engine.types import SequenceUsage
from shared.protocol.choices import Choice, collect, usages
from shared.protocol.errors import APIError, invalid
from shared.protocol.responses import ResponseHead
from shared.runtime.request_context import current
from shared.storage.base import StoreError
from shared.storage.types import Kind, StoredCompletion

if TYPE_CHECKING:
    from starlette.requests import Request

    from shared.engine.generation import Generation
    from shared.engine.types import Output, SamplingParams
    from shared.protocol.fields import SharedFields
    from shared.runtime.state import ServerState

_log = logging.getLogger("pilotlight.store")

_SAMPLED = ("seed", "temperature", "top_p", "presence_penalty", "frequency_penalty")
_DEFAULTED = ("tools", "tool_choice", "response_format")
"""Fields that OpenAI shows with a stored completion: as sampled, and as sent or set by default."""

INLINE_SCORES = 256
"""Tokens with log probabilities, up to 20 for each, that are written within milliseconds."""

BodyOf = Callable[[Sequence[Choice]], bytes]
"""The response's body, from all choices that were generated."""


@dataclass(frozen=True, slots=True)
class Recording:
    """What is kept of a completion beside its answer: ``fields`` of `StoredCompletion`.

    ``until``, on `time.monotonic`'s clock, is when the answer can't wait for the store any longer.
    """

    fields: Mapping[str, Any]
    until: float | None


@dataclass(slots=True)
class Recorder:
    """Keeps one completion: gathers what is generated, and writes it at the end.

    ``is_incomplete`` completions are kept too: those whose client hung up, with what there was.
    """

    state: ServerState
    recording: Recording
    choices: list[Choice]
    body_of: BodyOf
    generation: Generation

    def add(self, outputs: Sequence[Output]) -> None:
        """Take what a stream is sent; raises `APIError` when the engine failed."""
        collect(self.choices, outputs)

    async def store(self) -> bool:
        """Write the completion; False, with an error in the log, if the store can't."""
        is_incomplete = len(usages(self.choices)) < len(self.choices)
        if is_incomplete:
            self._count_unfinished()
        found = usages(self.choices)
        completion = StoredCompletion(
            **self.recording.fields,
            response=orjson.loads(await formatted(self.body_of, self.choices)),
            timings={
                "total_seconds": time.monotonic() - self.generation.submitted,
                "queue_seconds": max((usage.queue_seconds for usage in found), default=0.0),
                "prefill_seconds": max((usage.prefill_seconds for usage in found), default=0.0),
                "decode_seconds": max((usage.decode_seconds for usage in found), default=0.0),
            },
            is_incomplete=is_incomplete,
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

    def _count_unfinished(self) -> None:
        """Give choices that were cut off the usage that they have come to."""
        prompts = [r.prompt for r in self.generation.requests for _ in range(r.n)]
        for choice, prompt in zip(self.choices, prompts, strict=True):
            if choice.usage is None:
                choice.usage = SequenceUsage(
                    prompt_tokens=len(prompt),
                    cached_tokens=0,
                    completion_tokens=len(choice.tokens),
                    queue_seconds=0.0,
                    prefill_seconds=0.0,
                    decode_seconds=0.0,
                )


async def formatted(body_of: BodyOf, choices: Sequence[Choice]) -> bytes:
    """The answer's JSON; made on a thread where it has many log probabilities."""
    n_scored = sum(len(choice.logprobs) + len(choice.prompt_logprobs) for choice in choices)
    if n_scored <= INLINE_SCORES:
        return body_of(choices)
    return await asyncio.to_thread(body_of, choices)


def recording(
    state: ServerState,
    request: Request,
    parsed: SharedFields,
    head: ResponseHead,
    *,
    kind: Kind,
    sampling: SamplingParams,
) -> Recording | None:
    """What to keep of a completion if the request wants it stored, else None.

    ``sampling``: what it is sampled with, the defaults of server and model included.
    """
    if not parsed.store:
        return None
    caller = state.caller(request)
    days = state.retention_days(caller.tenant)
    sent = sent_data(request)
    record = current()
    defaults = {name for name in _DEFAULTED if sent.get(name) is None}
    fields = {
        "id": head.id,
        "kind": kind,
        "tenant": caller.tenant,
        "created": head.created,
        "model": head.model,
        "request": sent,
        "used": {
            **{name: getattr(sampling, name) for name in _SAMPLED},
            **parsed.model_dump(include=defaults, exclude_none=True),
        },
        "request_id": record.request_id if record is not None else None,
        "metadata": dict(parsed.metadata or {}),
        "user": parsed.user,
        "key_id": caller.key_id,
        "expires_at": head.created + days * 86400 if days else None,
    }
    return Recording(fields, until=end_of_storing(request.scope))


def _log_late(completion_id: str, write: asyncio.Task[None]) -> None:
    """Tell what became of a write that its answer did not wait for."""
    if write.cancelled():
        _log.error("completion %s: writing it was cut off", completion_id)
    elif error := write.exception():
        _log.error("completion %s is not stored: %s", completion_id, error)
    else:
        _log.warning("completion %s is stored after all, too late to say so", completion_id)


def check_store(parsed: SharedFields, state: ServerState) -> None:
    """Raise `APIError` 400 when a completion is to be stored and there is no store."""
    if parsed.store and state.settings.store == "none":
        raise invalid(
            "This deployment keeps no completions: 'store' must be false.",
            "store",
            "unsupported_parameter",
        )


def stored_header(is_stored: bool) -> dict[str, str]:
    """Tells whether a completion is kept, as was asked."""
    return {"x-stored": "true" if is_stored else "false"}


NOT_STORED = b": x-stored: false\n\n"
"""The same in a stream whose store failed, as a comment: clients go on reading."""


def store_unavailable() -> APIError:
    """503: the store does not answer; nothing is known to be wrong with the request."""
    return APIError(
        503,
        "The store of completions does not answer. Try again shortly.",
        type="server_error",
        code="store_unavailable",
        headers={"retry-after": "5"},
    )
