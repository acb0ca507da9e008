"""Planner: what a turn of the engine's loop evaluates, with which drafts, and in which calls."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from shared.engine.batching.plan import Plan
from shared.engine.batching.prompt_groups import parts_of
from shared.engine.batching.splitting import BatchSplitter
from shared.engine.batching.throughput import ThroughputEstimate
from shared.engine.evaluator import Evaluator
from shared.engine.scheduler import Scheduler
from shared.engine.speculation.speculator import Speculator


class Planner:
    """Plans batches as the scheduler has them, and divides them as the evaluator needs them."""

    def __init__(
        self,
        scheduler: Scheduler,
        evaluator: Evaluator,
        speculator: Speculator | None,
        throughput: ThroughputEstimate,
        *,
        is_unified: bool,
    ) -> None:
        """``is_unified``: whether sequences have their KV cells from one pool."""
        self._scheduler = scheduler
        self._evaluator = evaluator
        self._speculator = speculator
        self._throughput = throughput
        self._is_unified = is_unified
        self._splitter = BatchSplitter(evaluator.costs, is_unified=is_unified)

    def plan(self, remaining: float | None) -> Plan:
        """The next batch, which is empty when there is nothing to do.

        A large batch of a prompt takes seconds on a slow machine, and nothing can end it. So it
        gets no more tokens than fit into the ``remaining`` seconds until a deadline.
        """
        n_prompt = None if remaining is None else self._throughput.tokens_within(remaining)
        return self._scheduler.schedule(n_prompt)

    def calls(self, plan: Plan, remaining: float | None) -> Iterable[Plan]:
        """The parts of ``plan``, with drafts: one for each call of llama.cpp, but that short
        prompts, and several steps, have one for several."""
        if self._speculator is not None:
            self._speculator.add_drafts(plan, remaining)
        plan.is_multi_step = self._may_take_steps(plan, remaining)
        if len(plan.decodes) == 1 and not plan.chunks:
            return (plan,)
        if plan.is_multi_step:
            return plan.parts()
        if self._is_unified:
            return self._splitter.split(plan)
        parts = parts_of(plan, self._evaluator.prompt_costs, self._throughput)
        return chain.from_iterable(map(self._splitter.split, parts))

    def _may_take_steps(self, plan: Plan, remaining: float | None) -> bool:
        """Whether a plan's sequences may go on for several steps.

        Whoever waits still could not be admitted now, and can't before one of them ends.
        """
        return (
            not plan.chunks
            and self._evaluator.multi_step.suits(plan.decodes, remaining)
            and (self._speculator is None or not any(map(self._speculator.may_draft, plan.decodes)))
        )
