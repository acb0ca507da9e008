"""``GET /v1/models`` and ``/v1/models/{id}``."""

from __future__ import annotations

from fastapi import APIRouter

from functions.state import ServerState
from shared.protocol.errors import model_not_found
from shared.protocol.responses import ModelCard, ModelList


def router(state: ServerState) -> APIRouter:
    """What this deployment serves."""
    routes = APIRouter(prefix="/v1/models", tags=["models"])

    @routes.get("")
    async def list_models() -> ModelList:
        """List the models."""
        return ModelList(data=[state.model().card()])

    @routes.get("/{model:path}")
    async def get_model(model: str) -> ModelCard:
        """One model, by any of its names."""
        served = state.model()
        if model not in served.names:
            raise model_not_found(model, list(served.names))
        return served.card().model_copy(update={"id": model})

    return routes
