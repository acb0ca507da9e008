"""Prompt groups: short prompts in shares of KV cells, batched in one call, padded to one length.

llama.cpp cuts a batch into pieces with equally many tokens of sequences whose ids are consecutive,
and each piece takes as long as a call. So prompts of one length are one piece, and where a call
takes long beside a token, as with tiny models and on GPUs, shorter ones are worth padding: with
tokens behind their own, whose cells are removed right after the decode. With one layer a call took
as long as 7 tokens (17 tokens 0.41 ms, four times 17 together 1.33 ms; a Xeon with AVX-512), with
the built-in model as long as 3. What it takes here is learnt from the calls (`PromptCosts`).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from shared.engine.batching.plan import Plan
from shared.engine.batching.prompt_costs import PromptCosts
from shared.engine.batching.throughput import ThroughputEstimate
from shared.engine.kv_cache.cache import KVCache
from shared.engine.llama.context import Batch, OutputTokens
from shared.engine.sequence import Sequence, running_entry

Chunk = tuple[Sequence, int]
"""A sequence, and how many tokens of its prompt."""

_SHORT_SECONDS = 0.003
"""A prompt that takes no longer is sampled from together with others: what the engine does around a
batch, and waiting for the interpreter, then takes a good part of the time."""
_TOGETHER_SECONDS = 0.02
"""As long as the first of these may wait for the others, at most."""


def parts_of(plan: Plan, costs: PromptCosts, throughput: ThroughputEstimate) -> Iterator[Plan]:
    """What of a plan is evaluated and handed over at once: short prompts together."""
    if len(plan.chunks) < 2:
        return plan.parts()
    costs.update()
    seconds = costs.token_seconds or throughput.seconds_per_token
    if not seconds:
        return plan.parts()
    return plan.parts(_SHORT_SECONDS / seconds, _TOGETHER_SECONDS / seconds, costs.call_tokens)


def prompt_groups(
    chunks: list[Chunk], kv: KVCache, *, call_tokens: float, n_most: int
) -> list[list[Chunk]]:
    """The chunks of each call, by sequence id, so that all take the least time together.

    ``call_tokens``: see `PromptCosts`. A call has ``n_most`` tokens at most, padding included.
    Padding needs cells behind a sequence's own, and a memory that can be cut.
    """
    chunks = sorted(chunks, key=lambda chunk: running_entry(chunk[0]).seq_id)
    best = [0.0]
    begins: list[int] = []
    for end in range(1, len(chunks) + 1):
        entry, longest = running_entry(chunks[end - 1][0]), chunks[end - 1][1]
        least, begin = best[-1] + call_tokens + longest, end - 1
        is_padded, furthest, seq_id = False, entry.n_evaluated, entry.seq_id
        for i in range(end - 2, -1, -1):
            entry, n_chunk = running_entry(chunks[i][0]), chunks[i][1]
            seq_id -= 1
            if entry.seq_id != seq_id:
                break
            is_padded |= n_chunk != longest
            longest = max(longest, n_chunk)
            furthest = max(furthest, entry.n_evaluated)
            if (end - i) * longest > n_most:
                break
            if is_padded and not (kv.can_cut and furthest + longest <= kv.n_cells_each):
                break
            cost = best[i] + call_tokens + (end - i) * longest
            if cost < least:
                least, begin = cost, i
        best.append(least)
        begins.append(begin)
    groups: list[list[Chunk]] = []
    end = len(chunks)
    while end:
        groups.append(chunks[begins[end - 1] : end])
        end = begins[end - 1]
    return groups[::-1]


def add_chunks(batch: Batch, chunks: list[Chunk], kv: KVCache) -> list[tuple[int, int]]:
    """Add chunks of prompts to ``batch``; in shares of KV cells all padded to the longest.

    Returns the sequence ids that are padded, and the positions from which their padding is to be
    removed once it is evaluated.
    """
    longest = 0
    if len(chunks) > 1 and not kv.is_unified:
        longest = max(n_chunk for _, n_chunk in chunks)
    padding: list[tuple[int, int]] = []
    for sequence, n_chunk in chunks:
        entry = running_entry(sequence)
        start, end = entry.n_evaluated, entry.n_evaluated + n_chunk
        if sequence.scores_prompt:
            outputs: OutputTokens = "all"
        else:
            outputs = "last" if end == entry.n_tokens else "none"
        batch.add_chunk(kv.tokens(entry, start, end), start, entry.seq_id, outputs=outputs)
        if n_chunk < longest:
            tokens = np.zeros(longest - n_chunk, dtype=np.int32)
            batch.add_chunk(tokens, end, entry.seq_id, outputs="none")
            padding.append((entry.seq_id, end))
    return padding
