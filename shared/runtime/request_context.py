"""Context of the request that is being handled: who sent it, its limits, and what it came to.

It begins with the request and is the same object for everybody who has to do with it: handlers,
the completion, log lines, metrics, traces.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from shared.runtime.caller import ANONYMOUS, Caller
from shared.storage.types import new_id

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from shared.engine.mailbox.generation import Generation
    from shared.engine.types import GenerationRequest, SequenceUsage
    from shared.protocol.choices import Choice
    from shared.protocol.errors import APIError
    from shared.protocol.translated_request import TranslatedRequest
    from shared.runtime.deadline import Deadline

ResultT = TypeVar("ResultT")

AccountsOutage = Literal["allowed", "refused"]
"""What becomes of a request for which the store of accounts does not answer."""

_THREADS = ThreadPoolExecutor(thread_name_prefix="requests")
"""What grows with a request's body or its answer is done here."""

_current: ContextVar[RequestContext | None] = ContextVar("request_context", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRecord:
    """A completion's tokens, counted as in its ``usage``, and moments of `time.monotonic`.

    The first token is that of the choice that was the first to have one. ``ended`` is when the
    last choice had its last token.
    """

    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    submitted: float
    begun: float
    first_token: float
    ended: float

    @property
    def queue_seconds(self) -> float:
        """From submission to the first step of the batch that the request was part of."""
        return self.begun - self.submitted

    @property
    def first_token_seconds(self) -> float:
        """From submission to the first sampled token."""
        return self.first_token - self.submitted

    @property
    def tokens_per_second(self) -> float | None:
        """Of all choices together, after the first token; None where there is no rate."""
        seconds = self.ended - self.first_token
        return self.completion_tokens / seconds if seconds > 0 and self.completion_tokens else None

    @classmethod
    def of(
        cls, submitted: float, usages: Sequence[SequenceUsage], n: int
    ) -> GenerationRecord | None:
        """From what the choices cost, ``n`` for each prompt; None where none has ended."""
        if not usages:
            return None
        prompt = cached = completion = 0
        begun = first_token = math.inf
        ended = 0.0
        for i, usage in enumerate(usages):
            if i % n == 0:
                prompt += usage.prompt_tokens
                cached += usage.cached_tokens
            completion += usage.completion_tokens
            first = usage.queue_seconds + usage.prefill_seconds
            begun = min(begun, usage.queue_seconds)
            first_token = min(first_token, first)
            ended = max(ended, first + usage.decode_seconds)
        return cls(
            prompt_tokens=prompt,
            cached_tokens=cached,
            completion_tokens=completion,
            submitted=submitted,
            begun=submitted + begun,
            first_token=submitted + first_token,
            ended=submitted + ended,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Inference:
    """What a completion asked of the model, and the choices it has: for its span in a trace.

    - ``operation``: its name in OpenTelemetry's conventions.
    - ``seed``: as asked for, None where it is random.
    - ``submitted``: on `time.monotonic`'s clock.
    """

    operation: Literal["chat", "text_completion"]
    response_id: str
    is_streamed: bool
    seed: int | None
    requests: Sequence[GenerationRequest]
    choices: Sequence[Choice]
    submitted: float


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamInference:
    """The same of a completion by an upstream.

    - ``operation``, ``provider``: names in OpenTelemetry's conventions.
    - ``fields``: of the request, defaults filled in.
    - ``finish_reasons``: of the choices that have ended.
    - ``submitted``: on `time.monotonic`'s clock.
    """

    operation: Literal["chat", "text_completion"]
    provider: str
    response_id: str
    is_streamed: bool
    fields: Mapping[str, Any]
    finish_reasons: Callable[[], list[str]]
    submitted: float


@dataclass(slots=True)
class RequestContext:
    """One request, from its arrival to the end of its answer.

    Known when it begins:

    - ``started``: on `time.monotonic`'s clock.
    - ``caller``: who sent it.
    - ``deadline``: when generating and storing must end, None for never.

    - ``completion_id``: the one that its completion will have, where that is told before.

    Known when its body is read:

    - ``body``: the JSON value as sent, only to be read.
    - ``body_size``: its bytes, decompressed.
    - ``is_large``: whether work in proportion to the body takes milliseconds.

    What it came to:

    - ``path``: the route's spelling.
    - ``status``: what was sent, 0 for nothing, 499 for a client that went away.
    - ``seconds``: how long it took.
    - ``generated``: what was generated, and what the choices that have ended cost.
    - ``generation``: what that adds up to, known when the request is counted.
    - ``prompt_tokens``: that the model here will read, None before that is known.
    - ``stop``: the stop string that ended the first choice, None where none did.
    - ``dialect_fields``: what its answer shows in another dialect than chat's, to be stored with
      it; who stores it adds ``completed_at``. None where it is of none.
    - ``translated``: the request that its body was made from, None where it came as it is.
    - ``left_out``: fields of that one that the model's upstream is not sent.
    - ``ignored_params``: fields of a resource's request that nobody knows.
    - ``cost``: nanodollars that its project pays, None where there is none.
    - ``served_by``: the host of the upstream that answers, None where this server does.
    - ``error``: what the caller was told, also inside of a stream.
    - ``store_started``, ``store_seconds``: when writing to the store began, and how long it took.
    - ``accounts_outage``: what became of it where its key, its project's limits or its usage could
      not be checked or counted, since the store of accounts does not answer; None where it does.
    - ``begin_by``: when another model is tried if nothing was sent, on `time.monotonic`'s clock.
    - ``end_by``: when all tries end, likewise; both are None for never.
    - ``at_end``: called when nothing is done for it any more, maybe on another thread.
    - ``span``, ``inference``: its span, and what the completion's will say, where it is traced.
    """

    request_id: str
    method: str
    started: float
    caller: Caller = ANONYMOUS
    deadline: Deadline | None = None
    completion_id: str | None = None
    body: Any = None
    body_size: int = 0
    is_large: bool = False
    path: str = ""
    status: int = 0
    seconds: float = 0.0
    is_finished: bool = False
    model: str | None = None
    served_by: str | None = None
    generated: tuple[Generation, Sequence[SequenceUsage]] | None = None
    generation: GenerationRecord | None = None
    prompt_tokens: int | None = None
    stop: str | None = None
    dialect_fields: dict[str, Any] | None = None
    translated: TranslatedRequest | None = None
    left_out: Sequence[str] = ()
    ignored_params: Sequence[str] = ()
    cost: int | None = None
    error: APIError | None = None
    store_started: float | None = None
    store_seconds: float = 0.0
    store_failures: int = 0
    is_deadline_reached: bool = False
    accounts_outage: AccountsOutage | None = None
    span: Span | None = None
    inference: Inference | UpstreamInference | None = None
    begin_by: float | None = None
    end_by: float | None = None
    at_end: list[Callable[[], None]] = field(default_factory=list)
    _running: set[Future[Any]] = field(default_factory=set)

    def new_completion_id(self, prefix: str) -> str:
        """The id of the request's completion."""
        return self.completion_id or new_id(prefix)

    async def run(self, work: Callable[[], ResultT]) -> ResultT:
        """Result of ``work``, whose time grows with the body: on a thread if that is large."""
        return await self.on_thread(work) if self.is_large else work()

    async def on_thread(
        self, work: Callable[[], ResultT], threads: ThreadPoolExecutor = _THREADS
    ) -> ResultT:
        """Result of ``work`` on one of ``threads``.

        Nothing can stop it there: where the request is cancelled meanwhile, its end waits for it.
        """
        future = threads.submit(copy_context().run, work)
        self._running.add(future)
        future.add_done_callback(self._running.discard)
        return await asyncio.wrap_future(future)

    def end(self) -> None:
        """Call what is to be called at the request's end, when its last thread has ended."""
        self._end_after(list(self._running))

    def _end_after(self, running: Sequence[Future[Any]]) -> None:
        if running:
            running[0].add_done_callback(lambda _: self._end_after(running[1:]))
            return
        for call in self.at_end:
            call()

    @property
    def is_server_error(self) -> bool:
        """Whether the server failed, be it in the middle of a stream that began with 200."""
        return self.status >= 500 or (self.error is not None and self.error.status >= 500)


def new_request_id() -> bytes:
    """An ``x-request-id`` for a request that brings none."""
    return b"req_" + os.urandom(16).hex().encode()


def begin(request_id: str, method: str) -> RequestContext:
    """A new context, current for the rest of the calling task and for what it starts."""
    context = RequestContext(request_id, method, time.monotonic())
    _current.set(context)
    return context


def current() -> RequestContext | None:
    """The context of the request that the calling code is part of, None outside of requests."""
    return _current.get()


def request_context() -> RequestContext:
    """As `current`, for what runs in requests only."""
    context = _current.get()
    assert context is not None
    return context


def note_model(name: str) -> None:
    """Note which model serves the current request."""
    if context := _current.get():
        context.model = name


def note_error(error: APIError) -> None:
    """Note what the current request's caller is told went wrong."""
    if context := _current.get():
        context.error = error
