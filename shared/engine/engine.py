"""Continuous batching engine: what event loops ask of the thread that owns the llama context."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterable

from shared.engine.batching.throughput import ThroughputEstimate
from shared.engine.config import EngineConfig, EngineStats
from shared.engine.context_window import ContextWindow
from shared.engine.detokenizer import Vocabulary
from shared.engine.evaluator import Evaluator
from shared.engine.kv_cache.cache import KVCache
from shared.engine.kv_cache.copies import least_copied
from shared.engine.llama.context_fit import new_context
from shared.engine.llama.errors import LlamaError
from shared.engine.llama.model import Model
from shared.engine.mailbox.generation import Generation
from shared.engine.mailbox.inbox import Inbox
from shared.engine.mailbox.queue_limits import Load
from shared.engine.prefix_use import PrefixUse, prefix_cache
from shared.engine.prefixes.cache import PrefixOptions
from shared.engine.prefixes.prompt import COMMON
from shared.engine.scheduler import Scheduler
from shared.engine.speculation.options import SpeculationOptions
from shared.engine.speculation.setup import new_speculator
from shared.engine.step_loop import StepLoop
from shared.engine.turns import Turns
from shared.engine.types import (
    ContextLengthError,
    EngineStoppedError,
    GenerationRequest,
    RunningSequence,
    SamplingParams,
)


class Engine:
    """Generates for any number of requests at once on one model.

    `submit` is called on an event loop and gives a `Generation` to iterate. Everything else happens
    in turns (`shared.engine.turns`), on the engine's thread but for what takes a moment: whoever
    has the turn alone touches the llama context.
    """

    def __init__(
        self,
        model: Model,
        config: EngineConfig,
        prefixes: PrefixOptions | None = None,
        draft_model: Model | None = None,
    ) -> None:
        """Create the context; raises `LlamaError` when it does not fit into memory.

        ``prefixes``: where prompts' beginnings are kept besides the KV cells, if anywhere.
        ``draft_model``: of the same vocabulary, see `shared.engine.speculation.draft_model`.
        """
        self._context, params = new_context(model, config, draft_model)
        self.model = model
        self.config = config
        self.n_threads = params.n_threads
        self.n_ctx = min(self._context.n_ctx_seq, model.n_ctx_train)
        """Tokens that one request's prompt and completion may have together."""
        self.window = ContextWindow(self.n_ctx, config.context_shift)
        n_batch = self._context.n_batch
        self._kv = KVCache(
            *(self._context, params.n_seq_max),
            shares_prefixes=not model.is_recurrent,
            least_copied=least_copied(self._context.n_ctx_seq * model.cell_bytes, model.size),
        )
        self._scheduler = Scheduler(
            self._kv,
            n_batch=n_batch,
            n_parallel=config.n_parallel,
            n_scored=params.n_outputs_max - params.n_seq_max,
            window=self.window,
        )
        self._stats = EngineStats(kv_cells=self._context.n_ctx)
        self._inbox = Inbox(Load(config.n_parallel, config.max_queue))
        throughput = ThroughputEstimate()
        cache = prefix_cache(model, self._context, prefixes) if prefixes else None
        self._prefixes = PrefixUse(cache, self._kv, throughput, self._note_found) if cache else None
        evaluator = Evaluator(
            *(model, self._context, self._kv, self._stats),
            n_batch=n_batch,
            on_late=self._wake,
            is_interrupted=self._inbox.has_letters,
        )
        try:
            self._speculator = new_speculator(
                *(self._context, params, self._kv, evaluator.costs),
                draft_model=draft_model,
                options=config.speculation,
            )
        except LlamaError:  # whoever makes room for it tries again
            self._context.close()
            raise
        self._loop = StepLoop(
            *(self._inbox, self._scheduler, self._kv),
            evaluator,
            self._prefixes,
            speculator=self._speculator,
            vocabulary=Vocabulary(model.render),
            throughput=throughput,
            stats=self._stats,
            window=self.window,
        )
        self._turns = Turns(
            *(self._loop, self._inbox, throughput),
            may_be_inline=params.n_threads == params.n_threads_batch == 1
            and not model.n_gpu_layers
            and cache is None,
        )
        self._context.before_decode = self._loop.outbox.hand_over_due
        if self._speculator is not None:
            self._speculator.call_before_decodes(self._loop.outbox.hand_over)
        self._thread = threading.Thread(target=self._turns.run, name="engine", daemon=True)
        self._is_started = False

    def start(self) -> None:
        """Start the engine's thread."""
        self._thread.start()
        self._is_started = True

    def stop(self) -> None:
        """Cancel what runs, end the thread and free the context."""
        self._turns.stop()
        if self._thread.is_alive():
            self._thread.join()
        if self._prefixes is not None:
            self._prefixes.cache.close()
        if self._speculator is not None:
            self._speculator.close()
        self._context.close()

    def abort(self) -> None:
        """End everything that runs or waits with finish reason ``cancelled``; keep serving."""
        self._inbox.put(("abort", None))

    @property
    def speculation(self) -> SpeculationOptions | None:
        """How drafts of the next tokens are made; None where there can be none."""
        return self.config.speculation if self._speculator is not None else None

    @property
    def draft_types(self) -> str:
        """Where these come from in any request, in llama-server's names."""
        return "none" if self.speculation is None else self.speculation.types

    @property
    def is_alive(self) -> bool:
        """Whether requests are served."""
        return self._is_started and not self._turns.is_stopped

    @property
    def is_stalled(self) -> bool:
        """Whether there are sequences, but for minutes no step has been made."""
        return self._loop.progress.is_stalled

    def wait(self) -> bool:
        """Wait until its thread has ended; whether it died, rather than was stopped."""
        self._thread.join()
        return self._turns.has_died

    def check(self, *requests: GenerationRequest, tenant: str = "") -> None:
        """Raise what `submit` would raise now: before work that is done for what it takes."""
        self._check_lengths(requests)
        self._inbox.check(tenant, sum(request.n for request in requests))

    def submit(
        self, *requests: GenerationRequest, tenant: str = "", inline: bool = False
    ) -> Generation:
        """Queue a caller's requests; called on the event loop that will read the outputs.

        ``inline``: the loop has nothing else to do, and may evaluate what takes but a moment.
        Tenants take turns, and share no prefixes with each other. Raises `ContextLengthError` for a
        prompt that leaves no room for a token, `TooManySequencesError`, `QueueFullError`, and
        `EngineStoppedError`.
        """
        self._check_lengths(requests)
        loop = asyncio.get_running_loop()
        generation = Generation(requests, loop, self._request_cancel, tenant)
        self._inbox.submit(generation)
        if not (inline and self._turns.take_inline(loop, requests)):
            self._inbox.wake_soon(loop)
        return generation

    def running(self) -> list[RunningSequence]:
        """The sequences that have KV cells, by arrival; from any thread."""
        found = [sequence.snapshot() for sequence in list(self._scheduler.running)]
        return sorted(found, key=lambda each: each.arrival)

    def stats(self) -> EngineStats:
        """The counters; from any thread, consistent to within a step."""
        stats = self._stats
        stats.preemptions = self._scheduler.n_preemptions
        stats.context_shifts = self._scheduler.n_context_shifts
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
        if self._prefixes is None:
            return 0
        seconds = self._prefixes.cache.timeout
        if until is not None:
            seconds = max(min(seconds, until - time.monotonic()), 0.0)
        return await generation.writes.end(seconds)

    def forget(self, tenant: str) -> None:
        """Drop what is kept of a tenant's prompts in this process, once the engine gets to it.

        What runs goes on, and its cells are kept until others need them.
        """
        self._inbox.put(("forget", tenant))

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

    def _wake(self) -> None:
        self._inbox.put(("wake", None))

    def _note_found(self, generation: Generation) -> None:
        self._inbox.put(("found", generation))
