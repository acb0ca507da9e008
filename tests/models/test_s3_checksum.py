"""Checksums whose bytes are hashed as they come."""

from __future__ import annotations

import base64
import hashlib
import random
import zlib

import pytest

from shared.models.s3.checksum import ALGORITHMS, Checksum

CONTENT = random.Random(0).randbytes(100_003)


def computed(checksum: Checksum, *, block: int = 777) -> str:
    """The checksum of `CONTENT`, hashed in blocks."""
    hashed = checksum.hash()
    for position in range(0, len(CONTENT), block):
        hashed.update(memoryview(CONTENT)[position : position + block])
    return checksum.of(hashed)


def of_parts(part_size: int) -> str:
    """The CRC-32 of the parts' CRC-32s, and their number."""
    parts = [CONTENT[start : start + part_size] for start in range(0, len(CONTENT), part_size)]
    crcs = b"".join(zlib.crc32(part).to_bytes(4, "big") for part in parts)
    return f"{base64.b64encode(zlib.crc32(crcs).to_bytes(4, 'big')).decode()}-{len(parts)}"


@pytest.mark.parametrize("block", [777, 1_000, 50_000, 200_000])
@pytest.mark.parametrize("part_size", [1_000, 1_501, 70_000, 200_000])
def test_checksums_of_parts_do_not_depend_on_how_the_bytes_come(block: int, part_size: int) -> None:
    assert computed(Checksum("CRC32", "", part_size), block=block) == of_parts(part_size)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_bytes_may_come_at_once(algorithm: str) -> None:
    checksum = Checksum(algorithm, "")
    assert computed(checksum) == computed(checksum, block=len(CONTENT))


def test_parts_that_end_with_the_object_have_no_empty_one_behind() -> None:
    whole = Checksum("MD5", "", len(CONTENT), is_etag=True)
    once = hashlib.md5(hashlib.md5(CONTENT).digest()).hexdigest()
    assert computed(whole) == f"{once}-1"


def test_nothing_at_all_has_a_checksum() -> None:
    expected = base64.b64encode(hashlib.sha256().digest()).decode()
    checksum = Checksum("SHA256", "")
    assert checksum.of(checksum.hash()) == expected
