"""The interpreter that has lm-eval. Without one there is nothing to collect here.

lm-eval brings almost a gigabyte of libraries and so has a virtual environment of its own. It runs
there, as a command; the tests and the server run in the environment of all other tests.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shared.models.sources import BUILTIN_PATH
from tests.evaluation.tokenizer import write_tokenizer

_INTERPRETER = "LM_EVAL_PYTHON"

collect_ignore_glob = [] if _INTERPRETER in os.environ else ["*"]


@pytest.fixture(scope="session")
def lm_eval_directory() -> Path:
    """Where the command ``lm-eval`` is: beside the interpreter."""
    return Path(os.environ[_INTERPRETER]).parent


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the built-in model's tokenizer as lm-eval loads it."""
    directory = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(BUILTIN_PATH, directory)
    return directory
