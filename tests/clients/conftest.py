"""The interpreter that has the clients. Without one there is nothing to collect here.

The clients need versions of libraries that differ from those of development (LiteLLM an older
``openai``), so they have a virtual environment of their own. Their examples run there, in processes;
the tests and the server run in the environment of all other tests.
"""

from __future__ import annotations

import os

import pytest

_INTERPRETER = "CLIENTS_PYTHON"

collect_ignore_glob = [] if _INTERPRETER in os.environ else ["*"]


@pytest.fixture(scope="session")
def clients_python() -> str:
    """The interpreter's path."""
    return os.environ[_INTERPRETER]
