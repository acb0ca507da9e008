"""Random workloads on the scheduler and the KV cache, beside an exact model of all cells.

Nothing here evaluates a model: a token is what the tokens before it say, so that sequences come to
share what they generated, too.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from shared.engine.batching.plan import Plan
from shared.engine.context_window import ContextWindow
from shared.engine.detokenizer import Vocabulary
from shared.engine.kv_cache.cache import KVCache
from shared.engine.kv_cache.cells import KVEntry
from shared.engine.llama.context import KVCacheFullError
from shared.engine.mailbox.generation import Generation
from shared.engine.prefixes.prompt import PromptPrefix
from shared.engine.scheduler import Scheduler
from shared.engine.sequence import Sequence, sequences_of
from shared.engine.speculation.draft import Draft
from shared.engine.types import GenerationRequest, Priority, SamplingParams
from tests.engine.cells import Cells
from tests.sweeps import examples

N_BATCH = 24
MOST_TOKENS = 200
VOCABULARY = Vocabulary(lambda token, special=False: b"x")
LOOP: Any = None


def next_tokens(sequence: Sequence, count: int) -> list[int]:
    total, n_tokens = int(sequence.tokens.sum()), sequence.n_tokens
    found: list[int] = []
    for _ in range(count):
        found.append((total + n_tokens) % 3)
        total, n_tokens = total + found[-1], n_tokens + 1
    return found


class Optimist(Scheduler):
    """Admits whoever waits: progress must not hang on the counts."""

    def _likely_fits(self, newcomer: Sequence, n_needed: int) -> bool:
        return True


class KVMachine(RuleBasedStateMachine):
    """What the engine does with the two, and what may happen to its sequences meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.live: list[Sequence] = []
        self.ended: list[Sequence] = []
        self.cut_short: set[Sequence] = set()
        self.n_attempts = 0
        self.fails_after: int | None = None
        self.n_drafted = self.n_right = 0

    @initialize(
        n_parallel=st.integers(1, 6),
        n_cells=st.sampled_from([64, 128, 256]),
        is_unified=st.sampled_from([True, True, False]),
        least_copied=st.sampled_from([2, 32]),
        believes_counts=st.booleans(),
        shifts=st.booleans(),
    )
    def begin(
        self,
        n_parallel: int,
        n_cells: int,
        is_unified: bool,
        least_copied: int,
        believes_counts: bool,
        shifts: bool,
    ) -> None:
        n_seq_max = n_parallel + 3 if is_unified else n_parallel
        self.n_parallel = n_parallel
        self.cells = Cells(
            n_cells if is_unified else n_cells * n_parallel, n_seq_max, is_unified=is_unified
        )
        self.kv = KVCache(self.cells, n_seq_max, least_copied=least_copied)
        self.kv.on_evict = self.keep
        kind = Scheduler if believes_counts else Optimist
        self.window = ContextWindow(self.cells.n_ctx_seq, shifts)
        sizes = {"n_batch": N_BATCH, "n_parallel": n_parallel, "n_scored": 5}
        self.scheduler = kind(self.kv, **sizes, window=self.window)
        # Without a step in between nobody may try more often: all cells of all running sequences
        # are evaluated one by one, everybody is preempted and everything evicted.
        n_tokens = n_cells + 4 * MOST_TOKENS * shifts
        self.most_attempts = n_parallel * n_tokens + n_parallel + n_seq_max

    @rule(
        first=st.integers(0, 1),
        n_alike=st.sampled_from([0, 3, 17, 40, 60, 100]),
        n_rest=st.integers(1, 20),
        max_tokens=st.sampled_from([1, 5, 40, 90, MOST_TOKENS]),
        n=st.integers(1, 5),
        tenant=st.sampled_from("ab"),
        priority=st.sampled_from(Priority),
        scores=st.booleans(),
        n_state=st.sampled_from([0, 0, 16, 40, 64]),
    )
    def submit(
        self,
        first: int,
        n_alike: int,
        n_rest: int,
        max_tokens: int,
        n: int,
        tenant: str,
        priority: Priority,
        scores: bool,
        n_state: int,
    ) -> None:
        n_ctx = self.cells.n_ctx_seq
        prompt = ([first] * n_alike + [len(self.live) % 3] * n_rest)[: n_ctx - 1]
        request = GenerationRequest(
            prompt=prompt,
            max_tokens=max_tokens,
            sampling=SamplingParams(seed=0),
            n=n,
            priority=priority,
            top_logprobs=0 if scores else None,
            prompt_logprobs=scores,
        )
        generation = Generation([request], LOOP, lambda _: None, tenant)
        for sequence in sequences_of(generation, VOCABULARY, self.window):
            self.live.append(sequence)
            if n_state and not sequence.choice and not scores:
                # Where it is shorter, all of the prompt and more was stored.
                state = np.resize(np.array(prompt, dtype=np.int32), min(n_state, len(prompt)))
                sequence.prefix = PromptPrefix([], state.view(np.uint8), len(state))
            self.scheduler.add(sequence)

    @rule(count=st.integers(1, 30))
    def go_on(self, count: int) -> None:
        for _ in range(count):
            self.step()

    @rule(n_drafted=st.integers(0, 9), n_right=st.integers(0, 9))
    def draft(self, n_drafted: int, n_right: int) -> None:
        """From now on drafts are so long, as far as there are cells, and right up to there."""
        self.n_drafted, self.n_right = n_drafted, n_right

    @rule(which=st.integers(0, 50))
    def end_early(self, which: int) -> None:
        """Cancelled, or at its deadline, running or waiting."""
        if self.live:
            self.end([self.live[which % len(self.live)]])

    @rule(n_evaluated=st.integers(0, N_BATCH))
    def fail(self, n_evaluated: int) -> None:
        """The next batch fails when a part of it is evaluated."""
        self.fails_after = n_evaluated
        self.step()
        self.fails_after = None

    @rule()
    def finish_all(self) -> None:
        while self.live:
            self.step()

    def step(self) -> None:
        plan = self.scheduler.schedule()
        self.the_counts_are_exact()
        assert plan.n_tokens or not self.live
        self.add_drafts(plan)
        for part in [plan] if self.kv.is_unified else plan.parts():
            if part.n_tokens and not self.evaluate(part):
                break

    def add_drafts(self, plan: Plan) -> None:
        for sequence in plan.decodes:
            n_tokens = min(self.n_drafted, sequence.n_room - 1)
            if self.kv.is_unified:
                n_tokens = min(n_tokens, self.kv.n_cells_free - plan.n_tokens)
            if n_tokens > 0:
                tokens = next_tokens(sequence, n_tokens)
                tokens[self.n_right :] = [3] * len(tokens[self.n_right :])
                plan.drafts[sequence] = Draft(tokens, [1.0] * n_tokens)

    def evaluate(self, plan: Plan) -> bool:
        self.n_attempts += 1
        assert self.n_attempts <= self.most_attempts, "nobody gets on"
        pieces = [(sequence, 1) for sequence in plan.decodes] + plan.chunks
        batch = [self.tokens(sequence, n_tokens) for sequence, n_tokens in pieces]
        for i, sequence in enumerate(plan.decodes):
            if sequence in plan.drafts:
                batch[i] = (batch[i][0], (*batch[i][1], *plan.drafts[sequence].tokens))
        try:
            self.cells.evaluate(batch, stops_after=self.fails_after)
        except KVCacheFullError:
            assert not plan.drafts, "drafts are for cells that are free"
            if not self.scheduler.relieve_pressure():
                raise AssertionError("one sequence alone has not enough cells") from None
            return False
        if self.fails_after is not None:
            self.end(list(plan.sequences()), keeps_cells=False)
            return False
        done = []
        for sequence, n_tokens in pieces:
            entry = sequence.entry
            assert entry is not None
            self.kv.advance(entry, n_tokens)
            if sequence.prompt_logprobs is not None and sequence.scores_prompt:
                sequence.prompt_logprobs += [None] * n_tokens
            if entry.n_evaluated == entry.n_tokens:
                self.sample(sequence, plan.drafts.get(sequence))
                if sequence.finish_reason is not None:
                    done.append(sequence)
        self.cut_short -= set(done)
        self.remove(done)
        return True

    def sample(self, sequence: Sequence, draft: Draft | None) -> None:
        entry = sequence.entry
        assert entry is not None
        while True:
            (token,) = next_tokens(sequence, 1)
            sequence.add_token(token, is_end=False, logprobs=None)
            if sequence.finish_reason is None:
                self.kv.append(entry, token)
            if draft is None:
                break
            if not sequence.accepts(draft):
                self.kv.remove_behind(entry.seq_id, entry.n_evaluated)
                break
            self.kv.advance(entry, 1)

    def tokens(self, sequence: Sequence, n_tokens: int) -> tuple[int, tuple[int, ...]]:
        entry = sequence.entry
        assert entry is not None
        start = entry.n_evaluated
        return entry.seq_id, tuple(self.kv.tokens(entry, start, start + n_tokens).tolist())

    def end(self, sequences: list[Sequence], *, keeps_cells: bool = True) -> None:
        self.cut_short |= set(sequences)
        self.remove(sequences, keeps_cells=keeps_cells)

    def remove(self, sequences: list[Sequence], *, keeps_cells: bool = True) -> None:
        if sequences:
            self.n_attempts = 0
        self.scheduler.remove(sequences, keeps_cells=keeps_cells)
        for sequence in sequences:
            self.live.remove(sequence)
            self.ended.append(sequence)

    @invariant()
    def the_counts_are_exact(self) -> None:
        if not hasattr(self, "kv"):
            return
        self.kv.check_integrity()
        running = [s.entry.seq_id for s in self.scheduler.running if s.entry]
        assert self.kv.n_cells_free == self.cells.n_ctx - self.cells.n_used
        assert self.kv.n_cells_running == self.cells.n_used_by(running)
        assert self.kv.n_cells_finished == self.cells.n_used - self.cells.n_used_by(running)
        assert len(running) <= self.n_parallel
        assert self.scheduler.n_waiting == len(self.live) - len(running)
        assert set(self.scheduler) == set(self.live)

    def keep(self, entry: KVEntry) -> None:
        """As what reads an entry's cells before others get them."""
        assert entry.seq_id not in self.cells.copies

    @invariant()
    def finished_entries_hold_what_their_rows_say_and_no_other_tenants(self) -> None:
        owners: dict[int, Hashable] = {}
        for entry in filter(None, self.kv._entries) if hasattr(self, "kv") else ():
            tokens = tuple(self.kv.tokens(entry, 0, entry.n_evaluated).tolist())
            for position, cell in enumerate(self.cells.rows.get(entry.seq_id, [])):
                assert cell.prefix == tokens[: position + 1]
                assert owners.setdefault(id(cell), entry.salt) == entry.salt

    @invariant()
    def cells_hold_what_their_sequences_say_and_no_other_tenants(self) -> None:
        owners: dict[int, str] = {}
        for sequence in self.scheduler.running if hasattr(self, "kv") else ():
            assert sequence.entry is not None
            row = self.cells.rows.get(sequence.entry.seq_id, [])
            tokens = tuple(sequence.tokens.tolist())
            for position, cell in enumerate(row):
                assert cell.prefix == tokens[: position + 1]
                tenant = sequence.generation.tenant
                assert owners.setdefault(id(cell), tenant) == tenant

    def teardown(self) -> None:
        self.finish_all()
        for sequence in self.ended:
            if sequence not in self.cut_short:
                assert len(sequence.sampled) == self.window.most(sequence.request)


KVMachine.TestCase.settings = settings(
    derandomize=True,
    deadline=None,
    max_examples=examples(100),
    stateful_step_count=30,
    suppress_health_check=[HealthCheck.too_slow],
)
test_any_workload_gets_on_and_is_counted_exactly = KVMachine.TestCase
