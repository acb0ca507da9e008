"""Serves each model named on standard input for a moment, in a process of its own.

Prints a line of JSON for each: the exit status (negative for a signal) and what was said.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
from functools import cache
from pathlib import Path

from shared.chat.template import ChatTemplate
from shared.config.settings import Settings
from shared.engine.types import GenerationRequest
from shared.models.sources import model_files
from shared.runtime.model_loading import load_own_model
from shared.runtime.served_model import ServedModel
from tests.engine.conftest import GREEDY, run
from tests.models.gguf_file import GgufFile

_PROCESSOR_SECONDS = 60


def serve(path: str) -> None:
    """Load the model, and answer a request with it."""
    settings = _settings(path)
    files = model_files(path)
    served = ServedModel(settings, files, load_own_model(settings, files, lambda _: None))
    prompt = served.model.tokenize("Hello, é 😀")[: served.engine.n_ctx - 1]
    if not prompt:
        return  # such a request is refused before it reaches the engine
    for result in run(
        served.engine, GenerationRequest(prompt=prompt, max_tokens=4, sampling=GREEDY)
    ):
        print(f"finished: {result.finish_reason}", file=sys.stderr)


@cache
def _settings(path: str) -> Settings:
    return Settings(model=path, parallel=1, threads=1, ctx_size=256)


@cache
def prepare(path: str) -> None:
    """Do once what each process would do anew: it is a third of what the built-in model takes."""
    _settings(path)
    template = GgufFile.builtin().metadata["tokenizer.chat_template"].data
    ChatTemplate(template.decode())


def outcome(path: str) -> tuple[int, str]:
    """The exit status and the last line of standard error of a process that serves ``path``."""
    prepare(path)
    with tempfile.TemporaryFile() as said:
        child = os.fork()
        if not child:
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_CPU, (_PROCESSOR_SECONDS, _PROCESSOR_SECONDS + 1))
            status = 0
            try:
                serve(path)
            except (ValueError, RuntimeError, OSError) as error:  # as the server's start does
                print(f"pilotlight: {error}", file=sys.stderr, flush=True)
                status = 1
            except BaseException as error:
                print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
                status = 99
            sys.stderr.flush()
            os._exit(status)
        _, status = os.waitpid(child, 0)
        said.seek(0)
        lines = said.read().decode("utf-8", "replace").splitlines()
    return os.waitstatus_to_exitcode(status), "\n".join(lines)


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(outcome(str(Path(line.strip())))), flush=True)
