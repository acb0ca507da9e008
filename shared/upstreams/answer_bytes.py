"""Bytes of an upstream's answer: bounded in all, and in slices that are read in milliseconds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from shared.upstreams import errors

if TYPE_CHECKING:
    from shared.config.upstreams import UpstreamModel

_SLICE_BYTES = 2**14
"""Of events with a token each, which take 10 us an event, some milliseconds."""


async def bounded(parts: AsyncIterator[bytes], upstream: UpstreamModel) -> AsyncIterator[bytes]:
    """The parts of an answer's body; raises `UpstreamError` 502 behind the limit of bytes."""
    left = upstream.max_answer_size
    async for part in parts:
        yield part[:left]
        left -= len(part)
        if left < 0:
            raise errors.too_large(upstream)


async def slices(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in smaller parts, with other requests' work in between."""
    async for part in parts:
        for start in range(0, len(part), _SLICE_BYTES):
            if start:
                await asyncio.sleep(0)
            yield part[start : start + _SLICE_BYTES]
