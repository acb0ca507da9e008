"""Free TCP port for a server process that has to be told one.

Not one of the range that the system takes clients' ports from: before the process listens, a client
on the same machine would get it sometimes.
"""

from __future__ import annotations

import random
import socket

_PORTS = range(15_000, 30_000)
_rng = random.SystemRandom()  # workers of the tests share the seed of `random`


def free_port() -> int:
    """A port that nobody listens to."""
    while True:
        port = _rng.choice(_PORTS)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
