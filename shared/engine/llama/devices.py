"""GPUs that llama.cpp can use, and how much memory each has left."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

from shared.engine.llama.bindings import lib

# ggml's device API, which the bindings leave out. Looked up through libllama's own dependencies:
# another copy of ggml would have a register of devices of its own.
_ggml = lib._lib
_ggml.ggml_backend_dev_count.restype = ctypes.c_size_t
_ggml.ggml_backend_dev_get.argtypes = [ctypes.c_size_t]
_ggml.ggml_backend_dev_get.restype = ctypes.c_void_p
_ggml.ggml_backend_dev_name.argtypes = [ctypes.c_void_p]
_ggml.ggml_backend_dev_name.restype = ctypes.c_char_p
_ggml.ggml_backend_dev_type.argtypes = [ctypes.c_void_p]
_ggml.ggml_backend_dev_type.restype = ctypes.c_int
_ggml.ggml_backend_dev_memory.argtypes = [ctypes.c_void_p, *[ctypes.POINTER(ctypes.c_size_t)] * 2]
_ggml.ggml_backend_dev_memory.restype = None

_GPU_TYPE = 1
"""GGML_BACKEND_DEVICE_TYPE_GPU: a GPU with memory of its own (ggml-backend.h)."""


@dataclass(frozen=True, slots=True)
class Device:
    """One GPU, such as ``CUDA0``; sizes in bytes. ``free`` is as of now."""

    name: str
    free: int
    total: int


def gpus() -> list[Device]:
    """GPUs with memory of their own; those that share the host's count as the host."""
    found: list[Device] = []
    for index in range(_ggml.ggml_backend_dev_count()):
        handle = _ggml.ggml_backend_dev_get(index)
        if _ggml.ggml_backend_dev_type(handle) != _GPU_TYPE:
            continue
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        _ggml.ggml_backend_dev_memory(handle, ctypes.byref(free), ctypes.byref(total))
        if total.value:  # 0 where the driver does not tell
            name = _ggml.ggml_backend_dev_name(handle).decode()
            found.append(Device(name, free.value, total.value))
    return found
