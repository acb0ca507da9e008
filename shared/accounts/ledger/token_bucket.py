"""Token bucket: a rate limit that refills continuously, with reservations.

What is reserved is held without refilling until it is settled; what was used then flows off. So no
burst of reservations is forgotten while its requests still run, and nothing is given back twice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_PARTS = 10**6
"""A unit's parts, in which the level is counted: time refills fractions of units."""


@dataclass(slots=True)
class TokenBucket:
    """The state of a limit of ``limit`` units, which refill in ``period`` seconds.

    - ``level``: parts of units that were used and had not refilled by the time ``at``, which is in
      microseconds since 1970.
    - ``held``: units that are reserved.
    """

    period: int
    limit: int
    level: int = 0
    at: int = 0
    held: int = 0

    def refill(self, now: int) -> None:
        """Let time pass. A clock that is behind refills nothing, for a period at most.

        One that is further behind was put right: the time before was wrong.
        """
        elapsed = now - self.at
        if elapsed > 0:
            self.level = max(self.level - elapsed * self.limit // self.period, 0)
            self.at = now
        elif -elapsed > self.period * _PARTS:
            self.at = now

    def has_room(self, n: int) -> bool:
        """Whether ``n`` units can be reserved."""
        return self.level + (self.held + n) * _PARTS <= self.limit * _PARTS

    def reserve(self, n: int) -> None:
        """Hold ``n`` units."""
        self.held += n

    def settle(self, reserved: int, used: int) -> None:
        """Hold ``reserved`` units no more, of which ``used`` were used."""
        self.held -= reserved
        self.level += used * _PARTS

    @property
    def remaining(self) -> int:
        """Units that could be reserved."""
        return max((self.limit * _PARTS - self.level) // _PARTS - self.held, 0)

    @property
    def seconds_until_full(self) -> float:
        """Until all is refilled, if what is held were used now."""
        return (self.level / _PARTS + self.held) * self.period / self.limit

    def seconds_until_room(self, n: int) -> int:
        """Whole seconds until ``n`` units can be reserved, if what is held were used now."""
        missing = self.level / _PARTS + self.held + n - self.limit
        return max(math.ceil(missing * self.period / self.limit), 1)
