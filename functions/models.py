"""``GET /v1/models`` and ``/v1/models/{id}``; llama-server has the list at ``/models`` too."""

from __future__ import annotations

from fastapi import APIRouter

from functions.documentation import errors
from functions.state import ServerState
from shared.models.defaults import served_names
from shared.protocol.errors import model_not_found
from shared.protocol.responses import ModelCard, ModelList


def router(state: ServerState) -> APIRouter:
    """What this deployment serves."""
    routes = APIRouter(tags=["models"], responses=errors(401, 503))

    @routes.get("/models", include_in_schema=False)
    @routes.get("/v1/models")
    async def list_models() -> ModelList:
        """List the models that are served."""
        return ModelList(data=[_card(state)])

    @routes.get("/v1/models/{model:path}", responses=errors(404))
    async def get_model(model: str) -> ModelCard:
        """Describe a model, by any of its names."""
        card = _card(state)
        names = served_names(state.settings)
        if model not in names:
            raise model_not_found(model, list(names))
        return card.model_copy(update={"id": model})

    return routes


def _card(state: ServerState) -> ModelCard:
    """What is known of the model: where another function serves it, nothing but its names."""
    if state.has_model:
        return state.model().card()
    name, *aliases = served_names(state.settings)
    return ModelCard(id=name, created=0, meta={"aliases": aliases})
