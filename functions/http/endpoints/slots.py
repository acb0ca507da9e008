"""``GET /slots``: what is running, as programs for llama.cpp's server watch it.

There are no slots here that requests could choose: each entry stands for a place in the batch. Who
asks is told of its own requests how far they are, of others' only that a place is taken; prompts
and texts are told to nobody.
"""

from __future__ import annotations

from functions.http.dependencies import State, Tenant
from functions.http.openapi.error_responses import error_responses
from functions.http.resource_routing import resource_router
from shared.engine.types import RunningSequence
from shared.protocol.errors import APIError
from shared.protocol.llama_cpp.generation_settings import sampled_settings
from shared.protocol.llama_cpp.responses import NextToken, Slot

router = resource_router("llama.cpp")


@router.get("/slots", responses=error_responses(401, 501, 503), response_model_exclude_none=True)
async def get_slots(
    state: State, tenant: Tenant, model: str | None = None, fail_on_no_slot: str = ""
) -> list[Slot]:
    """Tell what is running, one entry for each sequence that one batch can have.

    With `fail_on_no_slot` the answer is 503 where none is idle.
    """
    if not state.settings.slots:
        raise APIError(
            501, "This server does not tell of its slots: start it with --slots.", code="no_slots"
        )
    served = await state.use_permitted_model(model)
    running = served.engine.running()
    n_slots = max(state.settings.own.get(served.name, state.settings).parallel, len(running))
    if fail_on_no_slot and len(running) >= n_slots:
        raise APIError(503, "No slot is idle.", type="server_error", code="no_idle_slot")
    slots = [
        Slot(
            id=i,
            n_ctx=served.engine.n_ctx,
            speculative=served.engine.draft_types != "none",
            is_processing=i < len(running),
        )
        for i in range(n_slots)
    ]
    taken = [_told(slot, each, tenant) for slot, each in zip(slots, running, strict=False)]
    return [*taken, *slots[len(running) :]]


def _told(slot: Slot, running: RunningSequence, tenant: str) -> Slot:
    """A slot with what is told of its sequence."""
    if running.tenant != tenant:
        return slot
    next_token = NextToken(
        has_next_token=True,
        n_remain=running.remaining,
        n_decoded=running.sampled,
    )
    return slot.model_copy(
        update={
            "id_task": running.arrival,
            "n_prompt_tokens": running.prompt,
            "n_prompt_tokens_processed": running.processed - running.cached,
            "n_prompt_tokens_cache": running.cached,
            "params": sampled_settings(running.sampling),
            "next_token": [next_token],
        }
    )
