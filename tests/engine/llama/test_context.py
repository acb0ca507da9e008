"""Contexts of llama.cpp: when a decode has ended."""

from __future__ import annotations

from typing import Any

import pytest

from shared.engine.config import EngineConfig
from shared.engine.llama.bindings import lib
from shared.engine.llama.context import Batch
from shared.engine.llama.context_fit import new_context
from shared.engine.llama.model import Model
from shared.engine.llama.tokenizer import as_tokens


@pytest.mark.parametrize(("n_gpu_layers", "ends"), [(0, False), (1, True)])
def test_a_decode_on_a_gpu_is_waited_for(
    model: Model, monkeypatch: pytest.MonkeyPatch, n_gpu_layers: int, *, ends: bool
) -> None:
    """llama.cpp only submits it there, so that whoever times it would see no time pass."""
    calls: list[str] = []
    for name in ("llama_decode", "llama_synchronize"):
        real: Any = getattr(lib, name)

        def note(*arguments: Any, name: str = name, real: Any = real) -> Any:
            calls.append(name)
            return real(*arguments)

        monkeypatch.setattr(lib, name, note)
    monkeypatch.setattr(model, "n_gpu_layers", n_gpu_layers)
    context, _ = new_context(model, EngineConfig(n_parallel=1, n_ctx=256, n_threads=1))
    batch = Batch(4)
    batch.add_chunk(as_tokens([1, 2, 3]), 0, 0, outputs="none")
    with context:
        calls.clear()
        context.decode(batch)

    assert calls == ["llama_decode", *["llama_synchronize"] * ends]
