"""CRCs by sparse multiples, against the textbook's bit by bit."""

from __future__ import annotations

import random

import pytest

from shared.models.crc import CRC32C, CRC64NVME, Crc, CrcKind

KINDS = (CRC64NVME, CRC32C)


def crc(kind: CrcKind, *pieces: bytes) -> bytes:
    """Of all pieces together."""
    running = Crc(kind)
    for piece in pieces:
        running.update(memoryview(piece))
    return running.digest()


def bitwise(kind: CrcKind, data: bytes) -> bytes:
    """The definition, but for the bits of a byte, whose effect is looked up."""
    effects = []
    for number in range(256):
        effect = number
        for _ in range(8):
            effect = effect >> 1 ^ (kind.polynomial if effect & 1 else 0)
        effects.append(effect)
    ones = (1 << kind.width) - 1
    register = ones
    for byte in data:
        register = register >> 8 ^ effects[(register ^ byte) & 0xFF]
    return (register ^ ones).to_bytes(kind.width // 8, "big")


@pytest.mark.parametrize(("kind", "value"), [(CRC64NVME, "ae8b14860a799888"), (CRC32C, "e3069283")])
def test_the_check_value_of_the_catalogue_of_crcs(kind: CrcKind, value: str) -> None:
    assert crc(kind, b"123456789").hex() == value


@pytest.mark.parametrize("kind", KINDS)
def test_the_exponents_add_up_to_a_multiple_of_the_polynomial(kind: CrcKind) -> None:
    one = 1 << (kind.width - 1)
    power, total = one, 0
    for exponent in range(kind.exponents[-1] + 1):
        total ^= power if exponent in kind.exponents else 0
        for _ in range(64):
            power = power >> 1 ^ (kind.polynomial if power & 1 else 0)
    assert total == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("extra", [-9, -1, 0, 1, 7, 8, 9, 40_001])
def test_lengths_around_the_span(kind: CrcKind, extra: int) -> None:
    data = random.Random(extra).randbytes(8 * kind.exponents[-1] + extra)
    assert crc(kind, data) == bitwise(kind, data)


@pytest.mark.parametrize("kind", KINDS)
def test_it_does_not_matter_how_the_bytes_come(kind: CrcKind) -> None:
    data = random.Random(0).randbytes(2_000_003)
    source = random.Random(1)
    cuts = sorted(source.randrange(len(data)) for _ in range(30))
    pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    assert crc(kind, *pieces) == crc(kind, data)
    assert crc(kind, data[:1000], data[1000:500_000]) == bitwise(kind, data[:500_000])


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_at_all(kind: CrcKind) -> None:
    assert crc(kind) == bitwise(kind, b"")


@pytest.mark.parametrize("kind", KINDS)
def test_a_digest_does_not_end_it(kind: CrcKind) -> None:
    running = Crc(kind)
    data = memoryview(random.Random(2).randbytes(1_000_000))
    running.update(data[:500_000])
    running.digest()
    running.update(data[500_000:])
    assert running.digest() == crc(kind, bytes(data))
