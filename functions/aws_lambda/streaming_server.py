"""InferenceFunction behind the Lambda Web Adapter: a server whose responses are passed on in parts.

Lambda's runtime for Python can't. `run.sh` starts it as the function's handler.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from typing import TYPE_CHECKING

from functions.aws_lambda.collector import pause_collector, resume_collector
from functions.aws_lambda.early_fetch import begin_to_fetch

if TYPE_CHECKING:
    from functions.http.server.uvicorn_server import GracefulServer
    from shared.runtime.loader import ModelLoader


def main() -> int:
    """Serve on ``AWS_LWA_PORT`` (the adapter's default: 8080) until SIGTERM; the exit status."""
    pause_collector()
    begin_to_fetch(os.environ)
    from functions.aws_lambda.initialization import (
        end_initialization,
        inference_app,
        lambda_settings,
    )
    from shared.runtime.loader import ModelLoader

    settings = lambda_settings("inference")
    loader = ModelLoader(settings)
    if settings.has_own_model:
        loader.start()
    port = os.environ.get("AWS_LWA_PORT", "8080")
    try:
        listener = socket.create_server(("127.0.0.1", int(port)))
    except (ValueError, OverflowError, OSError) as error:
        end_initialization(f"can't listen on AWS_LWA_PORT, {port}: {error}")

    # While the model arrives: the web framework takes a few hundred milliseconds to import.
    if settings.has_own_model:
        loader.await_transfer()
    from functions.aws_lambda.initialization import is_on_demand
    from functions.aws_lambda.snapshot_hooks import SnapshotHooks
    from functions.aws_lambda.telemetry import Telemetry
    from functions.aws_lambda.time_limit import adapter_remaining
    from functions.http.server.uvicorn_server import GracefulServer
    from shared.runtime.deadline import TimeLimit

    app = inference_app(settings, loader)
    state = app.state.server
    state.is_ready_cold &= is_on_demand()  # else initialization is to leave the model
    state.time_limit = TimeLimit(adapter_remaining, settings.deadline_margin)
    with_telemetry = Telemetry(app, state, "inference")
    server = GracefulServer(SnapshotHooks(with_telemetry, state), state, settings.grace_period)
    if settings.has_own_model:
        watch = threading.Thread(target=_watch, args=(loader, server), name="watcher", daemon=True)
        watch.start()
    else:
        resume_collector()
    server.run(sockets=[listener])
    if loader.is_abandoned:
        os._exit(0)  # its threads would go on for as long as fetching takes
    if loader.error is not None:
        end_initialization(f"the model could not be loaded: {loader.error}")
    return server.exit_status()


def _watch(loader: ModelLoader, server: GracefulServer) -> None:
    """End the initialization with the loading; and the server, without a model or its engine.

    The adapter waits until the server is healthy, once. Only a process that ends makes Lambda
    report the failure, keep a version from being published, and start another at the next
    invocation.
    """
    try:
        served = loader.wait()
    except Exception:  # reported when the server has ended
        server.should_exit = True
        return
    finally:
        resume_collector()
    server.end_with(served.engine)


if __name__ == "__main__":
    sys.exit(main())
