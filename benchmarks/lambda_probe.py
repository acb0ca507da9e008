"""Runs a Lambda function's process and writes down when its phases began and ended.

``python benchmarks/lambda_probe.py HANDLER`` takes the place of ``python -m awslambdaric HANDLER``.
The functions themselves know nothing of it: what is timed gets wrapped from outside as soon as its
module has been imported. A phase is a line in the file that ``COLDSTART_PHASES`` names; see
`benchmarks.lambda_phases`, which reads it. Imports no module that the runtime client does not.
"""

import os
import sys
import threading
import time
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from types import ModuleType
from typing import Any

_BEGAN = time.monotonic()

IMPORTS = {
    "awslambdaric": "runtime client",
    "awslambdaric.bootstrap": "runtime client",
    "functions.aws_lambda.inference_handler": "handler",
    "functions.aws_lambda.api_handler": "handler",
    "functions.aws_lambda.initialization": "import settings",
    "functions.http.app": "import app",
    "functions.http.api_app": "import app",
    "functions.aws_lambda.buffered_handler": "import Mangum",
    "functions.aws_lambda.telemetry": "import telemetry",
    "shared.runtime.served_model": "import engine",
    "shared.models.s3.source": "import boto3",
}
"""Modules whose import is a phase, with all that they import first."""

CALLS = {
    "functions.aws_lambda.initialization": {"lambda_settings": "read settings"},
    "functions.http.app": {"create_app": "assemble app"},
    "functions.http.api_app": {"create_api_app": "assemble app"},
    "functions.aws_lambda.model_start": {"ModelStart.initialize": "wait for model"},
    "functions.aws_lambda.buffered_handler": {"BufferedHandler.__call__": "request"},
    "shared.completion.validation": {"validated": "validate"},
    "shared.completion.chat_prompt": {"prompt_of": "template"},
    "shared.completion.tokens": {"prompt_tokens": "tokenize"},
    "shared.completion.completion": {"Completion._send_whole": "generate"},
    "shared.completion.dialects.chat": {"ChatDialect.body": "format"},
    "shared.models.s3.access": {"S3Access.__init__": "S3 client"},
    "shared.models.s3.object": {"S3Object.__init__": "ask S3"},
    "shared.models.s3.source": {"fetch": "fetch"},
    "shared.engine.llama.model": {"Model.__init__": "load"},
    "shared.engine.engine": {"Engine.__init__": "make context"},
    "shared.runtime.served_model": {"ServedModel.__init__": "model"},
}
"""Functions whose calls are phases, by the module that defines them."""

_COROUTINE_FUNCTION = 0x80  # inspect.CO_COROUTINE, without importing inspect


class _Phase:
    """Times a block: on the clock, and on the processor as far as its own thread goes."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        self._began = time.monotonic()
        self._cpu = time.thread_time()

    def __exit__(self, *_: object) -> None:
        cpu = time.thread_time() - self._cpu
        _note(self._name, self._began, time.monotonic(), cpu)


def main() -> None:
    """Run the runtime client with the arguments of this process."""
    # As `python -m` has it: the working directory, not the one of this file.
    sys.path[0] = os.getcwd()
    _note("interpreter", _BEGAN, _BEGAN, time.process_time())
    SourceFileLoader.exec_module = _timed_import(  # type: ignore[assignment, method-assign]
        SourceFileLoader.exec_module
    )
    from awslambdaric.__main__ import main as run

    run(sys.argv)


def _timed_import(
    exec_module: Callable[[SourceFileLoader, ModuleType], None],
) -> Callable[[SourceFileLoader, ModuleType], None]:
    def timed(loader: SourceFileLoader, module: ModuleType) -> None:
        name = module.__name__
        if name in IMPORTS:
            with _Phase(IMPORTS[name]):
                exec_module(loader, module)
        else:
            exec_module(loader, module)
        for path, phase in CALLS.get(name, {}).items():
            _wrap(module, path, phase)

    return timed


def _wrap(module: ModuleType, path: str, phase: str) -> None:
    """Time the function at ``path``; raises `AttributeError` when it has got another name."""
    *owners, name = path.split(".")
    owner: Any = module
    for each in owners:
        owner = getattr(owner, each)
    function = getattr(owner, name)

    def timed(*arguments: Any, **options: Any) -> Any:
        with _Phase(phase):
            return function(*arguments, **options)

    async def awaited(*arguments: Any, **options: Any) -> Any:
        with _Phase(phase):
            return await function(*arguments, **options)

    is_coroutine = function.__code__.co_flags & _COROUTINE_FUNCTION
    setattr(owner, name, awaited if is_coroutine else timed)


def _note(name: str, began: float, ended: float, cpu: float) -> None:
    """One line at once: the process may be killed at any time."""
    thread = threading.current_thread().name
    os.write(_FILE, f"{name}\t{thread}\t{began}\t{ended}\t{cpu}\n".encode())


if __name__ == "__main__":
    _FILE = os.open(os.environ["COLDSTART_PHASES"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    main()
