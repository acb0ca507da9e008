"""Memory fit of contexts: sized by the memory there is, or refused in words."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np

from shared.engine.config import (
    DRAFT_OUTPUTS,
    FINISHED_IN_POOL,
    MAX_SEQUENCES,
    SCORED_BYTES,
    EngineConfig,
    default_threads,
)
from shared.engine.llama.abort import saying
from shared.engine.llama.attention import fuses_attention
from shared.engine.llama.context import Batch, Context, ContextParams
from shared.engine.llama.devices import gpus
from shared.engine.llama.errors import (
    LlamaError,
    MemoryShortageError,
    NoNumbersError,
)
from shared.engine.llama.log import recorded_log
from shared.engine.llama.log_sizes import SizeLine, read_sizes
from shared.engine.llama.memory import (
    SMALLEST_CONTEXT,
    ContextCost,
    Place,
    attention_bytes,
    largest_context,
    shortage,
    summary,
)
from shared.engine.llama.model import Model
from shared.engine.llama.model_fit import mapped, mapped_by_others, others
from shared.engine.llama.sequence_state import StateFormatError, StateLayout
from shared.engine.llama.tokenizer import as_tokens
from shared.host.memory import host_memory, is_in_memory

_log = logging.getLogger("pilotlight.engine")

_DEFAULT_KV_BYTES = 2**31
"""Memory for the KV cache on a CPU unless asked otherwise; models trained on 128k tokens would take
all. A GPU's memory is there for nothing else."""
_DEFAULT_SHARE = 4096
"""Tokens of each sequence, if so much fits for all of them, else there is one pool."""
_DEFAULT_POOL = 16384
"""Tokens of a pool, if so much fits."""
_LARGEST_POOL = 4
"""Parallel sequences up to which one pool of cells is the default."""
_SMALLEST_DEFAULT = 1024
"""Tokens of a sequence below which a context is refused rather than chosen."""
_GPU_MARGIN = 2**29
"""Bytes that a context chosen here leaves free on GPUs, for kernels and their buffers."""
_HOST_MARGIN = 2**27
"""The same on the host, for requests: texts, grammars, the store's client."""
_CELL_BYTES = 64
"""What llama.cpp and the prefix cache note of a cell, on the host."""
_PROBE_TOKENS = 256
_KV_CACHE = SizeLine("llama_kv_cache: size = SIZE MiB")
"""One for each cache, of which some models have several, such as one of a sliding window."""
_STATES = (
    SizeLine("llama_memory_recurrent: size = SIZE MiB"),
    SizeLine("llama_dsv4_comp_state: ANY size = SIZE MiB"),
)
"""Recurrent states, or DeepSeek 4's, which llama.cpp counts among the hybrid models."""


def new_context(
    model: Model, config: EngineConfig, draft_model: Model | None = None
) -> tuple[Context, ContextParams]:
    """The context that ``config`` asks for; what it leaves open is chosen to fit.

    There is to be room for a context of ``draft_model``, too (`new_draft_context`). Raises
    `LlamaError`, saying what would fit, if the context does not.
    """
    is_unified = config.kv_unified
    probe = _params(model, config, n_ctx=_PROBE_TOKENS, is_unified=True)
    cells = _measure(model, probe)
    if draft_model is not None:
        draft_cells = _measure(draft_model, _draft_params(probe, probe.n_threads))
        cells = replace(cells, draft=(draft_model, draft_cells))
    if is_unified is None:
        is_unified = config.n_parallel <= _LARGEST_POOL
        if not is_unified and not config.n_ctx:
            shares = _params(model, config, n_ctx=_all_shares(model, config), is_unified=False)
            is_unified = _affordable(model, cells, shares) < shares.n_ctx
    params = _params(model, config, n_ctx=config.n_ctx, is_unified=is_unified)
    if not params.n_ctx:
        params = _default_size(model, config, cells, params)
    places = _places(model, cells, params)
    if problem := shortage(places, _padded(params), params.cache_type_k):
        raise MemoryShortageError(problem)
    try:
        context = Context(model, params)
        context.state_layout = cells.layout
        return context, params
    except LlamaError as error:  # what is free may lie in pieces, or somebody else took it
        raise LlamaError(f"{error}; {summary(places, _padded(params))}") from error


def new_draft_context(model: Model, params: ContextParams, n_threads: int) -> Context:
    """The context of a draft model, beside one that was made with ``params``.

    It has as many cells, in the same layout. Raises `LlamaError`.
    """
    return Context(model, _draft_params(params, n_threads))


