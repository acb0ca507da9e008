"""InferenceFunction of an HTTP API: whole completions, with the model in this process.

Everything up to the loaded model happens when Lambda imports this module. So a snapshot of
SnapStart holds it, and copies of it begin with their first request.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from functions.aws_lambda.collector import pause_collector, resume_collector
from functions.aws_lambda.early_fetch import begin_to_fetch

if TYPE_CHECKING:
    from collections.abc import Callable

    from mangum.types import LambdaContext

    Handler = Callable[[dict[str, Any], LambdaContext], dict[str, Any]]


def _initialize() -> Handler:
    started = time.monotonic()
    pause_collector()
    begin_to_fetch(os.environ)
    from functions.aws_lambda.initialization import inference_app, is_on_demand, lambda_settings
    from shared.runtime.loader import ModelLoader

    settings = lambda_settings("inference")
    loader = ModelLoader(settings)
    if settings.has_own_model:
        loader.start()
        # While the model arrives: the web framework takes a few hundred milliseconds to import.
        loader.await_transfer()
    from functions.aws_lambda.buffered_handler import BufferedHandler
    from functions.aws_lambda.model_start import ModelStart
    from functions.aws_lambda.snapshot_hooks import register_hooks
    from functions.aws_lambda.telemetry import Telemetry
    from functions.aws_lambda.time_limit import event_remaining
    from shared.runtime.deadline import TimeLimit

    app = inference_app(settings, loader)
    state = app.state.server
    state.time_limit = TimeLimit(event_remaining, settings.deadline_margin)
    handler = BufferedHandler(Telemetry(app, state, "inference"))
    register_hooks(state)
    if not settings.has_own_model:
        resume_collector()
        return handler
    model = ModelStart(state, started)
    is_answered = settings.answers_while_cold and is_on_demand()
    if not is_answered:
        model.initialize()
    resume_collector()

    def handle(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
        model.await_model(0 if is_answered else context.get_remaining_time_in_millis() / 1000)
        return handler(event, context)

    return handle


handler = _initialize()
