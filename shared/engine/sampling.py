"""From a row of logits to a token.

Each row is first *adjusted* in place (logit bias, penalties, banned tokens), then a token is
*selected*: greedily, from the whole distribution, or from what llama.cpp's sampler chain leaves of
it. Selecting from the whole distribution, OpenAI's default, is NumPy's work: over a vocabulary of
152,000 llama.cpp's sampler takes 1.3 ms for it, block sums take 0.15 ms without holding the GIL.

Randomness is a function of (seed, number of tokens sampled), so that a sequence gives the same text
whatever runs beside it, and after it was preempted and recomputed.
"""

from __future__ import annotations

import ctypes
import math
from collections import Counter, deque
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import llama_cpp.llama_cpp as lib
import numpy as np
import numpy.typing as npt

from shared.engine.llama import LogitsArray, TokenArray
from shared.engine.types import SamplingParams

if TYPE_CHECKING:
    from shared.engine.constraints import ConstraintMatcher

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
"""SplitMix64's increment; keeps 0, which `mix` maps to itself, from being drawn."""
_GREEDY_BELOW = 1e-6
"""Lower temperatures would overflow the division, and pick the likeliest token anyway."""
_SMALL_VOCABULARY = 8192
"""Up to here one call for all rows beats block sums row by row."""
_FEW_ROWS = 3
"""Up to here row by row is quicker all the same: a NumPy call costs more than such a row."""
_SMALL_BLOCK = 64
"""Tokens per partial sum there."""
_BLOCK = 512
"""Tokens per partial sum: 152k tokens make 297 blocks, so either search is over a few hundred."""


class Sampler:
    """The sampling state of one sequence."""

    __slots__ = (
        "_bias",
        "_counts",
        "_n_sampled",
        "_params",
        "_recent",
        "_seed",
        "adjusts",
        "bans_end",
        "chain",
        "constraint",
        "temperature",
    )

    def __init__(
        self, params: SamplingParams, choice: int = 0, constraint: ConstraintMatcher | None = None
    ) -> None:
        """``choice`` is the index among ``n``: each choice draws its own random numbers."""
        self.constraint = constraint
        self._params = params
        self._seed = mix(mix((params.seed & _MASK) + _GOLDEN) + choice)
        self._n_sampled = 0
        self.temperature = params.temperature if params.temperature > _GREEDY_BELOW else 0.0
        truncates = params.top_k > 0 or params.top_p < 1 or params.min_p > 0 or params.typical_p < 1
        self.chain = (
            sampler_chain(params.top_k, params.typical_p, params.top_p, params.min_p)
            if truncates and self.temperature > 0
            else None
        )
        penalises = bool(
            params.presence_penalty or params.frequency_penalty or params.repeat_penalty != 1
        )
        self._counts: Counter[int] | None = Counter() if penalises else None
        self._recent: deque[int] | None = (
            deque(maxlen=params.repeat_last_n if params.repeat_last_n >= 0 else None)
            if params.repeat_penalty != 1
            else None
        )
        bias = {
            token: value if value > -100 else -math.inf
            for token, value in params.logit_bias.items()
        }
        self._bias = (
            (np.fromiter(bias, np.int32), np.fromiter(bias.values(), np.float32)) if bias else None
        )
        self.bans_end = params.ignore_eos or params.min_tokens > 0
        self.adjusts = bool(bias or penalises)

    def uniform(self) -> float:
        """The next token's random number, in [0, 1)."""
        return (mix(self._seed + (self._n_sampled + 1) * _GOLDEN) >> 11) / (1 << 53)

    def accept(self, token: int) -> None:
        """Note the token that was sampled."""
        self._n_sampled += 1
        if self.bans_end and not self._params.ignore_eos:
            self.bans_end = self._n_sampled < self._params.min_tokens
        if self._counts is not None:
            self._counts[token] += 1
        if self._recent is not None:
            self._recent.append(token)
        if self.constraint is not None:
            self.constraint.accept(token)

    def adjust(self, row: LogitsArray) -> None:
        """Apply bias and penalties to a row of logits, in place.

        OpenAI's formula: ``logit -= count * frequency_penalty + (count > 0) * presence_penalty``,
        counting sampled tokens only. ``repeat_penalty`` is llama.cpp's: positive logits are
        divided by it and negative ones multiplied, over the last ``repeat_last_n`` sampled tokens.
        """
        params = self._params
        if self._bias is not None:
            row[self._bias[0]] += self._bias[1]
        if self._recent:
            seen = np.fromiter(set(self._recent), np.int32)
            logits = row[seen]
            row[seen] = np.where(
                logits > 0, logits / params.repeat_penalty, logits * params.repeat_penalty
            )
        if self._counts and (params.frequency_penalty or params.presence_penalty):
            seen = np.fromiter(self._counts, np.int32)
            counts = np.fromiter(self._counts.values(), np.float32)
            row[seen] -= counts * params.frequency_penalty + params.presence_penalty


