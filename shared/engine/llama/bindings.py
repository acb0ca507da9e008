"""Bindings of llama.cpp: the module ``llama_cpp.llama_cpp``, without the package around it.

Importing the package ``llama_cpp`` imports its own server's parts, too: chat templates, caches on
a disk. That is 35 ms of processor time which the load of the model would wait for.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import llama_cpp.llama_cpp as lib

__all__ = ["lib"]

_PACKAGE = "llama_cpp"


def _bindings() -> ModuleType:
    """The module with the functions of libllama.

    An empty package stands in for its own meanwhile, so that whoever imports ``llama_cpp`` later
    gets all of it, with this same module.
    """
    name = f"{_PACKAGE}.{_PACKAGE}"
    spec = None if _PACKAGE in sys.modules else find_spec(_PACKAGE)
    if spec is None or spec.submodule_search_locations is None:
        return import_module(name)
    package = ModuleType(_PACKAGE)
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules[_PACKAGE] = package
    try:
        return import_module(name)
    finally:
        del sys.modules[_PACKAGE]


if not TYPE_CHECKING:
    lib = _bindings()
