"""Lives as a container of Modal does: ``python -m tests.modal_app.run_container CLASS PORT READY``.

Runs the enter methods of a class of `modal_app`, then serves until it is stopped, then runs the exit
methods: in the order, on the event loop and with the signals of Modal's runtime, by its own code as
far as that does without a network. Requests come by HTTP instead of Modal's protocol. A byte is
written to the file descriptor READY once they are taken.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
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

import modal_app
from tests.modal_app.variables import ENDED


def _untyped(found: Any) -> Any:
    """Modal's runtime has no types."""
    return found


def user_object(class_name: str) -> Any:
    """An object of a class as Modal's runtime makes it, without the wrapper around the class."""
    wrapped = _untyped(synchronizer)._translate_in(getattr(modal_app, class_name))
    return wrapped._get_user_cls()()


def run_methods(found: Any, flag: _PartialFunctionFlags, loop: Any) -> None:
    """Run an object's lifecycle methods of one kind."""
    for method in _find_callables_for_obj(found, flag).values():
        result = method()
        if result is not None:
            loop.run(result)


def serve_web(app: ASGIApp, port: int, ready: int, loop: Any) -> None:
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
        os.write(ready, b"1")
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


def main(class_name: str, port: int, ready: int) -> None:
    """Live."""
    vars(modal_app)["PORT"] = port
    found = user_object(class_name)
    with UserCodeEventLoop() as loop:
        run_methods(found, _PartialFunctionFlags.ENTER_PRE_SNAPSHOT, loop)
        run_methods(found, _PartialFunctionFlags.ENTER_POST_SNAPSHOT, loop)
        try:
            if isinstance(getattr(modal_app, class_name), Server):
                os.write(ready, b"1")
                call_server(loop)
            else:
                serve_web(found.web(), port, ready, loop)
        except KeyboardInterrupt:
            pass
        finally:
            _untyped(disable_signals)()
            run_methods(found, _PartialFunctionFlags.EXIT, loop)
    print(ENDED, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
