"""States of sequences, cut and put together: what they lead to is what evaluating leads to."""

from __future__ import annotations

import numpy as np
import pytest

from shared.engine.config import EngineConfig
from shared.engine.llama.context import Batch, Context, LogitsArray
from shared.engine.llama.context_fit import new_context
from shared.engine.llama.memory import CacheType
from shared.engine.llama.model import Model
from shared.engine.llama.sequence_state import StateFormatError, StateLayout

N = 300
TYPES: list[tuple[bool | None, CacheType, CacheType]] = [
    (None, "f16", "f16"),
    (True, "f16", "bf16"),
    (False, "q8_0", "f32"),
    (True, "q8_0", "q8_0"),
    (True, "q4_0", "q5_1"),
]


def context_of(model: Model, *, is_unified: bool, types: tuple[bool | None, str, str]) -> Context:
    flash_attn, type_k, type_v = types
    config = EngineConfig(
        n_ctx=1024 if is_unified else 3072,
        n_parallel=3,
        kv_unified=is_unified,
        flash_attn=flash_attn,
        cache_type_k=type_k,  # type: ignore[arg-type]
        cache_type_v=type_v,  # type: ignore[arg-type]
    )
    return new_context(model, config)[0]


def evaluate(context: Context, seq_id: int, tokens: list[int], start: int = 0) -> LogitsArray:
    batch = Batch(512)
    batch.add_chunk(np.array(tokens, dtype=np.int32), start, seq_id, outputs="last")
    context.decode(batch)
    logits: LogitsArray = context.logits(1)[0].copy()
    return logits


@pytest.fixture
def tokens(model: Model) -> list[int]:
    return (model.tokenize("Once upon a time there was a lighthouse that nobody lit. ") * 40)[:N]


@pytest.mark.parametrize("is_unified", [True, False], ids=["pool", "shares"])
@pytest.mark.parametrize("types", TYPES, ids=str)
def test_a_state_put_together_goes_on_as_the_evaluated_one(
    model: Model, tokens: list[int], is_unified: bool, types: tuple[bool | None, str, str]
) -> None:
    with context_of(model, is_unified=is_unified, types=types) as context:
        layout = context.state_layout
        assert layout is not None
        evaluate(context, 1, tokens)
        state = context.read_state(1)
        parts = layout.divide(state, [(0, 100), (100, 256), (256, N)])

        assert [len(part) for part in parts] == [n * layout.cell_size for n in (100, 156, 44)]
        assert context.write_state(2, layout.join(parts, context.n_streams))
        assert context.positions(2) == (0, N - 1)
        np.testing.assert_array_equal(
            evaluate(context, 2, [5], start=N), evaluate(context, 1, [5], start=N)
        )


@pytest.mark.slow
def test_cells_that_lie_in_any_order_are_sorted(model: Model, tokens: list[int]) -> None:
    """A pool gives a sequence the cells that are free, wherever these are."""
    with context_of(model, is_unified=True, types=(None, "f16", "f16")) as context:
        layout = context.state_layout
        assert layout is not None
        evaluate(context, 0, tokens)
        whole = layout.divide(context.read_state(0), [(0, N)])[0]
        context.remove_cells(0)
        for seq_id in range(3):
            evaluate(context, seq_id, tokens)
        context.remove_cells(0)
        evaluate(context, 1, tokens[:200], start=N)
        context.remove_cells(1, 100)
        evaluate(context, 1, tokens[100:], start=100)

        state = context.read_state(1)

        positions = state[16 : 16 + 12 * N].view(np.int32)[::3]
        assert (np.diff(positions) < 0).any()
        again = layout.divide(state, [(0, N)])[0]
        width = np.float16
        np.testing.assert_allclose(
            again.view(width).astype(float), whole.view(width).astype(float), atol=0.05
        )


def test_a_state_with_a_gap_is_refused(model: Model, tokens: list[int]) -> None:
    with context_of(model, is_unified=True, types=(None, "f16", "f16")) as context:
        assert context.state_layout is not None
        evaluate(context, 0, tokens[:10], start=5)

        with pytest.raises(StateFormatError):
            context.state_layout.divide(context.read_state(0), [(0, 10)])


def test_where_there_is_no_room_a_sequence_has_no_cells(model: Model, tokens: list[int]) -> None:
    with context_of(model, is_unified=True, types=(None, "f16", "f16")) as context:
        assert context.state_layout is not None
        evaluate(context, 0, tokens)
        state = context.read_state(0)
        for seq_id in (1, 2):
            assert context.write_state(seq_id, state)

        assert not context.write_state(3, state)
        assert context.positions(3) == (-1, -1)


@pytest.mark.parametrize("n_bytes", [0, 7, 15, 40, 2000])
def test_what_is_no_state_has_no_layout(model: Model, tokens: list[int], n_bytes: int) -> None:
    with context_of(model, is_unified=True, types=(None, "f16", "f16")) as context:
        evaluate(context, 0, tokens[:4])
        state = context.read_state(0)

        with pytest.raises(StateFormatError):
            StateLayout.of(state[:n_bytes])
        with pytest.raises(StateFormatError):
            StateLayout.of(np.concatenate([state, np.ones(8, dtype=np.uint8)]))


def test_layouts_of_other_settings_are_different(model: Model) -> None:
    found = set()
    for types in TYPES:
        with context_of(model, is_unified=True, types=types) as context:
            assert context.state_layout is not None
            found.add(context.state_layout.identity)

    assert len(found) == len(TYPES)
