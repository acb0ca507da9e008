"""The life of a container without a model: others' models, stored completions, lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from functions.http.api_app import create_api_app
from functions.modal.container import container_settings
from functions.modal.shutdown import InterruptShutdown
from shared.runtime.deadline import TimeLimit
from shared.runtime.snapshot import after_restore

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from functions.modal.deployment import Deployment
    from shared.runtime.state import ServerState


def api_app(deployment: Deployment) -> ASGIApp:
    """The app, ready for requests; raises as `container_settings`."""
    settings = container_settings(deployment)
    app = create_api_app(settings, asks_upstreams=True)
    state: ServerState = app.state.server
    after_restore(state)
    # Answers of upstreams end before Modal's timeout would end their requests.
    state.time_limit = TimeLimit(lambda _: deployment.timeout, settings.deadline_margin)
    if state.tracing is not None:
        state.tracing.start()
    return InterruptShutdown(app, state, deployment.grace_period)