def _draft_params(params: ContextParams, n_threads: int) -> ContextParams:
    return replace(
        params,
        n_outputs_max=max(params.n_seq_max, DRAFT_OUTPUTS),
        n_threads=n_threads,
        n_threads_batch=n_threads,
        cache_type_k="f16",
        cache_type_v="f16",
    )


@dataclass(frozen=True, slots=True)
class _CellSizes:
    """Bytes of a token's keys and values in all layers, and of a sequence's recurrent state.

    - ``layout``: where the former are in a sequence's state; None where it can't be cut.
    - ``draft``: the draft model that has as many cells, and what these take.
    """

    kv: float
    state: float
    layout: StateLayout | None
    draft: tuple[Model, _CellSizes] | None = None


def _measure(model: Model, probe: ContextParams) -> _CellSizes:
    """What a small context takes; the model's hyperparameters alone don't tell.

    Layers without a cache of their own, shared, compressed or recurrent ones: llama.cpp knows.
    The context evaluates a token, too. What a damaged model does then shows here, at the start.
    With one thread: libgomp would keep workers for it, and let none spin any more.
    """
    small = replace(
        probe, n_seq_max=1, n_batch=1, n_ubatch=1, n_outputs_max=1, n_threads=1, n_threads_batch=1
    )
    with recorded_log() as lines, Context(model, small) as context:
        _evaluate_token(context)
        layout = _state_layout(model, context)
    kv = sum(size for _, size in read_sizes(lines, _KV_CACHE)) if model.has_kv_cache else 0.0
    state = sum(size for _, size in read_sizes(lines, *_STATES)) if model.is_recurrent else 0.0
    return _CellSizes(kv / _PROBE_TOKENS, state, layout)


def _state_layout(model: Model, context: Context) -> StateLayout | None:
    """Where a token's bytes are in a state; None for memory that has no such places.

    Recurrent states are of all tokens together, and of a sliding window llama.cpp gives the end.
    """
    if model.is_recurrent or model.n_swa:
        return None
    try:
        return StateLayout.of(context.read_state(0))
    except (StateFormatError, LlamaError) as error:
        _log.debug("states of sequences can't be cut: %s", error)
        return None


def _evaluate_token(context: Context) -> None:
    """Raise `LlamaError` if that fails, or if the model's first logits are no numbers."""
    batch = Batch(1)
    # At position 0, rotary embeddings would make numbers of any frequency.
    batch.add_chunk(as_tokens([max(context.model.bos, 0)]), 1, 0, outputs="last")
    with saying(f"can't run {context.model.path}"):
        context.decode(batch)
    if np.isnan(context.logits(1)).any():
        raise NoNumbersError


