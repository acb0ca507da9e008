"""``GET /v1/models`` and ``/v1/models/{id}``; llama-server has the list at ``/models`` too."""

from __future__ import annotations

from starlette.exceptions import HTTPException

from functions.http.dependencies import State
from functions.http.openapi.error_responses import error_responses
from functions.http.routing import resource_router
from shared.protocol.errors import model_not_found
from shared.protocol.responses import ModelCard, ModelList
from shared.runtime.request_context import request_context
from shared.runtime.state import ServerState

router = resource_router("models")


@router.get("/models", include_in_schema=False)
@router.get("/v1/models", responses=error_responses(401, 503))
async def list_models(state: State) -> ModelList:
    """List the models that are served."""
    own = [_card(state)] if _names(state) else []
    return ModelList(data=[*own, *_upstream_cards(state).values()])


@router.get("/v1/models/{model:path}", responses=error_responses(401, 404, 503))
async def get_model(model: str, state: State) -> ModelCard:
    """Describe a model, by any of its names."""
    if not model.strip("/"):
        raise HTTPException(404)
    upstreams = _upstream_cards(state)
    if model in upstreams:
        return upstreams[model]
    card = _card(state)
    names = _names(state)
    if model not in names:
        raise model_not_found(model, [*names, *upstreams])
    return card.model_copy(update={"id": model})


def _names(state: ServerState) -> tuple[str, ...]:
    """The model's names; none where the caller may not use it."""
    names = state.settings.served_names
    return names if request_context().caller.may_use(names) else ()


def _upstream_cards(state: ServerState) -> dict[str, ModelCard]:
    """Models that somebody else serves, and that the caller may use, by name."""
    caller = request_context().caller
    return {
        name: ModelCard(id=name, created=0, owned_by=upstream.served_by, meta={})
        for name, upstream in state.settings.upstreams.items()
        if caller.may_use((name,))
    }


def _card(state: ServerState) -> ModelCard:
    """What is known of the model: where another function serves it, nothing but its names."""
    if state.has_model:
        return state.model().card()
    name, *aliases = state.settings.served_names
    return ModelCard(id=name, created=0, meta={"aliases": aliases})
