"""Indexes of n-grams: where three tokens occurred last, in a whole text or in one that grows.

A prompt's are entered at once: 128,000 tokens take 2 ms, where a dictionary takes 40 ms and ten
times the memory. An answer's come one by one, into a dictionary.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shared.engine.llama.tokenizer import TokenArray

N = 3
"""Tokens of an n-gram. Two occur by chance in any prose; of longer ones more is missed."""
_FACTORS = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D)
"""Odd, of xxHash."""
_MASK = 0xFFFFFFFF
_SLOTS = 8
"""Slots for each token, up to twice as many: 4 % of the n-grams give theirs to a later one. With a
quarter of the slots 15 % do."""
_FEWEST_SLOTS = 1024


class NgramIndex:
    """Those of a whole text: a hash table without chains, where the later of two n-grams is found.

    So what is found has to be compared.
    """

    def __init__(self, tokens: TokenArray) -> None:
        self.tokens = tokens
        n_slots = 1 << max(_SLOTS * len(tokens), _FEWEST_SLOTS).bit_length()
        self._slots = np.zeros(n_slots, dtype=np.int32)
        self._bits = n_slots - 1
        if len(tokens) < N:
            return
        words = tokens.astype(np.uint32)
        hashes: npt.NDArray[np.uint32] = np.zeros(len(words) - N + 1, dtype=np.uint32)
        for i, factor in enumerate(_FACTORS):
            hashes += words[i : len(words) - N + 1 + i] * np.uint32(factor)
        hashes ^= hashes >> np.uint32(15)
        self._slots[hashes & np.uint32(self._bits)] = np.arange(N, len(words) + 1)

    def find(self, ngram: TokenArray) -> int:
        """The position behind the last occurrence of three tokens, or of others; 0 for none."""
        a, b, c = ngram.tolist()
        value = (a * _FACTORS[0] + b * _FACTORS[1] + c * _FACTORS[2]) & _MASK
        return int(self._slots[(value ^ value >> 15) & self._bits])


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
