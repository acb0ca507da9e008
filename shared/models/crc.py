"""CRC-64/NVME and CRC-32C, which S3 uses and Python's library lacks, at memory speed in NumPy.

A CRC is a remainder: the message, read as a polynomial over GF(2), modulo the generator P. With
y = x^64 it is the sum of the message's 64-bit words, w[i] * y^(n-1-i). If a sum of few powers of y
is a multiple of P, say y^D + y^e + ... + 1 = 0 (mod P), then y^D = y^e + ... + 1, and a word may be
taken out of the message by XORing it into those that come D-e, ..., D words later. No bit is
shifted and no table is read. As all distances are large, thousands of words are taken out at once,
by one XOR of two arrays for each of the terms; what is left in the end has D words.

The sums were found by Wagner's algorithm for the generalized birthday problem (2002).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

_PIECE_SIZE = 2**18
"""Bytes that are reduced at once, which fit into the CPU's cache with what is left of the last."""

_Words = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class CrcKind:
    """A CRC whose bits are reflected, and whose register begins and is given out inverted.

    ``polynomial`` is reflected too. ``exponents``: ascending, the powers of x^64 that add up to a
    multiple of it.
    """

    width: int
    polynomial: int
    exponents: tuple[int, ...]


CRC64NVME = CrcKind(64, 0x9A6C9329AC4BC9B5, (0, 4769, 5545, 9135, 11414, 13984, 31009, 41550))
CRC32C = CrcKind(32, 0x82F63B78, (0, 426, 1362, 5685))


class Crc:
    """A running CRC, with the methods of `hashlib`'s objects."""

    def __init__(self, kind: CrcKind) -> None:
        self._kind = kind
        self._register = (1 << kind.width) - 1
        self._span = kind.exponents[-1]
        self._buffer = np.empty(8 * (self._span + 1) + _PIECE_SIZE, np.uint8)
        self._length = 0

    def update(self, data: memoryview, /) -> None:
        """Take further bytes."""
        taken = np.frombuffer(data, np.uint8)
        for start in range(0, len(taken), _PIECE_SIZE):
            piece = taken[start : start + _PIECE_SIZE]
            self._buffer[self._length : self._length + len(piece)] = piece
            self._length += len(piece)
            self._reduce()

    def digest(self) -> bytes:
        """The CRC of all bytes so far, big-endian."""
        table = _table(self._kind.polynomial)
        register = self._register
        for byte in self._buffer[: self._length].tobytes():
            register = table[(register ^ byte) & 0xFF] ^ (register >> 8)
        inverted = register ^ ((1 << self._kind.width) - 1)
        return inverted.to_bytes(self._kind.width // 8, "big")

    def _reduce(self) -> None:
        """Take words out at the front until there are no more than `_span`."""
        words: _Words = self._buffer[: self._length // 8 * 8].view("<u8")
        if len(words) <= self._span:
            return
        # The register meets the message's first bits, once.
        words[0] ^= np.uint64(self._register)
        self._register = 0
        *terms, longest = self._kind.exponents
        widest = longest - terms[-1]  # further ahead, words would be hit that are being taken out
        first = 0
        while (excess := len(words) - first - longest) > 0:
            count = min(widest, excess)
            taken = words[first : first + count]
            for term in terms:
                target = words[first + longest - term :][:count]
                np.bitwise_xor(target, taken, out=target)
            first += count
        left = self._buffer[8 * first : self._length]
        self._buffer[: len(left)] = left.copy()
        self._length = len(left)


@cache
def _table(polynomial: int) -> tuple[int, ...]:
    """What each byte does to the register."""
    table = []
    for byte in range(256):
        register = byte
        for _ in range(8):
            register = register >> 1 ^ (polynomial if register & 1 else 0)
        table.append(register)
    return tuple(table)
