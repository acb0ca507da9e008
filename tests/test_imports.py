"""Directions of imports, type-only ones included: from what is deployed down to the machine."""

from __future__ import annotations

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[1]

_LAYERS = (
    ("functions.aws_lambda", "functions.modal", "functions.cli"),
    ("functions.http",),
    ("functions.dashboard",),
    ("shared.completion",),
    ("shared.runtime",),
    ("shared.upstreams",),
    ("shared.config",),
    ("shared.models", "shared.protocol"),
    ("shared.accounts",),
    ("shared.storage", "shared.chat"),
    ("shared.engine",),
    ("shared.json_schema", "shared.host"),
)
"""A module imports from its own package and from later lines; packages of a line are strangers."""


FILES = {
    ".".join(file.relative_to(_ROOT).with_suffix("").parts): file
    for top in ("functions", "shared")
    for file in (_ROOT / top).rglob("*.py")
}


@cache
def nodes(module: str) -> list[ast.Import | ast.ImportFrom | ast.Assign]:
    """What a module imports and assigns, wherever in it."""
    found = ast.walk(ast.parse(FILES[module].read_bytes()))
    return [node for node in found if isinstance(node, ast.Import | ast.ImportFrom | ast.Assign)]


@cache
def imports_of(module: str) -> set[str]:
    """The modules of this project that one imports, wherever in it."""
    found: set[str] = set()
    for node in nodes(module):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            submodules = {f"{node.module}.{name.name}" for name in node.names} & FILES.keys()
            found |= submodules or {str(node.module)}
    return {_file(name) for name in found if name.partition(".")[0] in ("functions", "shared")}


def _file(name: str) -> str:
    return name if name in FILES else f"{name}.__init__"


def _layer(module: str) -> tuple[int, str]:
    """The number of a module's layer, and its package."""
    for number, packages in enumerate(_LAYERS):
        for package in packages:
            if module.startswith(f"{package}."):
                return number, package
    raise AssertionError(f"{module} is in no layer")


@pytest.mark.parametrize("module", sorted(name for name in FILES if "__init__" not in name))
def test_imports_point_down(module: str) -> None:
    number, package = _layer(module)
    for imported in imports_of(module):
        below, other = _layer(imported)
        assert other == package or below > number, f"{module} imports {imported}"


def test_no_import_is_circular() -> None:
    try:
        TopologicalSorter({name: imports_of(name) for name in FILES}).prepare()
    except CycleError as error:
        pytest.fail(f"{error.args[0]}: {' -> '.join(error.args[1])}")


def test_only_platforms_know_platforms() -> None:
    """Mangum, Lambda's runtime and Modal are imported where they are deployed to."""
    for name in FILES:
        for node in nodes(name):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [str(node.module)]
            for imported in names:
                library = imported.partition(".")[0]
                if library in ("mangum", "awslambdaric", "aws_embedded_metrics"):
                    assert name.startswith("functions.aws_lambda."), f"{name} imports {imported}"
                if library == "modal":
                    assert name.startswith("functions.modal."), f"{name} imports {imported}"


def test_loggers_are_under_pilotlight() -> None:
    for name in FILES:
        for node in nodes(name):
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
                call = node.value
                if isinstance(call.func, ast.Attribute) and call.func.attr == "getLogger":
                    for argument in call.args:
                        if isinstance(argument, ast.Constant):  # others are of records
                            logger = str(argument.value)
                            assert logger.startswith("pilotlight"), f"{name} logs to {logger}"
