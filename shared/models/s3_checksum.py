"""What S3 knows about an object's bytes, and whether those that arrived agree with it.

An object has a checksum if it was uploaded with one, or since the end of 2024 in any case: of the
whole object, or, for some multipart uploads, of its parts' checksums (*composite*, written
``VALUE-N``). Without one the ETag serves: MD5 of the whole, or of the parts' MD5s. See "Checking
object integrity" in the S3 user guide.
"""

from __future__ import annotations

import base64
import hashlib
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from shared.models.crc import CRC32C, CRC64NVME, Crc

BLOCK_SIZE = 2**18
"""Bytes that are hashed at once: what fits into the CPU's cache."""

_PLAIN_MD5 = re.compile(r"[0-9a-f]{32}")
_MULTIPART_MD5 = re.compile(r"[0-9a-f]{32}-[0-9]+")


class Hash(Protocol):
    """As `hashlib`'s."""

    def update(self, data: memoryview, /) -> None:
        """Take further bytes."""

    def digest(self) -> bytes:
        """The checksum, big-endian as S3 has it."""


class _Crc32:
    def __init__(self) -> None:
        self._value = 0

    def update(self, data: memoryview, /) -> None:
        """See `Hash.update`."""
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        """See `Hash.digest`."""
        return self._value.to_bytes(4, "big")


ALGORITHMS: Mapping[str, Callable[[], Hash]] = {
    "CRC32C": lambda: Crc(CRC32C),
    "CRC32": _Crc32,
    "CRC64NVME": lambda: Crc(CRC64NVME),
    "SHA256": hashlib.sha256,
    "SHA1": hashlib.sha1,
    "SHA512": hashlib.sha512,
    "MD5": lambda: hashlib.md5(usedforsecurity=False),
}
"""S3's checksums that can be computed here, by name; the fastest first."""


@dataclass(frozen=True, slots=True)
class Checksum:
    """An expected checksum.

    ``value`` is as S3 writes it. ``part_size``: bytes of all parts but the last one if the checksum
    is one of parts' checksums, else None. ``is_etag`` tells hexadecimal digits from base 64.
    """

    algorithm: str
    value: str
    part_size: int | None = None
    is_etag: bool = False

    def __str__(self) -> str:
        return "ETag" if self.is_etag else self.algorithm

    def compute(self, blocks: Iterator[memoryview]) -> str:
        """The checksum of ``blocks`` in `value`'s form.

        Where the object has parts, no block reaches over the end of one: see `block_ends`.
        """
        new = ALGORITHMS[self.algorithm]
        if self.part_size is None:
            whole = new()
            for block in blocks:
                whole.update(block)
            return self._written(whole.digest())
        parts, part, length = [], new(), 0
        for block in blocks:
            part.update(block)
            length += len(block)
            if length == self.part_size:
                parts.append(part.digest())
                part, length = new(), 0
        if length or not parts:
            parts.append(part.digest())
        whole = new()
        whole.update(memoryview(b"".join(parts)))
        return f"{self._written(whole.digest())}-{len(parts)}"

    def _written(self, digest: bytes) -> str:
        return digest.hex() if self.is_etag else base64.b64encode(digest).decode()


def block_ends(size: int, part_size: int | None) -> Iterator[int]:
    """Where to cut ``size`` bytes into blocks, none of which reaches over the end of a part."""
    end = 0
    while end < size:
        part_end = size if part_size is None else (end // part_size + 1) * part_size
        end = min(end + BLOCK_SIZE, part_end, size)
        yield end


def expected_checksum(
    head: Mapping[str, Any], part_size: Callable[[], int | None]
) -> Checksum | None:
    """The checksum to hold an object to, from the response to HeadObject with checksums.

    ``part_size`` finds out the size of the object's parts, None if they differ; it costs a
    request. Returns None if there is nothing that could be computed here: encryption with keys of
    KMS or of the customer makes the ETag opaque.
    """
    for algorithm in ALGORITHMS:
        value = head.get(f"Checksum{algorithm}")
        if value is None:
            continue
        if "-" not in value:
            return Checksum(algorithm, value)
        if (size := part_size()) is not None:
            return Checksum(algorithm, value, size)
    if head.get("ServerSideEncryption", "AES256") != "AES256" or "SSECustomerAlgorithm" in head:
        return None
    etag = head["ETag"].strip('"')
    if _PLAIN_MD5.fullmatch(etag):
        return Checksum("MD5", etag, is_etag=True)
    if _MULTIPART_MD5.fullmatch(etag) and (size := part_size()) is not None:
        return Checksum("MD5", etag, size, is_etag=True)
    return None
