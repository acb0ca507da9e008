"""HTTP app (ASGI) with all endpoints: the same on a laptop, on Lambda and on Modal."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI, Request
from fastapi_offline import FastAPIOffline
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from functions.http.assembly import assemble
from functions.http.authentication import DOCS_FILES
from functions.http.endpoints import (
    chat_completions,
    completions,
    health,
    llama_cpp,
    models,
    props,
    stored_completions,
    tokens,
)
from functions.http.openapi import document
from shared.config.request_defaults import REQUEST_SCHEMAS
from shared.config.settings import Settings
from shared.runtime.loader import ModelLoader
from shared.runtime.state import ServerState

_DESCRIPTION = "OpenAI-compatible chat and text completions for GGUF models."


def create_app(settings: Settings, loader: ModelLoader | None = None) -> FastAPI:
    """The app for ``settings``. ``loader`` is given where loading began before the imports."""
    if loader is None:
        loader = ModelLoader(settings)
        loader.start()
    state = ServerState(settings, loader)
    for schema in REQUEST_SCHEMAS:
        schema.model_rebuild()  # what the first request would else wait for

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        state.close()

    # Not FastAPI's own: its documentation page loads its scripts from elsewhere.
    app = FastAPIOffline(
        redoc_url=None,
        static_url=DOCS_FILES,
        title="pilotlight",
        version=version("pilotlight"),
        description=_DESCRIPTION,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    routes = [
        *chat_completions.routes(state),
        *completions.routes(state),
        *llama_cpp.routes(state),
        *tokens.routes(state),
        *models.routes(state),
        *health.routes(state),
        *stored_completions.routes(state),
        Route("/", _to_docs),
    ]
    app.router.routes += props.router(state).routes
    app.openapi = lambda: document.openapi(app)  # type: ignore[method-assign]
    assemble(app, state, routes)
    return app


async def _to_docs(_: Request) -> Response:
    return RedirectResponse("/docs", 307)
