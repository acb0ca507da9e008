"""Process snapshots (SnapStart, Modal): what is done before one is taken, and after a restore.

AWS Lambda (SnapStart) and Modal keep the memory of a process that has its model loaded, and start
as many copies from it as they need, hours or weeks later. What copies must not share:

- *connections*: their other ends are gone. The store is closed with its threads and opened anew by
  the first request that needs it. Fetching a model leaves none behind.
- *credentials*: they have expired. Stores get them from boto3 together with their clients, so a new
  store has new ones.
- *randomness*: copies of `random`'s state would choose the same pauses between attempts, and come
  back to a busy store together. Seeds of sampling and ids need nothing: they come from `secrets`
  and `uuid`, that is from the kernel, which is seeded anew when a copy starts (AWS promises it for
  Lambda; on Modal the kernel is the host's).
- *counts*: what came before the snapshot would be counted by each copy.

What they should share is work that each would have to do otherwise: see `prime`.

https://docs.aws.amazon.com/lambda/latest/dg/snapstart-uniqueness.html
"""

from __future__ import annotations

import asyncio
import gc
import logging
import random
from typing import TYPE_CHECKING

from shared.storage.base import StoreError

if TYPE_CHECKING:
    from shared.runtime.served_model import ServedModel
    from shared.runtime.state import ServerState

_log = logging.getLogger("pilotlight")


def before_snapshot(state: ServerState) -> None:
    """Do once what each copy would have to do, and let go of what they can't have."""
    prime(state)
    state.stores.close()
    for served in state.models.loaded():
        served.engine.disconnect()
    # What is there now stays: the collector need not look at it in each copy, which would also take
    # memory, since a page that is written to is shared no longer.
    gc.unfreeze()  # an initialization may have frozen what was never collected
    gc.collect()
    gc.freeze()


def after_restore(state: ServerState) -> None:
    """Make this copy different from all others, and begin to read the weights ahead."""
    for served in state.models.loaded():
        served.model.prefault()
    random.seed()
    state.reset_metrics()


def prime(state: ServerState) -> None:
    """What the first request would wait for.

    The first grammar makes the compiler read the whole vocabulary (0.5 s for 152,000 tokens) and
    start its second process. The first store reads AWS's descriptions of its services (0.3 s, with
    the import). The engine's first step is the least.
    """
    if state.has_model:
        served = state.model()
        _compile_grammar(served)
        # Not `asyncio.run`, which would leave the thread without the event loop that it has.
        loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(_generate(served))
        finally:
            loop.close()
        served.engine.warm_up()
    try:
        state.stores.warm_up()
    except StoreError as error:  # completions are served without it
        _log.warning("the store can't be used: %s", error)


def _compile_grammar(served: ServedModel) -> None:
    # Only where there is an engine, which imports the same.
    from shared.engine.grammar.grammar import grammar

    served.constraints().compile(grammar("json_schema", {"type": "object"}))


async def _generate(served: ServedModel) -> None:
    prompt = served.model.tokenize("Hello", add_special=True)
    from shared.engine.types import GenerationRequest, SamplingParams  # only where a model is

    request = GenerationRequest(prompt=prompt, max_tokens=2, sampling=SamplingParams(seed=0))
    async for _ in served.engine.submit(request):
        pass
