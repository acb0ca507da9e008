"""Runs a page's examples as its readers would: one after the other, in a process of their own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from tests.pages import Example

_SECONDS = 120
"""Far more than importing any of the clients takes."""
_END = "--- end of an example ---"
_FOREIGN = ("OPENAI_", "LANGCHAIN_", "LANGSMITH_", "LITELLM_", "PYTHON")
"""Beginnings of names of variables that would change what the clients do."""
_OFFLINE = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}


def run_python(python: str, examples: Sequence[Example], url: str) -> list[str]:
    """What each of the examples prints; they share one process and its names."""
    code = "".join(f"{example.at(url)}\nprint({_END!r}, flush=True)\n" for example in examples)
    *printed, rest = _run([python, "-W", "ignore", "-c", code]).split(f"{_END}\n")
    assert rest == ""
    return printed


def run_shell(example: Example, url: str) -> str:
    """What a command prints."""
    return _run(["bash", "-e", "-o", "pipefail", "-c", example.at(url)])


def _run(command: list[str]) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        env={**kept, **_OFFLINE},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
