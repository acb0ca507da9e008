"""``GET /v1/models`` and ``/v1/models/{id}``; llama-server has the list at ``/models`` too."""

from __future__ import annotations

from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from shared.protocol.errors import model_not_found
from shared.protocol.responses import ModelCard, ModelList
from shared.runtime.state import ServerState


def routes(state: ServerState) -> list[Route]:
    """What this deployment serves."""

    async def list_models(_: Request) -> Response:
        return _json(ModelList(data=[_card(state)]))

    async def get_model(request: Request) -> Response:
        model = str(request.path_params["model"])
        if not model.strip("/"):
            raise HTTPException(404)
        card = _card(state)
        names = state.settings.served_names
        if model not in names:
            raise model_not_found(model, list(names))
        return _json(card.model_copy(update={"id": model}))

    return [
        Route("/models", list_models, methods=["GET"]),
        Route("/v1/models", list_models, methods=["GET"]),
        Route("/v1/models/{model:path}", get_model, methods=["GET"]),
    ]


def _card(state: ServerState) -> ModelCard:
    """What is known of the model: where another function serves it, nothing but its names."""
    if state.has_model:
        return state.model().card()
    name, *aliases = state.settings.served_names
    return ModelCard(id=name, created=0, meta={"aliases": aliases})


def _json(body: BaseModel) -> Response:
    return Response(body.model_dump_json(), media_type="application/json")
