"""``GET /v1/models`` and ``/v1/models/{id}``; llama-server has the list at ``/models`` too."""

from __future__ import annotations

from starlette.exceptions import HTTPException

from functions.http.dependencies import State
from functions.http.openapi.error_responses import error_responses
from functions.http.resource_routing import resource_router
from shared.protocol.errors import model_not_found
from shared.protocol.responses import ModelCard, ModelList, ModelStatus
from shared.runtime.pooled_model import PooledModel
from shared.runtime.request_context import request_context
from shared.runtime.state import ServerState

router = resource_router("models")


@router.get("/models", include_in_schema=False)
@router.get("/v1/models", responses=error_responses(401, 503))
async def list_models(state: State) -> ModelList:
    """List the models that are served."""
    own = [_card(state, model) for model in _own(state)]
    return ModelList(data=[*own, *_upstream_cards(state).values()])


@router.get("/v1/models/{model:path}", responses=error_responses(401, 404, 503))
async def get_model(model: str, state: State) -> ModelCard:
    """Describe a model, by any of its names."""
    if not model.strip("/"):
        raise HTTPException(404)
    upstreams = _upstream_cards(state)
    if model in upstreams:
        return upstreams[model]
    found = state.models.get(model)
    if found is None or found not in _own(state):
        raise model_not_found(model, state.known_names(request_context().caller))
    return _card(state, found).model_copy(update={"id": model})


def _own(state: ServerState) -> list[PooledModel]:
    """The own models that the caller may use."""
    caller = request_context().caller
    if not state.settings.has_own_model:
        return []
    return [model for model in state.models if caller.may_use(model.names)]


def _upstream_cards(state: ServerState) -> dict[str, ModelCard]:
    """Models that somebody else serves, and that the caller may use, by name."""
    caller = request_context().caller
    return {
        name: ModelCard(id=name, created=0, owned_by=upstream.served_by, meta={})
        for name, upstream in state.settings.upstreams.items()
        if caller.may_use((name,))
    }


def _card(state: ServerState, model: PooledModel) -> ModelCard:
    """What is known of a model: where it is not loaded, nothing but its names."""
    if len(state.models) == 1 and state.has_model:
        return state.model().card()
    served = model.loader.served
    if served is not None:
        card = served.card()
    else:
        card = ModelCard(id=model.name, created=0, meta={"aliases": list(model.names[1:])})
    if state.has_model:
        card.status = ModelStatus(value=model.status)
    return card
