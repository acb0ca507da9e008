"""Close by the peer of a connection that is not read: what reading would tell, asked of the kernel.

Where requests are pipelined, nothing is read before the one in front has been answered.
"""

from __future__ import annotations

import asyncio
import select
import sys


def has_peer_closed(transport: asyncio.Transport) -> bool:
    """Whether the client has closed its side, or the connection is broken; on Linux only."""
    if sys.platform != "linux":
        return False
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), select.POLLRDHUP)
    return bool(poll.poll(0))  # errors and hang-ups are told in any case