def _params(model: Model, config: EngineConfig, *, n_ctx: int, is_unified: bool) -> ContextParams:
    n_threads = config.n_threads or default_threads(model)
    n_seq_max = config.n_parallel
    if is_unified:
        n_seq_max = min(n_seq_max + FINISHED_IN_POOL, MAX_SEQUENCES)
    n_batch = max(config.n_batch, config.n_parallel)
    n_scored = max(1, min(n_batch, SCORED_BYTES // (4 * model.n_vocab)))
    return ContextParams(
        n_ctx=n_ctx,
        n_batch=n_batch,
        n_ubatch=min(config.n_ubatch or n_batch, n_batch),
        n_seq_max=n_seq_max,
        n_outputs_max=n_seq_max + n_scored,
        n_threads=n_threads,
        n_threads_batch=n_threads,
        kv_unified=is_unified,
        flash_attn=config.flash_attn,
        cache_type_k=config.cache_type_k,
        cache_type_v=config.cache_type_v,
        kv_offload=config.kv_offload,
    )


def _all_shares(model: Model, config: EngineConfig) -> int:
    return min(model.n_ctx_train, _DEFAULT_SHARE) * config.n_parallel


def _affordable(model: Model, cells: _CellSizes, params: ContextParams) -> int:
    """Tokens of a context that nobody asked for."""
    limits = [2**31 - 1]
    if model.n_gpu_layers == 0 and cells.kv:
        limits.append(int(_DEFAULT_KV_BYTES // cells.kv))
    fitting = largest_context(_places(model, cells, params), leaves_margin=True)
    return min(limits if fitting is None else [*limits, fitting])


def _default_size(
    model: Model, config: EngineConfig, cells: _CellSizes, params: ContextParams
) -> ContextParams:
    """``params`` with a context of the usual size, or as much of that as fits."""
    share = min(model.n_ctx_train, _DEFAULT_SHARE)
    if params.kv_unified:
        usual = max(min(4 * model.n_ctx_train, _DEFAULT_POOL), share)
        if model.n_gpu_layers:
            usual = max(usual, _all_shares(model, config))
    else:
        usual = _all_shares(model, config)
    affordable = _affordable(model, cells, params)
    if usual <= affordable:
        return replace(params, n_ctx=usual)
    fitting = largest_context(_places(model, cells, params), leaves_margin=True)
    # A share is never too much for the memory that a KV cache may have, only for what there is.
    wanted = max(affordable, min(share, usual)) if params.kv_unified else usual
    n_ctx = wanted if fitting is None else min(wanted, fitting)
    smallest = min(_SMALLEST_DEFAULT, model.n_ctx_train) * _streams(params)
    n_ctx = max(n_ctx, smallest) // _step(params) * _step(params)
    draft_models = [] if cells.draft is None else [cells.draft[0]]
    if n_ctx < usual and any(other not in draft_models for other in others(model)):
        # How long a prompt may be must not depend on what else was asked before.
        raise MemoryShortageError(
            f"a context of the usual {usual} tokens does not fit beside other models"
        )
    if n_ctx < usual:
        _log.info("%d tokens of context: the usual %d take too much memory", n_ctx, usual)
    return replace(params, n_ctx=n_ctx)


def _streams(params: ContextParams) -> int:
    """Parts that cells are divided into; a token's attention looks at one."""
    return 1 if params.kv_unified else params.n_seq_max


def _step(params: ContextParams) -> int:
    return SMALLEST_CONTEXT * _streams(params)


def _padded(params: ContextParams) -> int:
    """Cells that llama.cpp makes of ``n_ctx``: steps of 256 in each share."""
    return -(-params.n_ctx // _step(params)) * _step(params)


def _places(model: Model, cells: _CellSizes, params: ContextParams) -> list[Place]:
    """What a context takes where, with a draft model's: on the GPUs together, and on the host."""
    places = _own_places(model, cells, params)
    if cells.draft is None:
        return places
    draft_model, draft_cells = cells.draft
    draft_params = _draft_params(params, params.n_threads)
    beside = {
        place.name: place.cost for place in _own_places(draft_model, draft_cells, draft_params)
    }
    return [
        replace(place, cost=place.cost.plus(beside[place.name])) if place.name in beside else place
        for place in places
    ]


def _own_places(model: Model, cells: _CellSizes, params: ContextParams) -> list[Place]:
    """What a context takes where."""
    on_gpu = max(model.n_gpu_layers - 1, 0) / model.n_layers if params.kv_offload else 0.0
    attention = attention_bytes(
        model.n_heads,
        params.n_ubatch,
        flash_attn=fuses_attention(model, params.flash_attn, params.cache_type_v),
    )
    logits = 4 * model.n_vocab * params.n_outputs_max
    states = cells.state * params.n_seq_max
    found: list[Place] = []
    devices = gpus() if model.n_gpu_layers else []
    if model.offload.split_mode == "none":
        devices = devices[model.offload.main_gpu :][:1]
    if devices:
        cost = ContextCost(
            fixed=logits + round(on_gpu * states),
            kv_per_token=on_gpu * cells.kv,
            compute_per_token=len(devices) * attention / _streams(params) if on_gpu else 0,
            step=_step(params),
        )
        weights = sum(model.buffers.get(device.name, 0) for device in devices)
        name = " and ".join(device.name for device in devices)
        found.append(
            Place(name, sum(d.free for d in devices), cost, weights, _GPU_MARGIN * len(devices))
        )
    limit = host_memory()
    if limit is not None:
        cost = ContextCost(
            fixed=(1 if devices else 2) * logits + round((1 - on_gpu) * states),
            kv_per_token=(1 - on_gpu) * cells.kv + _CELL_BYTES,
            compute_per_token=attention / _streams(params) if on_gpu < 1 else 0,
            step=_step(params),
        )
        weights = max(model.size - sum(place.weights for place in found), 0)
        # The kernel could drop the pages of a file; but each token needs all of them.
        free = limit.free if is_in_memory(model.path) else limit.free - mapped(model, weights)
        free -= mapped_by_others(model)
        found.append(Place(limit.owner, max(free, 0), cost, weights, _HOST_MARGIN))
    return found
