"""A server inside ``pilotlight chat``'s own process, for as long as the conversation."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

from shared.config.settings import Settings
from shared.runtime.loader import ModelLoader
from shared.runtime.logging import configure_logging
from shared.runtime.process import STARTING, set_switch_interval


@contextmanager
def own_server(settings: Settings) -> Iterator[str]:
    """The address of a server for ``settings`` with its model loaded.

    Raises what loading raises: `ValueError`, `RuntimeError` or `OSError`.
    """
    configure_logging("error")
    logging.getLogger("pilotlight.llama_cpp").setLevel(logging.ERROR)
    # The server is this conversation's own; of keys that are known by hashes only it has none.
    settings = settings.model_copy(update={"api_key_hash": []})
    set_switch_interval(STARTING)  # else each line that llama.cpp logs waits for the imports
    loader = ModelLoader(settings)
    loader.start()
    loader.await_transfer()
    import_module("shared.runtime.served_model")  # what the loader needs next, before all else
    from functions.http.app import create_app
    from functions.http.origin_guard import OriginGuard
    from functions.http.server.uvicorn_server import GracefulServer

    set_switch_interval()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        app = create_app(settings, loader)
        app.state.server.guard = OriginGuard().check
        server = GracefulServer(app, app.state.server, grace_period=0)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            loader.wait()
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
