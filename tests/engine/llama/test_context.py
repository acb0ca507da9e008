"""Contexts of llama.cpp: when a decode has ended."""

from __future__ import annotations

from typing import Any

import pytest

from shared.engine.config import EngineConfig
from shared.engine.llama.bindings import lib
from shared.engine.llama.context import Batch
from shared.engine.llama.context_fit import new_context
from shared.engine.llama.errors import LlamaError
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


def test_more_logits_than_there_is_room_for_are_refused(model: Model) -> None:
    """llama.cpp would end the process."""
    context, params = new_context(model, EngineConfig(n_parallel=1, n_ctx=256, n_threads=1))
    n_most = params.n_outputs_max
    batch = Batch(n_most + 1)
    with context:
        batch.add_chunk(as_tokens([1] * n_most), 0, 0, outputs="all")
        batch.add_decodes([1], [n_most], [0])
        with pytest.raises(LlamaError, match=f"logits of {n_most + 1} tokens, .* of {n_most}$"):
            context.decode(batch)

        batch.clear()
        batch.add_chunk(as_tokens([1, 2, 3]), 0, 0, outputs="last")
        context.decode(batch)
        assert context.logits(1).shape == (1, model.n_vocab)
