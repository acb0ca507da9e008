"""Verification of drafts: a step evaluates them behind last tokens, and keeps what is sampled."""

from __future__ import annotations

from collections.abc import Callable

from shared.engine.batching.plan import Plan
from shared.engine.config import EngineStats
from shared.engine.kv_cache.cache import KVCache
from shared.engine.late_masks import LateSequences
from shared.engine.llama.context import Batch, LogitsArray
from shared.engine.mailbox.generation import Delivery
from shared.engine.sequence import Sequence, running_entry

Sample = Callable[[LogitsArray, list[Sequence]], list[Delivery]]
"""Has sequences take a token each, of a row of logits each."""


def add_with_drafts(batch: Batch, plan: Plan) -> list[int]:
    """Add a token for each sequence that decodes, and its draft; the row of each's own token."""
    tokens: list[int] = []
    positions: list[int] = []
    seq_ids: list[int] = []
    rows: list[int] = []
    for sequence in plan.decodes:
        entry = running_entry(sequence)
        draft = plan.drafts.get(sequence)
        behind = draft.tokens if draft is not None else []
        rows.append(len(tokens))
        tokens += [sequence.last_token, *behind]
        positions += range(entry.n_evaluated, entry.n_evaluated + 1 + len(behind))
        seq_ids += [entry.seq_id] * (1 + len(behind))
    batch.add_decodes(tokens, positions, seq_ids)
    return rows


def verify(
    plan: Plan,
    logits: LogitsArray,
    rows: list[int],
    sample: Sample,
    *,
    kv: KVCache,
    late: LateSequences,
    stats: EngineStats,
) -> list[Delivery]:
    """Sample at each position of the drafts, for as long as that gives what was drafted.

    What is sampled goes the way of all tokens, one after the other: drafts change nothing but how
    many there are in a step. ``rows``: those of `add_with_drafts`. The cells of what was not
    accepted are removed.
    """
    for sequence, draft in plan.drafts.items():
        sequence.count_draft(draft)
        stats.draft_tokens += len(draft.tokens)
    deliveries = sample(rows_at(logits, rows), plan.decodes)
    following = list(zip(plan.decodes, rows, strict=True))
    while following := [
        (sequence, row + 1)
        for sequence, row in following
        if sequence in plan.drafts
        and sequence not in late
        and sequence.accepts(plan.drafts[sequence])
    ]:
        for sequence, _ in following:
            kv.advance(running_entry(sequence), 1)
        ready = [sequence for sequence, _ in following]
        deliveries += sample(rows_at(logits, [row for _, row in following]), ready)
    for sequence, draft in plan.drafts.items():
        entry = running_entry(sequence)
        kv.remove_behind(entry.seq_id, entry.n_evaluated)
        stats.accepted_draft_tokens += draft.n_accepted
    return deliveries


def rows_at(logits: LogitsArray, rows: list[int]) -> LogitsArray:
    """Some rows, ascending; without a copy where they are consecutive."""
    first, end = rows[0], rows[-1] + 1
    return logits[first:end] if end - first == len(rows) else logits[rows]
