"""Before a process is copied as it stands, and after a copy of it wakes up.

AWS Lambda (SnapStart) and Modal keep the memory of a process that has its model loaded, and start
as many copies from it as they need, hours or weeks later. What copies must not share:

- *connections*: their other ends are gone. The store is closed with its threads and opened anew by
  the first request that needs it; fetching a model leaves none behind.
- *credentials*: they have expired. Stores get them from boto3 with their clients, so a new store
  has new ones.
- *randomness*: copies of `random`'s state would draw the same pauses between attempts. Seeds of
  sampling and ids come from `secrets` and `uuid`, that is from the kernel, which is told of a
  restore and is seeded anew (AWS says so of getrandom, /dev/urandom and OpenSSL on Lambda; on
  Modal the kernel is the host's): nothing is to be done about them.
- *counters*: what was counted before the snapshot would be counted by each copy.

https://docs.aws.amazon.com/lambda/latest/dg/snapstart-uniqueness.html
"""

from __future__ import annotations

import gc
import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from functions.state import ServerState


def before_snapshot(state: ServerState) -> None:
    """Let go of what can't be restored, and tidy up what will be."""
    state.close_store()
    # What is loaded by now stays. The collector need not look at it again, which would also copy
    # pages that all processes share with the snapshot.
    gc.collect()
    gc.freeze()


def after_restore(state: ServerState) -> None:
    """Make this copy different from all others."""
    random.seed()
    state.reset_metrics()
