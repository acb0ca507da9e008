"""Probe of llama.cpp's fused attention on this CPU: whether it has vector code for a head's width.

It adds up values, which are 16-bit floats, in steps: of 32 numbers where llama.cpp was built for
AVX2, of 64 for AVX-512, of 128 for AVX-512 with 16-bit arithmetic. What is left of a head is
computed one by one, so that a head of 64 numbers may take three times as long as one of 128. Which
steps a build has it does not tell. So both are timed: some 0.5 ms, once for each width.

https://github.com/ggml-org/llama.cpp/blob/master/ggml/src/ggml-cpu/simd-mappings.h (GGML_F16_STEP)
"""

from __future__ import annotations

import ctypes
import time
from functools import cache
from math import sqrt

from shared.engine.llama.bindings import lib

_LARGEST_STEP = 128
"""Numbers of the largest step: heads of a multiple of it have nothing left."""
_N_CELLS = 256
"""Cells of the KV cache that the probe attends to."""
_ATTEMPTS = 7
"""Measurements of each width, the shortest of which counts: what else runs only adds to them."""
_SCALAR = 1.2
"""The part of a wider head's time, all of which has vector code, that a head takes at least if some
of it has none. Measured were 1.45 to 5.3 where that is so, and 0.6 to 0.95 else."""
_MEMORY = 2**25
"""Bytes for tensors, a graph, and what computes it. What nothing is written to takes no memory."""
_F32, _F16 = 0, 1
"""ggml_type"""

_ggml = lib._lib
_pointer = ctypes.c_void_p


class _InitParams(ctypes.Structure):
    """``ggml_init_params``"""

    _fields_ = (
        ("mem_size", ctypes.c_size_t),
        ("mem_buffer", ctypes.c_void_p),
        ("no_alloc", ctypes.c_bool),
    )


@cache
def is_vectorized(width: int) -> bool:
    """Whether fused attention has vector code for all ``width`` numbers of a head's values.

    Where nobody can tell it is taken to, as llama.cpp does: builds that load what computes at run
    time (``GGML_BACKEND_DL``) don't export it.
    """
    rest = width % _LARGEST_STEP
    if not rest or not hasattr(_ggml, "ggml_graph_compute_with_ctx"):
        return True
    wider = width - rest + _LARGEST_STEP
    seconds = _seconds((width, wider))
    return seconds[0] < _SCALAR * seconds[1]


def _seconds(widths: tuple[int, ...]) -> list[float]:
    """Processor time of fused attention for a token, with one head of each width, in turns."""
    computations = [_Computation(width) for width in widths]
    try:
        attempts = [[each.seconds() for each in computations] for _ in range(_ATTEMPTS)]
    finally:
        for each in computations:
            each.close()
    return [min(column) for column in zip(*attempts, strict=True)]


class _Computation:
    """A graph of ggml with nothing but fused attention, of zeros."""

    def __init__(self, width: int) -> None:
        self._context = _call("ggml_init", _InitParams(_MEMORY, None, False))
        query = self._tensor(_F32, width, 1)
        keys = self._tensor(_F16, width, _N_CELLS)
        values = self._tensor(_F16, width, _N_CELLS)
        scale = ctypes.c_float(1 / sqrt(width))
        nothing = ctypes.c_float(0)
        output = _call(
            "ggml_flash_attn_ext",
            *(self._context, query, keys, values, None, scale, nothing, nothing),
        )
        self._graph = _call("ggml_new_graph", self._context)
        _call("ggml_build_forward_expand", self._graph, output)

    def _tensor(self, kind: int, width: int, length: int) -> ctypes.c_void_p:
        sizes = (ctypes.c_int64(width), ctypes.c_int64(length), ctypes.c_int64(1))
        tensor = _call("ggml_new_tensor_3d", self._context, ctypes.c_int(kind), *sizes)
        return _call("ggml_set_zero", tensor)

    def seconds(self) -> float:
        """Processor time of computing it on the calling thread alone."""
        started = time.thread_time()
        _call("ggml_graph_compute_with_ctx", self._context, self._graph, ctypes.c_int(1))
        return time.thread_time() - started

    def close(self) -> None:
        """Free its memory."""
        _call("ggml_free", self._context)


def _call(name: str, *arguments: object) -> ctypes.c_void_p:
    """Call a function of ggml, which the bindings have no declarations of."""
    function = getattr(_ggml, name)
    function.restype = _pointer
    return _pointer(function(*arguments))
