"""Token bucket: a rate limit that refills continuously, with reservations.

What is reserved is held without refilling until it is settled; what was used then flows off. So no
burst of reservations is forgotten while its requests still run, and nothing is given back twice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

UNIT = 10**6
"""Parts of a unit, in which room is counted: time refills fractions of units, shards have some."""


@dataclass(slots=True)
class TokenBucket:
    """The state of a limit of ``limit`` units, which refill in ``period`` seconds.

    - ``level``: parts of units that were used and had not refilled by the time ``at``, which is in
      microseconds since 1970.
    - ``held``: parts of units that are reserved.
    - ``divisor``: of the limit and what refills; a shard has a part of them.
    """

    period: int
    limit: int
    level: int = 0
    at: int = 0
    held: int = 0
    divisor: int = 1

    def refill(self, now: int) -> None:
        """Let time pass. A clock that is behind refills nothing, for a period at most.

        One that is further behind was put right: the time before was wrong.
        """
        elapsed = now - self.at
        if elapsed > 0:
            refilled = elapsed * self.limit * UNIT // (self.period * self.divisor * 10**6)
            self.level = max(self.level - refilled, 0)
            self.at = now
        elif -elapsed > self.period * 10**6:
            self.at = now

    @property
    def room(self) -> int:
        """Parts of units that can be reserved; negative where the limit was higher before."""
        return self.limit * UNIT // self.divisor - self.level - self.held

    def reserve(self, parts: int) -> None:
        """Hold ``parts``."""
        self.held += parts

    def settle(self, reserved: int, used: int) -> None:
        """Hold ``reserved`` parts no more, of which ``used`` were used."""
        self.held -= reserved
        self.level += used

    @property
    def remaining(self) -> int:
        """Units that could be reserved; of several shards' buckets an estimate from this one."""
        return max(self.room * self.divisor // UNIT, 0)

    @property
    def seconds_until_full(self) -> float:
        """Until all is refilled, if what is held were used now."""
        return (self.level + self.held) * self.period * self.divisor / (self.limit * UNIT)

    def seconds_until(self, missing: int) -> int:
        """Whole seconds until all shards together have refilled so many parts."""
        return max(math.ceil(missing * self.period / (self.limit * UNIT)), 1)
