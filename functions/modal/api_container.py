"""The life of a container without a model: stored completions and the list of models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from functions.http.api_app import create_api_app
from functions.modal.container import container_settings
from shared.runtime.snapshot import after_restore

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from functions.modal.deployment import Deployment
    from shared.runtime.state import ServerState


def api_app(deployment: Deployment) -> Starlette:
    """The app, ready for requests; raises as `container_settings`."""
    app = create_api_app(container_settings(deployment))
    state: ServerState = app.state.server
    after_restore(state)
    if state.tracing is not None:
        state.tracing.start()
    return app
