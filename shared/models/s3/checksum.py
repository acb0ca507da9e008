"""Checksums of S3 objects: what S3 knows, and whether the bytes that arrived agree.

An object has a checksum if it was uploaded with one, or since the end of 2024 in any case: of the
whole object, or, for some multipart uploads, of its parts' checksums (*composite*, written
``VALUE-N``). Without one the ETag serves: MD5 of the whole, or of the parts' MD5s. See "Checking
object integrity" in the S3 user guide.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from shared.models.s3.crc import CRC32, CRC32C, CRC64NVME, Crc

_PLAIN_MD5 = re.compile(r"[0-9a-f]{32}")
_MULTIPART_MD5 = re.compile(r"[0-9a-f]{32}-[0-9]+")


class Hash(Protocol):
    """As `hashlib`'s."""

    def update(self, data: memoryview, /) -> None:
        """Take further bytes."""

    def digest(self) -> bytes:
        """The checksum, big-endian as S3 has it."""


ALGORITHMS: Mapping[str, Callable[[], Hash]] = {
    "CRC32C": lambda: Crc(CRC32C),
    "CRC64NVME": lambda: Crc(CRC64NVME),
    "CRC32": lambda: Crc(CRC32),
    "SHA256": hashlib.sha256,
    "SHA1": hashlib.sha1,
    "SHA512": hashlib.sha512,
    "MD5": lambda: hashlib.md5(usedforsecurity=False),
}
"""S3's checksums that can be computed here, by name; the fastest first."""


class PartHashes:
    """Hashes of consecutive bytes as they come, one of each part of the object."""

    def __init__(self, new: Callable[[], Hash], part_size: int | None) -> None:
        """See `Checksum`."""
        self._new = new
        self._part_size = part_size
        self._room = part_size
        self.parts = [new()]

    def update(self, data: memoryview) -> None:
        """Take further bytes."""
        while data:
            if self._room == 0:
                self._room = self._part_size
                self.parts.append(self._new())
            count = len(data) if self._room is None else min(self._room, len(data))
            self.parts[-1].update(data[:count])
            self._room = None if self._room is None else self._room - count
            data = data[count:]


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

    def hash(self) -> PartHashes:
        """Takes the object's bytes, in order."""
        return PartHashes(ALGORITHMS[self.algorithm], self.part_size)

    def of(self, hashed: PartHashes) -> str:
        """The checksum of all bytes that were taken, in `value`'s form."""
        digests = [part.digest() for part in hashed.parts]
        if self.part_size is None:
            return self._written(digests[0])
        whole = ALGORITHMS[self.algorithm]()
        whole.update(memoryview(b"".join(digests)))
        return f"{self._written(whole.digest())}-{len(digests)}"

    def _written(self, digest: bytes) -> str:
        return digest.hex() if self.is_etag else base64.b64encode(digest).decode()


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
