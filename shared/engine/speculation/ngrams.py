"""Indexes of n-grams: where three tokens, or two, occurred last, in a text that may grow.

A prompt's are entered at once: 128,000 tokens take 5 ms, where a dictionary takes 40 ms and ten
times the memory. An answer's come one by one, into a dictionary.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from shared.engine.llama.tokenizer import TokenArray

N = 3
"""Tokens of an n-gram that is looked for first; of longer ones more is missed."""
SHORT_N = 2
"""Tokens of one that will do where nothing better is known: two occur by chance in any prose."""
_FACTORS = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D)
"""Odd, of xxHash."""
_MASK = 0xFFFFFFFF
_SLOTS = {N: 8, SHORT_N: 4}
"""Slots for each token, up to twice as many: with 8, 4 % of the n-grams give theirs to a later one,
with 2 15 % do. So a prompt of 128,000 tokens takes 6 MB, one of 132,000 twice as much."""
_FEWEST_SLOTS = 1024


class NgramIndex:
    """Those of a whole text: hash tables without chains, where the later of two n-grams is found.

    So what is found has to be compared.
    """

    def __init__(self, tokens: TokenArray, sizes: Sequence[int] = (N,)) -> None:
        """``sizes``: tokens of the n-grams that are entered."""
        self.tokens = tokens
        self._slots = {n: self._entered(n) for n in sizes}

    def find(self, ngram: TokenArray) -> int:
        """The position behind the last occurrence of an n-gram, or of another; 0 for none."""
        value = 0
        tokens = ngram.tolist()
        for token, factor in zip(tokens, _FACTORS, strict=False):
            value += token * factor
        value &= _MASK
        slots = self._slots[len(tokens)]
        return int(slots[(value ^ value >> 15) & len(slots) - 1])

    def _entered(self, n: int) -> npt.NDArray[np.int32]:
        """The table of the n-grams of ``n`` tokens."""
        n_slots = 1 << max(_SLOTS[n] * len(self.tokens), _FEWEST_SLOTS).bit_length()
        slots: npt.NDArray[np.int32] = np.zeros(n_slots, dtype=np.int32)
        n_ngrams = len(self.tokens) - n + 1
        if n_ngrams < 1:
            return slots
        words = self.tokens.astype(np.uint32)
        hashes: npt.NDArray[np.uint32] = np.zeros(n_ngrams, dtype=np.uint32)
        for i, factor in enumerate(_FACTORS[:n]):
            hashes += words[i : n_ngrams + i] * np.uint32(factor)
        hashes ^= hashes >> np.uint32(15)
        slots[hashes & np.uint32(n_slots - 1)] = np.arange(n, len(self.tokens) + 1)
        return slots


class GrowingNgramIndex:
    """Those of a prompt and of one answer to it, which are entered as they come.

    The prompt's are looked for in its own index, which a request's choices share.
    """

    def __init__(self, prompt: NgramIndex) -> None:
        self._prompt = prompt
        self._positions: dict[bytes, int] = {}

    def replace(self, ngram: TokenArray, position: int) -> int:
        """Enter an n-gram that ``position`` is behind; what was found of it before, see `find`."""
        key = ngram.tobytes()
        found = self._positions.get(key)
        self._positions[key] = position
        return self._prompt.find(ngram) if found is None else found
