"""Checksums whose bytes are hashed in ranges, by several threads."""

from __future__ import annotations

import base64
import hashlib
import random
import zlib

import pytest

from shared.models.s3.checksum import ALGORITHMS, Checksum

MIB = 2**20
CONTENT = random.Random(0).randbytes(100_003)


def computed(checksum: Checksum, range_size: int, *, block: int = 777) -> str:
    """The checksum of `CONTENT`, hashed in ranges and those in blocks."""
    ranges = []
    for start in range(0, len(CONTENT), range_size):
        ranges.append(checksum.range_hash(start))
        content = memoryview(CONTENT)[start : start + range_size]
        for position in range(0, len(content), block):
            ranges[-1].update(content[position : position + block])
    return checksum.of(ranges)


def of_parts(part_size: int) -> str:
    """The CRC-32 of the parts' CRC-32s, and their number."""
    parts = [CONTENT[start : start + part_size] for start in range(0, len(CONTENT), part_size)]
    crcs = b"".join(zlib.crc32(part).to_bytes(4, "big") for part in parts)
    return f"{base64.b64encode(zlib.crc32(crcs).to_bytes(4, 'big')).decode()}-{len(parts)}"


@pytest.mark.parametrize("range_size", [1_000, 1_001, 50_000, 200_000])
@pytest.mark.parametrize("part_size", [1_000, 1_501, 70_000, 200_000])
def test_crcs_of_parts_do_not_depend_on_the_ranges(range_size: int, part_size: int) -> None:
    assert computed(Checksum("CRC32", "", part_size), range_size) == of_parts(part_size)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_range_may_be_the_whole(algorithm: str) -> None:
    checksum = Checksum(algorithm, "")
    once = checksum.range_hash(0)
    once.update(memoryview(CONTENT))
    assert computed(checksum, len(CONTENT)) == checksum.of([once])


def test_nothing_at_all_has_a_checksum() -> None:
    expected = base64.b64encode(hashlib.sha256().digest()).decode()
    assert Checksum("SHA256", "").of([]) == expected


def test_a_hash_of_pieces_is_refused_where_it_does_not_follow_from_theirs() -> None:
    with pytest.raises(TypeError, match="only CRCs"):
        computed(Checksum("SHA256", ""), 1_000)


class TestRangeSize:
    """Which ranges can be hashed each by itself."""

    def test_crcs_take_any(self) -> None:
        assert Checksum("CRC64NVME", "").range_size(16 * MIB) == 16 * MIB
        assert Checksum("CRC32", "", 100 * MIB).range_size(16 * MIB) == 16 * MIB

    def test_hashes_take_whole_parts(self) -> None:
        assert Checksum("SHA256", "", 8 * MIB).range_size(16 * MIB) == 16 * MIB
        assert Checksum("SHA256", "", 5 * MIB).range_size(16 * MIB) == 15 * MIB
        assert Checksum("MD5", "", 50 * MIB).range_size(16 * MIB) == 50 * MIB

    def test_hashes_of_all_or_of_large_parts_take_none(self) -> None:
        assert Checksum("SHA256", "").range_size(16 * MIB) is None
        assert Checksum("SHA256", "", 100 * MIB).range_size(16 * MIB) is None
