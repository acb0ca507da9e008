"""Continuous batching: one thread owns the llama context and steps through batches."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterable
from time import perf_counter

from shared.engine.config import EngineConfig, EngineStats
from shared.engine.detokenizer import Vocabulary
from shared.engine.evaluator import Evaluator
from shared.engine.generation import Delivery, Generation, deliver
from shared.engine.inbox import Inbox
from shared.engine.kv_cache import KVCache
from shared.engine.llama.context import KVCacheFullError
from shared.engine.llama.context_fit import new_context
from shared.engine.llama.model import Model
from shared.engine.prefix_use import PrefixUse, prefix_cache
from shared.engine.prefixes.cache import PrefixOptions
from shared.engine.prefixes.prompt import COMMON
from shared.engine.queue_limits import Load
from shared.engine.scheduler import Plan, Scheduler
from shared.engine.sequence import Sequence, sequences_of
from shared.engine.stall import Progress
from shared.engine.throughput import ThroughputEstimate
from shared.engine.types import (
    ContextLengthError,
    EngineStoppedError,
    FinishReason,
    GenerationRequest,
    Output,
    SamplingParams,
)

_log = logging.getLogger("pilotlight.engine")


class Engine:
    """Generates for any number of requests at once on one model.

    `submit` is called on an event loop and gives a `Generation` to iterate. Everything else happens
    on the engine's thread: it alone touches the llama context.
    """

    def __init__(
        self, model: Model, config: EngineConfig, prefixes: PrefixOptions | None = None
    ) -> None:
        """Create the context; raises `LlamaError` when it does not fit into memory.

        ``prefixes``: where prompts' beginnings are kept besides the KV cells, if anywhere.
        """
        self._context, params = new_context(model, config)
        self.model = model
        self.config = config
        self.n_threads = params.n_threads
        self.n_ctx = min(self._context.n_ctx_seq, model.n_ctx_train)
        """Tokens that one request's prompt and completion may have together."""
        n_batch = self._context.n_batch
        self._kv = KVCache(self._context, params.n_seq_max, shares_prefixes=not model.is_recurrent)
        self._scheduler = Scheduler(
            self._kv,
            n_batch=n_batch,
            n_parallel=config.n_parallel,
            n_scored=params.n_outputs_max - params.n_seq_max,
        )
        self._vocabulary = Vocabulary(model.render)
        self._stats = EngineStats(kv_cells=self._context.n_ctx)
        self._evaluator = Evaluator(model, self._context, self._kv, self._stats, n_batch)
        self._inbox = Inbox(Load(config.n_parallel, config.max_queue))
        self._progress = Progress()
        self._has_deadlines = False
        self._throughput = ThroughputEstimate()
        cache = prefix_cache(model, self._context, prefixes) if prefixes else None
        self._prefixes = (
            PrefixUse(cache, self._kv, self._throughput, self._note_found) if cache else None
        )
        self._stopped = False
        self._has_died = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        """Start the engine's thread."""
        self._thread.start()

    def stop(self) -> None:
        """Cancel what runs, end the thread and free the context."""
        self._stopped = True
        self._inbox.put(("wake", None))
        if self._thread.is_alive():
            self._thread.join()
        if self._prefixes is not None:
            self._prefixes.cache.close()
        self._context.close()

    def abort(self) -> None:
        """End everything that runs or waits with finish reason ``cancelled``; keep serving."""
        self._inbox.put(("abort", None))

    @property
    def is_alive(self) -> bool:
        """Whether requests are served."""
        return self._thread.is_alive() and not self._stopped

    @property
    def is_stalled(self) -> bool:
        """Whether there are sequences, but for minutes no step has been made."""
        return self._progress.is_stalled

    def wait(self) -> bool:
        """Wait until its thread has ended; whether it died, rather than was stopped."""
        self._thread.join()
        return self._has_died

    def check(self, *requests: GenerationRequest, tenant: str = "") -> None:
        """Raise what `submit` would raise now: before work that is done for what it takes."""
        self._check_lengths(requests)
        self._inbox.check(tenant, sum(request.n for request in requests))

    def submit(self, *requests: GenerationRequest, tenant: str = "") -> Generation:
        """Queue a caller's requests; called on the event loop that will read the outputs.

        Tenants take turns, and share no prefixes with each other. Raises `ContextLengthError` for a
        prompt that leaves no room for a token, `TooManySequencesError`, `QueueFullError`, and
        `EngineStoppedError`.
        """
        self._check_lengths(requests)
        loop = asyncio.get_running_loop()
        generation = Generation(requests, loop, self._request_cancel, tenant)
        self._inbox.submit(generation)
        return generation

    def stats(self) -> EngineStats:
        """The counters; from any thread, consistent to within a step."""
        stats = self._stats
        stats.preemptions = self._scheduler.n_preemptions
        stats.sequences_running = len(self._scheduler.running)
        stats.sequences_waiting = self._scheduler.n_waiting
        stats.requests_queued = self._inbox.n_queued
        stats.kv_cells_running = self._kv.n_cells_running
        stats.kv_cells_cached = self._kv.n_cells_finished
        if self._prefixes is not None:
            cache = self._prefixes.cache
            stats.prefix_memory_bytes = cache.n_memory_bytes
            for name, count in cache.counts.items():
                setattr(stats, name, count)
        return stats

    def warm(self, prompt: Iterable[int]) -> None:
        """Evaluate what prompts of all tenants may begin with, and keep it.

        Not on an event loop. Raises `ContextLengthError`, and `EngineStoppedError` if it fails.
        """
        request = GenerationRequest(
            prompt=list(prompt),
            max_tokens=0,
            sampling=SamplingParams(seed=0),
            stores_prefix=True,
        )
        loop = asyncio.new_event_loop()  # not `asyncio.run`, which leaves a thread without its own
        try:
            loop.run_until_complete(self._warm(request))
        finally:
            loop.close()

    async def _warm(self, request: GenerationRequest) -> None:
        generation = self.submit(request, tenant=COMMON[0])
        async for outputs in generation:
            if any(output.finish_reason == "error" for output in outputs):
                raise EngineStoppedError("a warm prefix can't be evaluated")
        await self.end_writes(generation)

    async def end_writes(self, generation: Generation, until: float | None = None) -> int:
        """Wait for what is written to the store of prefixes; how many tokens were.

        That takes no longer than the store may, and ``until`` then on `time.monotonic`'s clock:
        what is late is given up.
        """
        seconds = self._prefixes.cache.timeout if self._prefixes else 0.0
        if until is not None:
            seconds = max(min(seconds, until - time.monotonic()), 0.0)
        return await generation.writes.end(seconds)

    def warm_up(self) -> None:
        """Load what the first use of the store of prefixes would wait for."""
        if self._prefixes is not None:
            self._prefixes.cache.warm_up()

    def disconnect(self) -> None:
        """Let go of connections to the store of prefixes, until they are needed again."""
        if self._prefixes is not None:
            self._prefixes.cache.disconnect()

    def _check_lengths(self, requests: Iterable[GenerationRequest]) -> None:
        if not self.is_alive:
            raise EngineStoppedError("the engine is not running")
        for request in requests:
            if len(request.prompt) + min(request.max_tokens, 1) > self.n_ctx:
                raise ContextLengthError(len(request.prompt), self.n_ctx)

    def _request_cancel(self, generation: Generation) -> None:
        self._inbox.put(("cancel", generation))

    def _note_found(self, generation: Generation) -> None:
        self._inbox.put(("found", generation))

    def _run(self) -> None:
        """The engine's thread."""
        try:
            while not self._stopped:
                self._receive(wait=self._progress.is_idle)
                remaining = self._end_overdue()
                self._progress.is_idle = not self._step(remaining)
                if self._progress.is_spinning():
                    raise RuntimeError("there are sequences, but none gets on")
        except Exception:
            _log.exception("the engine's thread died")
            self._stopped = self._has_died = True
        finally:
            self._abandon_all()

    def _receive(self, *, wait: bool) -> None:
        """Take what callers asked for; when there is nothing to do, wait for it."""
        while wait or not self._inbox.is_empty():
            kind, generation = self._inbox.read()
            if wait:
                self._progress.note()
                wait = self._progress.is_idle = False
            if kind == "abort":
                self._end(list(self._scheduler), "cancelled")
            elif generation is None:
                continue
            elif kind == "cancel":
                self._cancel(generation)
            elif kind == "found":
                if self._prefixes is not None and self._prefixes.end_one(generation):
                    self._scheduler.release(generation)
            else:
                self._add_sequences(generation)

    def _add_sequences(self, generation: Generation) -> None:
        """Queue a sequence for each choice; what can't be made into one ends with an error."""
        self._has_deadlines |= any(r.deadline is not None for r in generation.requests)
        try:
            sequences = sequences_of(generation, self._vocabulary, self.n_ctx)
        except Exception:  # one caller's request shall not end the others'
            _log.exception("a request can't be made into sequences")
            self._inbox.give_up(generation)
            self._send(_failures(generation))
            return
        if self._prefixes is not None and self._prefixes.look_up(generation, sequences):
            self._scheduler.hold(sequences)
            return
        for sequence in sequences:
            self._scheduler.add(sequence)

    def _cancel(self, generation: Generation) -> None:
        cancelled = [s for s in self._scheduler if s.generation is generation]
        self._remove(cancelled)
        self._stats.cancelled_sequences += len(cancelled)
        self._inbox.leave_queue(generation)

    def _end_overdue(self) -> float | None:
        """End sequences whose deadline has come, delivering what they have.

        Returns the seconds that are left until the next deadline, None where there is none.
        """
        if not self._has_deadlines:
            return None
        now = time.monotonic()
        overdue, deadlines = [], []
        for sequence in self._scheduler:
            deadline = sequence.request.deadline
            if deadline is None:
                continue
            if deadline <= now:
                overdue.append(sequence)
            else:
                deadlines.append(deadline)
        if overdue:
            self._end(overdue, "length", at_deadline=True)
        return min(deadlines) - now if deadlines else None

    def _step(self, remaining: float | None) -> bool:
        """Plan and evaluate one batch; False when there was nothing to do.

        A large batch of a prompt takes seconds on a slow machine, and nothing can end it. So it
        gets no more tokens than fit into the ``remaining`` seconds until a deadline.
        """
        n_prompt = None if remaining is None else self._throughput.tokens_within(remaining)
        plan = self._scheduler.schedule(n_prompt)
        for sequence in plan.admitted:
            self._inbox.leave_queue(sequence.generation)
        if not plan.n_tokens:
            return False
        if self._prefixes is not None:
            self._prefixes.admit(plan.admitted)
        parts = [plan] if self._kv.is_unified else plan.parts()
        for part in parts:
            if not self._evaluate(part):
                break  # what follows may be gone
        return True

    def _evaluate(self, plan: Plan) -> bool:
        """Evaluate a batch and deliver what it gives; False when it has to be planned anew."""
        started = perf_counter() if plan.chunks else 0.0
        try:
            deliveries = self._evaluator.evaluate(plan)
        except KVCacheFullError:
            self._relieve_pressure()
            return False
        except Exception:  # llama.cpp's, or of one sequence's sampling: the others go on
            _log.exception("a batch of %d tokens failed", plan.n_tokens)
            self._fail(plan)
            return False
        self._progress.note()
        if plan.chunks:
            self._throughput.observe(plan.n_prompt, perf_counter() - started)
        ended = [s for s in plan.sequences() if s.finish_reason is not None]
        if self._prefixes is not None:
            # A request that ends with this step waits for what is written, the others don't.
            self._prefixes.store(ended=True)
        if ended:
            self._remove(ended)
        self._send(deliveries)
        if self._prefixes is not None:
            self._prefixes.store()
        return True

    def _end(
        self,
        sequences: list[Sequence],
        reason: FinishReason,
        *,
        at_deadline: bool = False,
        keeps_cells: bool = True,
    ) -> None:
        """End sequences before their time; their outputs say why."""
        outputs = [(s.generation, s.finish(reason)) for s in sequences]
        for _, output in outputs:
            # What was held back may have completed a stop string, which is the better reason.
            output.reached_deadline = at_deadline and output.finish_reason == "length"
        self._remove(sequences, keeps_cells=keeps_cells)
        for sequence in sequences:
            self._inbox.leave_queue(sequence.generation)
        self._send(outputs)

    def _remove(self, ended: list[Sequence], *, keeps_cells: bool = True) -> None:
        """Let go of sequences that ended."""
        self._scheduler.remove(ended, keeps_cells=keeps_cells)
        self._inbox.give_back(ended)
        self._progress.note()

    def _relieve_pressure(self) -> None:
        """Free KV cells. What does not fit even alone ends."""
        if self._scheduler.relieve_pressure():
            return
        overfull = list(self._scheduler.running)
        _log.error("one sequence alone overfills the KV cache of %d cells", self._kv.n_cells)
        self._end(overfull, "length")

    def _fail(self, plan: Plan) -> None:
        """End every sequence of a failed batch with an error; the others go on.

        llama.cpp keeps the parts of a batch that it evaluated before one failed, so their cells go.
        """
        failed = list(plan.sequences())
        self._stats.failed_sequences += len(failed)
        self._end(failed, "error", keeps_cells=False)

    def _abandon_all(self) -> None:
        """Tell everybody who still waits that nothing comes any more."""
        # Not by `Sequence.finish`: what a fault left behind may have no end.
        failures = [
            (s.generation, Output(s.index, "", finish_reason="error")) for s in self._scheduler
        ]
        for generation in self._inbox.close():
            failures += _failures(generation)
        self._send(failures)

    def _send(self, deliveries: list[Delivery]) -> None:
        """Hand outputs over. Where the event loop is closed, nobody wants more of them.

        Those sequences end with the next turn: this one may still have them in its plan.
        """
        for generation in deliver(deliveries) if deliveries else ():
            self._request_cancel(generation)


def _failures(generation: Generation) -> list[Delivery]:
    """The outputs of a request that can't be served."""
    indices = range(generation.n_sequences)
    return [(generation, Output(index, "", finish_reason="error")) for index in indices]
