"""``GET /props``: what programs for llama.cpp's server ask before they begin."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import APIRouter

from functions.http.openapi.resources import errors
from shared.completion.dialects.llama_cpp import default_settings
from shared.completion.tokens import detokenize
from shared.protocol.llama_cpp.responses import GenerationDefaults, Props
from shared.runtime.state import ServerState


def router(state: ServerState) -> APIRouter:
    """The model's properties; they can't be changed."""
    routes = APIRouter(tags=["llama.cpp"], responses=errors(401, 503))

    @routes.get("/props")
    async def props() -> Props:
        """The model's properties, and what `/completion` does unless told otherwise."""
        served = state.model()
        model = served.model
        tokens = [[token] if token >= 0 else [] for token in (model.bos, model.eos)]
        bos, eos = [detokenize(served, token) for token in tokens]
        return Props(
            default_generation_settings=GenerationDefaults(
                params=default_settings(served), n_ctx=served.engine.n_ctx
            ),
            total_slots=state.settings.parallel,
            model_alias=served.name,
            model_ftype=model.description,
            model_path=served.name,
            chat_template=served.template.source,
            bos_token=bos,
            eos_token=eos,
            build_info=(
                f"pilotlight {version('pilotlight')}, "
                f"llama-cpp-python {version('llama-cpp-python')}"
            ),
        )

    return routes
