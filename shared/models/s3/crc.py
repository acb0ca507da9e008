"""CRC checksums that S3 uses, by AWS's own C library, with what the CPU offers for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from awscrt import checksums


@dataclass(frozen=True, slots=True)
class CrcKind:
    """``width`` is in bytes; the functions are awscrt's, which release the interpreter's lock."""

    width: int
    compute: Callable[[Any, int], int]  # any buffer, whatever awscrt's annotation says


CRC32 = CrcKind(4, checksums.crc32)
CRC32C = CrcKind(4, checksums.crc32c)
CRC64NVME = CrcKind(8, checksums.crc64nvme)


class Crc:
    """A running CRC, with the methods of `hashlib`'s objects."""

    def __init__(self, kind: CrcKind) -> None:
        self._kind = kind
        self._value = 0

    def update(self, data: memoryview, /) -> None:
        """Take further bytes."""
        self._value = self._kind.compute(data, self._value)

    def digest(self) -> bytes:
        """The CRC of all bytes so far, big-endian."""
        return self._value.to_bytes(self._kind.width, "big")
