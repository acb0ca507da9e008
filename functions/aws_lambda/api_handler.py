"""ApiFunction: stored completions and the list of models, through API Gateway, without a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from functions.aws_lambda.collector import pause_collector, resume_collector

if TYPE_CHECKING:
    from functions.aws_lambda.buffered_handler import BufferedHandler


def _initialize() -> BufferedHandler:
    pause_collector()
    from functions.aws_lambda.buffered_handler import BufferedHandler
    from functions.aws_lambda.initialization import lambda_settings
    from functions.aws_lambda.snapshot_hooks import register_hooks
    from functions.aws_lambda.telemetry import Telemetry
    from functions.http.api_app import create_api_app

    app = create_api_app(lambda_settings("api"))
    state = app.state.server
    handler = BufferedHandler(Telemetry(app, state, "api"))
    register_hooks(state)
    resume_collector()
    return handler


handler = _initialize()
