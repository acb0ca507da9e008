"""What the load of a model waits for: few imports, and others' imports wait for it."""

from __future__ import annotations

import subprocess
import sys
from threading import Event, Thread

import pytest

from shared.config.settings import Settings
from shared.models.errors import ModelSourceError
from shared.runtime import loader as loader_module
from shared.runtime import model_loading
from shared.runtime.loader import ModelLoader

_CODE = """
import sys
import shared.runtime.early_load
import shared.runtime.model_loading
print(*sys.modules)
import llama_cpp
import llama_cpp.llama_cpp
from shared.engine.llama import bindings, version
print(sys.modules["llama_cpp.llama_cpp"] is bindings.lib)
print(llama_cpp.llama_decode is bindings.lib.llama_decode)
print(llama_cpp.__version__ == version.LLAMA_CPP_VERSION)
print(llama_cpp.Llama.__module__ == "llama_cpp.llama")
from shared.engine.llama.model import Model
from shared.models.sources import BUILTIN_PATH
print(bool(Model(BUILTIN_PATH).buffers))
"""
_IMPORTED_MEANWHILE = {
    *("diskcache", "fastapi", "jinja2", "llguidance", "numpy", "pydantic", "starlette", "uvicorn"),
    "importlib.metadata",
    *("llama_cpp.llama", "shared.engine.engine", "shared.runtime.served_model"),
}


def test_loading_a_model_imports_little_before_it_begins(processes: None) -> None:
    done = subprocess.run([sys.executable, "-c", _CODE], capture_output=True, text=True, check=True)
    imported, *checks = done.stdout.splitlines()
    assert "llama_cpp.llama_cpp" in set(imported.split())
    assert not set(imported.split()) & _IMPORTED_MEANWHILE
    # Whoever imports the package itself later gets all of it, and the same functions;
    # and its own receiver of llama.cpp's log, which tells the sizes, is not in the way.
    assert checks == ["True"] * 5


def test_others_wait_until_llama_cpp_begins_to_load(monkeypatch: pytest.MonkeyPatch) -> None:
    has_room, has_loaded = Event(), Event()

    def load(*_: object) -> None:
        has_loaded.wait()
        raise ModelSourceError("enough of it")

    monkeypatch.setattr(loader_module, "_TRANSFER_SECONDS", 600)
    monkeypatch.setattr(model_loading, "load_own_model", load)

    def make_room() -> None:
        has_room.wait()

    loader = ModelLoader(Settings(), make_room)
    loader.start()
    waiting = Thread(target=loader.await_transfer)
    waiting.start()
    assert waiting.is_alive()
    has_room.set()
    waiting.join()
    assert loader.error is None
    has_loaded.set()
    with pytest.raises(ModelSourceError, match="enough of it"):
        loader.wait()