def mix(value: int) -> int:
    """SplitMix64's output function (Steele, Lea, Flood 2014): a 64-bit integer well stirred."""
    value &= _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


class BatchSampler:
    """Samples one token for each of several sequences; owns the scratch memory for it."""

    def __init__(self, n_vocab: int, end_tokens: Callable[[], TokenArray]) -> None:
        """``end_tokens`` gives the tokens that ``ignore_eos`` and ``min_tokens`` ban."""
        self._n_vocab = n_vocab
        self._end_tokens = end_tokens
        self._scratch = np.empty(n_vocab, dtype=np.float32)
        self._block_starts = np.arange(0, n_vocab, _BLOCK)
        self._candidates: Candidates | None = None

    def sample(self, logits: LogitsArray, samplers: Sequence[Sampler]) -> list[int]:
        """One token per row of ``logits`` (shape ``(len(samplers), n_vocab)``, overwritten)."""
        tokens = [0] * len(samplers)
        greedy: list[int] = []
        whole: list[int] = []
        self._ban_ends(logits, samplers)
        for i, sampler in enumerate(samplers):
            if sampler.adjusts:
                sampler.adjust(logits[i])
            if sampler.constraint is not None:
                sampler.constraint.apply(logits[i])
            if sampler.temperature <= 0:
                greedy.append(i)
            elif sampler.chain is None:
                whole.append(i)
            else:
                tokens[i] = self._sample_truncated(logits[i], sampler)
        if greedy:
            for i, token in zip(greedy, _rows(logits, greedy).argmax(axis=1).tolist(), strict=True):
                tokens[i] = token
        if len(whole) > _FEW_ROWS and self._n_vocab <= _SMALL_VOCABULARY:
            drawn = _sample_rows(_rows(logits, whole), [samplers[i] for i in whole])
            for i, token in zip(whole, drawn, strict=True):
                tokens[i] = token
        else:
            for i in whole:
                tokens[i] = self._sample_whole(logits[i], samplers[i])
        for sampler, token in zip(samplers, tokens, strict=True):
            sampler.accept(token)
        return tokens

    def _ban_ends(self, logits: LogitsArray, samplers: Sequence[Sampler]) -> None:
        """Make the end unlikely for the sequences that must go on."""
        endless = [i for i, sampler in enumerate(samplers) if sampler.bans_end]
        if len(endless) == len(samplers):
            logits[:, self._end_tokens()] = -np.inf
        else:
            for i in endless:
                logits[i, self._end_tokens()] = -np.inf

    def _sample_whole(self, row: LogitsArray, sampler: Sampler) -> int:
        """Inverse transform sampling with one level of partial sums."""
        weights = self._scratch
        np.subtract(row, row.max(), out=weights)
        if sampler.temperature != 1:
            np.divide(weights, np.float32(sampler.temperature), out=weights)
        np.exp(weights, out=weights)
        if self._n_vocab <= _SMALL_VOCABULARY:
            sums = weights.cumsum(dtype=np.float64)
            return int(sums.searchsorted(sampler.uniform() * sums[-1], side="right"))
        sums = np.add.reduceat(weights, self._block_starts).cumsum(dtype=np.float64)
        target = sampler.uniform() * sums[-1]
        block = min(int(sums.searchsorted(target, side="right")), len(sums) - 1)
        start = block * _BLOCK
        inner = weights[start : start + _BLOCK].cumsum(dtype=np.float64)
        if block:
            target -= sums[block - 1]
        # Rounding may leave the target beyond the block's own sum, never far.
        position = min(int(inner.searchsorted(target, side="right")), len(inner) - 1)
        while position and weights[start + position] == 0:
            position -= 1
        return start + position

    def _sample_truncated(self, row: LogitsArray, sampler: Sampler) -> int:
        """Sample from the candidates that the chain leaves."""
        assert sampler.chain is not None
        if self._candidates is None:
            self._candidates = Candidates(self._n_vocab)
        ids, logits = self._candidates.truncate(row, sampler.chain)
        weights = np.exp((logits - logits.max()) / np.float32(sampler.temperature))
        sums = weights.cumsum(dtype=np.float64)
        position = int(sums.searchsorted(sampler.uniform() * sums[-1], side="right"))
        return int(ids[min(position, len(ids) - 1)])


