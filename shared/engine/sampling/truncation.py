"""Truncation of distributions: top-k, typical, top-p, min-p, and XTC."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.engine.llama.bindings import lib
from shared.engine.llama.context import LogitsArray
from shared.engine.llama.tokenizer import TokenArray
from shared.engine.types import SamplingParams

_NEGLIGIBLE = 70
"""Tokens whose logit is this far below the best are not candidates for typical sampling.

llama.cpp takes the logarithm of every probability there: where one is 0, as those of banned tokens
are, it computes NaN and keeps arbitrary tokens. At temperature 2 these have less than e^-35."""


@dataclass(frozen=True, slots=True)
class Truncation:
    """Parameters of llama.cpp's truncating samplers, as in `SamplingParams`."""

    top_k: int
    typical_p: float
    top_p: float
    min_p: float

    @classmethod
    def of(cls, params: SamplingParams) -> Truncation | None:
        """Those in ``params``; None when all are off."""
        if params.top_k > 0 or params.typical_p < 1 or params.top_p < 1 or params.min_p > 0:
            return cls(params.top_k, params.typical_p, params.top_p, params.min_p)
        return None


class Candidates:
    """A ``llama_token_data_array`` over NumPy memory, for llama.cpp's samplers.

    The samplers have scratch memory of their own, so an object belongs to one thread.
    """

    def __init__(self, n_vocab: int) -> None:
        layout = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
        self._data = np.zeros(n_vocab, dtype=layout)
        self._ids = np.arange(n_vocab, dtype=np.int32)
        self._array = lib.llama_token_data_array()
        self._pointer: Any = self._data.ctypes.data_as(lib.llama_token_data_p)
        self._chain = lru_cache(maxsize=64)(_Chain)

    def of(self, row: LogitsArray, truncation: Truncation | None) -> tuple[TokenArray, LogitsArray]:
        """The ids and logits that ``truncation`` leaves of ``row``, in no certain order.

        Valid until the next call. Some may be of minus infinity, but not all.
        """
        ids, logits = self._ids, row
        if truncation is None:
            return ids, logits
        if truncation.typical_p < 1:
            ids = (row > row.max() - np.float32(_NEGLIGIBLE)).nonzero()[0].astype(np.int32)
            logits = row[ids]
        data = self._data[: len(ids)]
        data["id"] = ids
        data["logit"] = logits
        self._array.data = self._pointer
        self._array.size = len(ids)
        self._array.selected = -1
        self._array.sorted = False
        lib.llama_sampler_apply(self._chain(truncation).handle, ctypes.byref(self._array))
        left = self._data[: self._array.size]
        return left["id"], left["logit"]


class _Chain:
    """An owned ``llama_sampler`` chain of the truncating samplers, in llama.cpp's order."""

    def __init__(self, truncation: Truncation) -> None:
        self.handle = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
        if truncation.top_k > 0:
            self._add(lib.llama_sampler_init_top_k(truncation.top_k))
        if truncation.typical_p < 1:
            self._add(lib.llama_sampler_init_typical(truncation.typical_p, 1))
        if truncation.top_p < 1:
            self._add(lib.llama_sampler_init_top_p(truncation.top_p, 1))
        if truncation.min_p > 0:
            self._add(lib.llama_sampler_init_min_p(truncation.min_p, 1))
        self._free = lib.llama_sampler_free  # the module may be gone when the interpreter ends

    def _add(self, sampler: Any) -> None:
        lib.llama_sampler_chain_add(self.handle, sampler)

    def __del__(self) -> None:
        self._free(self.handle)


def top_choices(logits: LogitsArray, threshold: float) -> npt.NDArray[np.intp]:
    """The positions that XTC removes: all tokens of at least ``threshold`` but the least likely.

    So a likely token is always left, and above a threshold of 0.5 none can be removed. (p-e-w 2024,
    "exclude top choices"; llama.cpp's rule.) Probabilities are those among ``logits``.
    """
    weights = np.exp(logits - logits.max())
    least = max(threshold * weights.sum(), np.finfo(np.float32).tiny)
    above = (weights >= least).nonzero()[0]
    return np.delete(above, weights[above].argmin()) if len(above) else above
