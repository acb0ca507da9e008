"""ApiFunction: stored completions and the list of models, through API Gateway, without a model."""

from __future__ import annotations

from functions.api_app import create_api_app
from functions.aws_lambda.buffered_door import BufferedDoor
from functions.aws_lambda.initialization import lambda_settings
from functions.aws_lambda.snapshot_hooks import register_hooks
from functions.aws_lambda.telemetry import Telemetry

_app = create_api_app(lambda_settings("api"))
_state = _app.state.server
handler = BufferedDoor(Telemetry(_app, _state, "api"))
register_hooks(_state)
