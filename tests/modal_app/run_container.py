"""Life of a container of Modal, in a forked process.

Runs the enter methods of a class of `modal_app`, then serves until it is stopped, then runs the exit
methods: in the order, on the event loop and with the signals of Modal's runtime, by its own code as
far as that does without a network. Requests come by HTTP instead of Modal's protocol.
"""

from __future__ import annotations

import importlib
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import uvicorn
from modal._container_entrypoint import call_server
from modal._partial_function import _find_callables_for_obj, _PartialFunctionFlags
from modal._runtime.asgi import LifespanManager
from modal._runtime.user_code_event_loop import UserCodeEventLoop
from modal._runtime.user_code_imports import FinalizedFunction, disable_signals, lifecycle_asgi
from modal._utils.async_utils import synchronizer
from modal.server import Server
from starlette.types import ASGIApp

from tests.modal_app.variables import ENDED


def _untyped(found: Any) -> Any:
    """Modal's runtime has no types."""
    return found


def user_object(wrapper: Any) -> Any:
    """An object of a class as Modal's runtime makes it, without the wrapper around the class."""
    wrapped = _untyped(synchronizer)._translate_in(wrapper)
    return wrapped._get_user_cls()()


def run_methods(found: Any, flag: _PartialFunctionFlags, loop: Any) -> None:
    """Run an object's lifecycle methods of one kind."""
    for method in _find_callables_for_obj(found, flag).values():
        result = method()
        if result is not None:
            loop.run(result)


def serve_web(app: ASGIApp, port: int, ready: Connection, loop: Any) -> None:
    """Serve between the app's startup and shutdown, until an interrupt."""
    function = FinalizedFunction(
        callable=app,
        is_async=True,
        is_generator=True,
        supported_output_formats=[],
        lifespan_manager=_untyped(LifespanManager)(app, {}),
    )
    config = uvicorn.Config(app, lifespan="off", log_config=None, access_log=False)
    with (
        socket.create_server(("127.0.0.1", port)) as listener,
        lifecycle_asgi(loop, _untyped(_Task()), {"": function}),
    ):
        ready.send(None)
        loop.run(_WebServer(config).serve([listener]))


class _Task:
    """What Modal's runtime reports errors to."""

    def handle_task_lifecycle_exception(self) -> AbstractContextManager[None]:
        return nullcontext()


class _WebServer(uvicorn.Server):
    """Leaves signals to Modal's runtime."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def main(class_name: str, port: int, ready: Connection) -> None:
    """Live."""
    modal_app = importlib.import_module("modal_app")  # which reads the environment
    vars(modal_app)["PORT"] = port
    wrapper = getattr(modal_app, class_name)
    found = user_object(wrapper)
    with UserCodeEventLoop() as loop:
        run_methods(found, _PartialFunctionFlags.ENTER_PRE_SNAPSHOT, loop)
        run_methods(found, _PartialFunctionFlags.ENTER_POST_SNAPSHOT, loop)
        try:
            if isinstance(wrapper, Server):
                ready.send(None)
                call_server(loop)
            else:
                serve_web(found.web(), port, ready, loop)
        except KeyboardInterrupt:
            pass
        finally:
            _untyped(disable_signals)()
            run_methods(found, _PartialFunctionFlags.EXIT, loop)
    print(ENDED, flush=True)


def live(
    class_name: str, port: int, ready: Connection, environ: Mapping[str, str], log: Path
) -> None:
    """Be a container of a class of `modal_app`; nothing is sent to ``ready`` until it serves."""
    os.environ.clear()
    os.environ.update(environ)
    with log.open("wb") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    sys.path[:0] = environ.get("PYTHONPATH", "").split(os.pathsep)
    with suppress(ModuleNotFoundError):
        importlib.import_module("sitecustomize")  # as a new interpreter does
    main(class_name, port, ready)
