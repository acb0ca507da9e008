"""What the benchmark of cold starts looks into is there under the names that it knows."""

from __future__ import annotations

import re
from functools import reduce
from importlib import import_module
from importlib.util import find_spec

import pytest

from benchmarks import lambda_imports
from benchmarks.lambda_probe import CALLS, IMPORTS


@pytest.mark.parametrize("module", IMPORTS)
def test_phases_of_imports(module: str) -> None:
    assert find_spec(module) is not None


@pytest.mark.parametrize("module", CALLS)
def test_phases_of_calls(module: str) -> None:
    for path in CALLS[module]:
        assert callable(reduce(getattr, path.split("."), import_module(module)))


@pytest.mark.parametrize("code", lambda_imports.ALL)
def test_imports_that_are_counted(code: str) -> None:
    modules = re.findall(r"(?:import|,) ([\w.]+)", code)
    assert len(modules) > 5
    assert all(find_spec(module) for module in modules)
