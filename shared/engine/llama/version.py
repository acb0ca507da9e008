"""Version of llama-cpp-python, and so of llama.cpp.

In a module of its own, since no load of a model should wait for `importlib.metadata`.
"""

from __future__ import annotations

from importlib.metadata import version

LLAMA_CPP_VERSION = version("llama-cpp-python")