def _rows(logits: LogitsArray, indices: list[int]) -> LogitsArray:
    """The rows at ``indices``, without a copy when these are all."""
    return logits if len(indices) == len(logits) else logits[indices]


def _sample_rows(rows: LogitsArray, samplers: Sequence[Sampler]) -> list[int]:
    """Inverse transform sampling of all rows at once; for small vocabularies."""
    weights = rows - rows.max(axis=1, keepdims=True)
    temperatures = [sampler.temperature for sampler in samplers]
    if any(temperature != 1 for temperature in temperatures):
        weights /= np.array(temperatures, dtype=np.float32)[:, None]
    np.exp(weights, out=weights)
    n_rows, n_vocab = weights.shape
    starts = np.arange(0, n_vocab, _SMALL_BLOCK)
    sums = np.add.reduceat(weights, starts, axis=1).cumsum(axis=1)
    uniforms = np.array([sampler.uniform() for sampler in samplers], dtype=np.float32)
    targets = uniforms * sums[:, -1]
    blocks = (sums > targets[:, None]).argmax(axis=1)
    every_row = np.arange(n_rows)
    targets -= np.where(blocks > 0, sums[every_row, blocks - 1], 0)
    tokens = np.minimum(starts[blocks][:, None] + np.arange(_SMALL_BLOCK), n_vocab - 1)
    inner = weights[every_row[:, None], tokens].cumsum(axis=1)
    # Rounding may leave a target just outside its block's own sum.
    targets = np.clip(targets, 0, inner[:, -1] * np.float32(0.999999))
    drawn: list[int] = tokens[every_row, (inner > targets[:, None]).argmax(axis=1)].tolist()
    return drawn


class Candidates:
    """A ``llama_token_data_array`` over NumPy memory, for llama.cpp's samplers."""

    def __init__(self, n_vocab: int) -> None:
        layout = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
        self._data = np.zeros(n_vocab, dtype=layout)
        self._ids = np.arange(n_vocab, dtype=np.int32)
        self._array = lib.llama_token_data_array()
        self._pointer: Any = self._data.ctypes.data_as(lib.llama_token_data_p)

    def truncate(
        self, row: LogitsArray, chain: SamplerChain
    ) -> tuple[npt.NDArray[np.int32], LogitsArray]:
        """The ids and logits, in order of likelihood, that ``chain`` leaves of ``row``."""
        self._data["id"] = self._ids
        self._data["logit"] = row
        self._array.data = self._pointer
        self._array.size = len(self._data)
        self._array.selected = -1
        self._array.sorted = False
        lib.llama_sampler_apply(chain.handle, ctypes.byref(self._array))
        left = self._data[: self._array.size]
        return left["id"], left["logit"]


class SamplerChain:
    """An owned ``llama_sampler`` chain."""

    def __init__(self, samplers: Sequence[Any]) -> None:
        self.handle = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
        for sampler in samplers:
            lib.llama_sampler_chain_add(self.handle, sampler)

        self._free = lib.llama_sampler_free  # the module may be gone when the interpreter ends

    def __del__(self) -> None:
        self._free(self.handle)


@lru_cache(maxsize=256)
def sampler_chain(top_k: int, typical_p: float, top_p: float, min_p: float) -> SamplerChain:
    """The truncating samplers in llama.cpp's order. They keep no state, so sequences share them."""
    samplers = []
    if top_k > 0:
        samplers.append(lib.llama_sampler_init_top_k(top_k))
    if typical_p < 1:
        samplers.append(lib.llama_sampler_init_typical(typical_p, 1))
    if top_p < 1:
        samplers.append(lib.llama_sampler_init_top_p(top_p, 1))
    if min_p > 0:
        samplers.append(lib.llama_sampler_init_min_p(min_p, 1))
    return SamplerChain(samplers)
