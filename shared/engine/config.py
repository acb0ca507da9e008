"""Engine configuration: sizes asked for, and sizes chosen from the model and the machine."""

from __future__ import annotations

from dataclasses import dataclass

from shared.engine.llama.memory import CacheType
from shared.engine.llama.model import Model
from shared.engine.speculation.options import SpeculationOptions
from shared.host.processors import host_processors

MAX_SEQUENCES = 256
"""llama.cpp's LLAMA_MAX_SEQ."""
_SMALL_MODEL = 50_000_000
"""Parameters up to which a second thread costs more in waiting than it saves in arithmetic."""
FINISHED_IN_POOL = 32
"""Sequence ids for finished sequences in a pool; where there is none they are places' own."""
SCORED_BYTES = 2**26
"""Memory for the logits of prompt tokens that are scored in one batch, 64 MiB."""


DRAFT_OUTPUTS = 64
"""Rows of logits of a draft model's decode, or as many as there are sequences."""


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """Sizes of one engine. ``n_ctx`` and ``n_threads`` 0 are chosen from the model and machine.

    ``n_ctx``: KV cells (tokens) of all sequences together. ``n_parallel``: sequences in one batch.
    ``n_batch``: tokens in one batch; ``n_ubatch`` of them are computed at once, 0 for all.
    ``max_queue``: sequences of a tenant that wait before new ones are refused. ``kv_unified``: one
    pool of cells for all sequences, or a share for each (see `kv_cache`); None takes a pool for up
    to four sequences, and for models whose shares would be small. ``speculation``: drafts of the
    next tokens; None for none. ``context_shift``: see `ContextWindow`. The rest is as in
    `ContextParams`.
    """

    n_ctx: int = 0
    n_parallel: int = 16
    n_batch: int = 512
    n_ubatch: int = 0
    n_threads: int = 0
    max_queue: int = 256
    kv_unified: bool | None = None
    flash_attn: bool | None = None
    cache_type_k: CacheType = "f16"
    cache_type_v: CacheType = "f16"
    kv_offload: bool = True
    speculation: SpeculationOptions | None = None
    context_shift: bool = False


@dataclass(slots=True)
class EngineStats:
    """Counters since the start, and gauges as of now; units are in the names."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    evaluated_tokens: int = 0
    draft_tokens: int = 0
    accepted_draft_tokens: int = 0
    steps: int = 0
    preemptions: int = 0
    context_shifts: int = 0
    cancelled_sequences: int = 0
    failed_sequences: int = 0
    sequences_running: int = 0
    sequences_waiting: int = 0
    requests_queued: int = 0
    kv_cells: int = 0
    kv_cells_running: int = 0
    kv_cells_cached: int = 0
    prefix_memory_tokens: int = 0
    prefix_store_tokens: int = 0
    prefix_read_bytes: int = 0
    prefix_written_bytes: int = 0
    prefix_written_tokens: int = 0
    prefix_invalid_blocks: int = 0
    prefix_store_failures: int = 0
    prefix_timeouts: int = 0
    prefix_skipped_writes: int = 0
    prefix_saved_seconds: float = 0.0
    prefix_memory_bytes: int = 0


def default_threads(model: Model) -> int:
    """All processors that the process may use; one where more would only wait for each other.

    That is so for models too small to share out, and where all layers are on a GPU: what is left
    for the CPU is looking up the tokens' embeddings.
    """
    if model.n_params < _SMALL_MODEL or model.n_gpu_layers > model.n_layers:
        return 1
    return host_processors()
