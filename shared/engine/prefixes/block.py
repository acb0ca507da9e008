"""File format of a stored block: a header that says of what it is the state, and the state.

Whatever differs from what a reader expects makes a block invalid: other tokens, another key,
a length or a checksum that is not right. A reader knows a block's size before it asks for it, and
so can read parts of it at once.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np

from shared.engine.llama.sequence_state import Bytes
from shared.engine.llama.tokenizer import TokenArray
from shared.engine.prefixes.keys import BLOCK

_MAGIC = b"PLPREFIX"
_VERSION = 1
_HEAD = struct.Struct(f"<8sIIdQ32s{4 * BLOCK}sI")
"""Magic, version, tokens, time of writing (seconds since 1970), bytes of the state, key, tokens,
CRC-32 of the state."""
_CRC = struct.Struct("<I")
HEADER_SIZE = _HEAD.size + _CRC.size
"""Bytes of the header, with its own CRC-32 at the end."""


class InvalidBlockError(Exception):
    """What was read is not the block that it should be."""


def header(key: bytes, tokens: TokenArray, state: Bytes, created: float) -> bytes:
    """What a file begins with; ``state`` follows."""
    head = _HEAD.pack(
        *(_MAGIC, _VERSION, BLOCK, created, len(state), key),
        *(tokens.astype("<i4", copy=False).tobytes(), zlib.crc32(state.data)),
    )
    return head + _CRC.pack(zlib.crc32(head))


def state_of(data: Bytes, key: bytes, tokens: TokenArray, *, not_before: float) -> Bytes | None:
    """The state in a file's bytes; None if it was written before ``not_before``.

    Raises `InvalidBlockError`.
    """
    head = data[: _HEAD.size].tobytes()
    if len(data) < HEADER_SIZE:
        raise InvalidBlockError("it is too short")
    if data[_HEAD.size : HEADER_SIZE].tobytes() != _CRC.pack(zlib.crc32(head)):
        raise InvalidBlockError("its header's checksum is wrong")
    magic, version, n_tokens, created, size, found, found_tokens, checksum = _HEAD.unpack(head)
    if (magic, version, n_tokens) != (_MAGIC, _VERSION, BLOCK):
        raise InvalidBlockError("it is of another format")
    if found != key or not np.array_equal(np.frombuffer(found_tokens, "<i4"), tokens):
        raise InvalidBlockError("it is of another prompt")
    state = data[HEADER_SIZE:]
    if len(state) != size or zlib.crc32(state.data) != checksum:
        raise InvalidBlockError("its checksum is wrong")
    return state if created >= not_before else None
