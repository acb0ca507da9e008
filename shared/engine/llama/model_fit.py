"""Memory fit of models: weights that the memory there is has room for, or refused in words.

A process may hold several models. What one has mapped of its file counts as free for the kernel,
yet each token needs all of it: so it counts as taken for the others.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from weakref import WeakSet

from shared.engine.llama.bindings import lib
from shared.engine.llama.devices import gpus
from shared.engine.llama.errors import ModelLoadError, ModelTooLargeError
from shared.engine.llama.memory import size
from shared.engine.llama.model import Model, has_amx_kernels
from shared.engine.llama.offload import Offload
from shared.host.memory import host_memory, is_in_memory

_log = logging.getLogger("pilotlight.engine")

_COPY_MARGIN = 2**29
"""Bytes that are left for a context where weights are copied."""
_models: WeakSet[Model] = WeakSet()
"""Those that this process has loaded."""


def load_model(
    paths: Sequence[Path],
    offload: Offload,
    on_progress: Callable[[float], bool | None],
    *,
    frees_files: bool = False,
) -> Model:
    """The model in ``paths``, if there is memory for it; raises `ModelLoadError`.

    ``on_progress``: as of `Model`.
    ``frees_files``: they are in memory, and go once the model is loaded. Where llama.cpp copies
    weights into another order, it is to map none of them: else they would stay beside the copies.
    It says what it copies when it has done so; loading twice takes a second for a gigabyte.
    """
    n_bytes = sum(path.stat().st_size for path in paths)
    offload = _for_host(paths, n_bytes, offload)
    devices = gpus() if offload.n_gpu_layers else []
    try:
        model = Model(*paths, offload=offload, on_progress=on_progress)
        if frees_files and any(name.endswith("_REPACK") for name in model.buffers):
            model.close()
            model = Model(*paths, offload=offload, on_progress=on_progress, is_copied=True)
    except ModelLoadError as error:
        if "alloc" not in error.reason:
            raise
        free = [(device.name, device.free) for device in devices]
        if not free and (limit := host_memory()) is not None:
            free = [(limit.owner, limit.free)]
        there = ", ".join(f"{size(n)} on {name}" for name, n in free) or "too little memory"
        reason = f"{needs(n_bytes, there)} ({error.reason})"
        raise ModelTooLargeError(paths[0], reason) from error
    _models.add(model)
    return model


def needs(n_bytes: int, there: str) -> str:
    """That a model needs more memory than there is, and what to do."""
    remedies = "more memory, a smaller quantisation or a smaller model"
    if lib.llama_supports_gpu_offload():
        remedies += ", or fewer layers on the GPU (--n-gpu-layers)"
    return f"it takes {size(n_bytes)} of memory, and there is {there}: it needs {remedies}"


def _for_host(paths: Sequence[Path], n_bytes: int, offload: Offload) -> Offload:
    """``offload`` without what the host has no memory for; raises `ModelLoadError`.

    Without the check the kernel would end the process, or read the weights from the disk again for
    every token.
    """
    limit = host_memory(unmapped=n_bytes if is_in_memory(paths[0]) else 0)
    if limit is None:
        return offload
    is_offloaded = lib.llama_supports_gpu_offload() and offload.n_gpu_layers
    if not is_offloaded and n_bytes > limit.total:
        # Not a shortage: nobody could make so much room.
        raise ModelLoadError(paths[0], needs(n_bytes, f"{size(limit.total)} on {limit.owner}"))
    taken = mapped_by_others()
    if not is_offloaded and taken and n_bytes > limit.free - taken:
        there = f"{size(max(limit.free - taken, 0))} beside other models on {limit.owner}"
        raise ModelTooLargeError(paths[0], needs(n_bytes, there))
    if offload.repack and n_bytes + _COPY_MARGIN > limit.free and not has_amx_kernels():
        _log.info(
            "weights stay as they are in the file: %s are free on %s, too little for a copy",
            size(limit.free),
            limit.owner,
        )
        return replace(offload, repack=False)
    return offload


def mapped(model: Model, weights: int) -> int:
    """Bytes of the host's weights that are used where their file is mapped, not from a copy."""
    copied = sum(n for name, n in model.buffers.items() if name in ("CPU", "CPU_REPACK"))
    return max(min(weights, model.buffers.get("CPU_Mapped", 0)) - copied, 0)


def others(model: Model | None) -> list[Model]:
    """Models that this process has loaded besides ``model``."""
    return [each for each in _models if each is not model and each.handle]


def mapped_by_others(model: Model | None = None) -> int:
    """Bytes of mapped files that models besides ``model`` need in memory."""
    return sum(mapped(each, _host_weights(each)) for each in others(model))


def _host_weights(model: Model) -> int:
    on_gpus = (
        sum(model.buffers.get(device.name, 0) for device in gpus()) if model.n_gpu_layers else 0
    )
    return max(model.size - on_gpus, 0)
