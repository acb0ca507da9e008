"""Step loop of the engine: takes what callers ask for, evaluates batches, ends sequences.

It alone touches the llama context, the scheduler, the KV cache and running sequences. Callers reach
it through the inbox, it reaches them through the outbox. Who takes its turns, one at a time:
`shared.engine.turns`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from time import perf_counter

from shared.engine.batching.plan import Plan
from shared.engine.batching.throughput import ThroughputEstimate
from shared.engine.config import EngineStats
from shared.engine.context_window import ContextWindow
from shared.engine.detokenizer import Vocabulary
from shared.engine.evaluator import Evaluator
from shared.engine.kv_cache.cache import KVCache
from shared.engine.llama.context import KVCacheFullError
from shared.engine.mailbox.generation import Delivery, Generation
from shared.engine.mailbox.inbox import Inbox
from shared.engine.mailbox.outbox import Outbox
from shared.engine.planner import Planner
from shared.engine.prefix_use import PrefixUse
from shared.engine.scheduler import Scheduler
from shared.engine.sequence import Sequence, sequences_of
from shared.engine.speculation.speculator import Speculator
from shared.engine.stall import Progress
from shared.engine.types import FinishReason, Output

_log = logging.getLogger("pilotlight.engine")


class StepLoop:
    """What a turn of the engine does."""

    def __init__(
        self,
        inbox: Inbox,
        scheduler: Scheduler,
        kv: KVCache,
        evaluator: Evaluator,
        prefixes: PrefixUse | None,
        *,
        speculator: Speculator | None,
        vocabulary: Vocabulary,
        throughput: ThroughputEstimate,
        stats: EngineStats,
        window: ContextWindow,
    ) -> None:
        """``window``: of each sequence."""
        self.progress = Progress()
        # They end with the next turn: this one may still have them in its plan.
        self.outbox = Outbox(lambda generation: inbox.put(("cancel", generation)))
        self._inbox = inbox
        self._scheduler = scheduler
        self._kv = kv
        self._evaluator = evaluator
        self._prefixes = prefixes
        self._vocabulary = vocabulary
        self._throughput = throughput
        self._planner = Planner(
            *(scheduler, evaluator, speculator, throughput), is_unified=kv.is_unified
        )
        self._stats = stats
        self._window = window
        self._has_deadlines = False

    def take_turn(self) -> None:
        """Take what callers asked for, and make a step."""
        self._receive()
        remaining = self._end_overdue() if self._has_deadlines else None
        self.progress.is_idle = not self._step(remaining)
        if self.progress.is_spinning():
            raise RuntimeError("there are sequences, but none gets on")

    def note_idle(self) -> bool:
        """Whether there is nothing left to do; noted without a turn to find that out."""
        is_idle = not (self._scheduler.running or self._scheduler.n_waiting)
        self.progress.is_idle = is_idle
        return is_idle

    def close(self) -> None:
        """Tell everybody who still waits that nothing comes any more."""
        # Not by `Sequence.finish`: what a fault left behind may have no end.
        failures = [
            (s.generation, Output(s.index, "", finish_reason="error")) for s in self._scheduler
        ]
        for generation in self._inbox.close():
            failures += _failures(generation)
        self.outbox.add(failures)
        self.outbox.hand_over()
        self._evaluator.late.close()

    def _receive(self) -> None:
        """Take what callers asked for."""
        if self.progress.is_idle and self._inbox.has_letters():
            self.progress.note()
            self.progress.is_idle = False
        while self._inbox.has_letters():
            kind, subject = self._inbox.read()
            if kind == "abort":
                self._end(list(self._scheduler), "cancelled")
            elif isinstance(subject, str):
                self._forget(subject)
            elif subject is None:
                continue
            elif kind == "cancel":
                self._cancel(subject)
            elif kind == "found":
                if self._prefixes is not None and self._prefixes.end_one(subject):
                    self._scheduler.release(subject)
            else:
                self._add_sequences(subject)

    def _forget(self, tenant: str) -> None:
        """Drop what is kept of a tenant's prompts, but for what runs."""
        self._kv.forget(tenant)
        if self._prefixes is not None:
            self._prefixes.cache.forget(tenant)

    def _add_sequences(self, generation: Generation) -> None:
        """Queue a sequence for each choice; what can't be made into one ends with an error."""
        self._has_deadlines |= any(r.deadline is not None for r in generation.requests)
        try:
            sequences = sequences_of(generation, self._vocabulary, self._window)
        except Exception:  # one caller's request shall not end the others'
            _log.exception("a request can't be made into sequences")
            self._inbox.give_up(generation)
            self.outbox.add(_failures(generation))
            return
        self._evaluator.late.expect(sequences)
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

        ``remaining``: seconds until the next deadline, None where there is none.
        """
        late = self._evaluator.late
        if late:
            self._resume()
        plan = self._planner.plan(remaining)
        for sequence in plan.admitted:
            self._inbox.leave_queue(sequence.generation)
        if plan.is_empty:
            if late:
                self.outbox.hand_over()
                self._inbox.wait(remaining)
            return bool(late)
        if self._prefixes is not None:
            self._prefixes.admit(plan.admitted)
        for part in self._planner.calls(plan, remaining):
            if not self._evaluate(part):
                break  # what follows may be gone
        return True

    def _evaluate(self, plan: Plan) -> bool:
        """Evaluate a batch and deliver what it gives; False when it has to be planned anew."""
        started = perf_counter() if plan.chunks else 0.0
        self.outbox.is_urgent = bool(plan.chunks)
        try:
            deliveries = self._evaluator.evaluate(plan)
        except KVCacheFullError:
            if plan.drafts:  # nobody gives up cells for what may be wrong
                plan.drafts = {}
                return self._evaluate(plan)
            self._relieve_pressure()
            return False
        except Exception:  # llama.cpp's, or of one sequence's sampling: the others go on
            _log.exception("a batch of %d tokens failed", plan.n_tokens)
            self._fail(list(plan.sequences()))
            return False
        self.progress.note()
        seconds = perf_counter() - started if plan.chunks else 0.0
        self._deliver(plan.sequences(), deliveries)
        if plan.chunks:
            n_prompt = plan.n_prompt
            self._throughput.observe(n_prompt, seconds)
            if not plan.decodes and (self._kv.is_unified or len(plan.chunks) == 1):
                self._evaluator.costs.observe_prompt(n_prompt, seconds)
        return True

    def _resume(self) -> None:
        """Sample for sequences that have waited for their masks."""
        taken = self._evaluator.late.take_ready()
        if taken is None:
            return
        ready, logits = taken
        try:
            deliveries = self._evaluator.sampling.sample(logits, ready)
        except Exception:
            _log.exception("sampling for %d late sequences failed", len(ready))
            self._fail(ready)
            return
        self.progress.note()
        self._deliver(ready, deliveries)

    def _deliver(self, sequences: Iterable[Sequence], deliveries: list[Delivery]) -> None:
        """Let go of those of ``sequences`` that a step has ended, and hand over what it gives."""
        ended = [s for s in sequences if s.finish_reason is not None]
        if self._prefixes is not None:
            # A request that ends with this step waits for what is written, the others don't.
            self._prefixes.store(ended=True)
        if ended:
            self._remove(ended)
        self.outbox.add(deliveries)
        scheduler = self._scheduler
        if not (scheduler.running or scheduler.n_waiting or self._inbox.has_letters()):
            self.outbox.hand_over()  # the event loop wakes while this turn ends
        if self._prefixes is not None:
            self.outbox.hand_over()
            self._prefixes.store()

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
        self.outbox.add(outputs)

    def _remove(self, ended: list[Sequence], *, keeps_cells: bool = True) -> None:
        """Let go of sequences that ended."""
        self._scheduler.remove(ended, keeps_cells=keeps_cells)
        self._evaluator.late.forget(ended)
        self._inbox.give_back(ended)
        self.progress.note()

    def _relieve_pressure(self) -> None:
        """Free KV cells. What does not fit even alone ends."""
        if self._scheduler.relieve_pressure():
            return
        overfull = list(self._scheduler.running)
        _log.error("one sequence alone overfills the KV cache of %d cells", self._kv.n_cells)
        self._end(overfull, "length")

    def _fail(self, failed: list[Sequence]) -> None:
        """End every sequence of a failed batch with an error; the others go on.

        llama.cpp keeps the parts of a batch that it evaluated before one failed, so their cells go.
        """
        self._stats.failed_sequences += len(failed)
        self._end(failed, "error", keeps_cells=False)


def _failures(generation: Generation) -> list[Delivery]:
    """The outputs of a request that can't be served."""
    indices = range(generation.n_sequences)
    return [(generation, Output(index, "", finish_reason="error")) for index in indices]
