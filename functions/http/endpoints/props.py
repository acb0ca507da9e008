"""``GET /props``: what programs for llama.cpp's server ask before they begin."""

from __future__ import annotations

from importlib.metadata import version

from functions.http.dependencies import State
from functions.http.openapi.error_responses import error_responses
from functions.http.resource_routing import resource_router
from shared.completion.dialects.llama_cpp import default_settings
from shared.completion.tokens import detokenize
from shared.protocol.llama_cpp.responses import GenerationDefaults, Props

router = resource_router("llama.cpp")


@router.get("/props", responses=error_responses(401, 503))
async def get_props(state: State, model: str | None = None) -> Props:
    """A model's properties, and what `/completion` does unless told otherwise."""
    served = await state.use_permitted_model(model)
    tokens = [[token] if token >= 0 else [] for token in (served.model.bos, served.model.eos)]
    bos, eos = [detokenize(served, token) for token in tokens]
    return Props(
        default_generation_settings=GenerationDefaults(
            params=default_settings(served), n_ctx=served.engine.n_ctx
        ),
        total_slots=state.settings.parallel,
        endpoint_slots=state.settings.slots,
        model_alias=served.name,
        model_ftype=served.model.description,
        model_path=served.name,
        chat_template=served.template.source,
        bos_token=bos,
        eos_token=eos,
        build_info=(
            f"pilotlight {version('pilotlight')}, llama-cpp-python {version('llama-cpp-python')}"
        ),
    )
