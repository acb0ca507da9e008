"""CRCs, against the textbook's bit by bit."""

from __future__ import annotations

import random

import pytest

from shared.models.s3.crc import CRC32, CRC32C, CRC64NVME, Crc, CrcKind

KINDS = (CRC64NVME, CRC32C, CRC32)
POLYNOMIALS = {CRC64NVME: 0x9A6C9329AC4BC9B5, CRC32C: 0x82F63B78, CRC32: 0xEDB88320}
"""Reflected, as the catalogue of CRCs has them."""


def crc(kind: CrcKind, *pieces: bytes) -> Crc:
    """Of all pieces together."""
    running = Crc(kind)
    for piece in pieces:
        running.update(memoryview(piece))
    return running


def bitwise(kind: CrcKind, data: bytes) -> bytes:
    """The definition: the register begins and is given out inverted."""
    ones = (1 << 8 * kind.width) - 1
    register = ones
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (POLYNOMIALS[kind] if register & 1 else 0)
    return (register ^ ones).to_bytes(kind.width, "big")


@pytest.mark.parametrize(
    ("kind", "value"), [(CRC64NVME, "ae8b14860a799888"), (CRC32C, "e3069283"), (CRC32, "cbf43926")]
)
def test_the_check_value_of_the_catalogue_of_crcs(kind: CrcKind, value: str) -> None:
    assert crc(kind, b"123456789").digest().hex() == value


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", [0, 1, 7, 8, 63, 64, 1000, 4097])
def test_the_definition(kind: CrcKind, length: int) -> None:
    data = random.Random(length).randbytes(length)
    assert crc(kind, data).digest() == bitwise(kind, data)


@pytest.mark.parametrize("kind", KINDS)
def test_it_does_not_matter_how_the_bytes_come(kind: CrcKind) -> None:
    data = random.Random(0).randbytes(200_003)
    source = random.Random(1)
    cuts = sorted(source.randrange(len(data)) for _ in range(30))
    pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    assert crc(kind, *pieces).digest() == crc(kind, data).digest()
