"""What a draft model costs where it can't help: on a processor that a full batch keeps busy."""

from __future__ import annotations

import pytest

from shared.engine.llama.model import Model
from tests.engine.speculation.simulated_costs import PROCESSORS, SimulatedProcessor


@pytest.mark.slow
@pytest.mark.parametrize("is_unified", [True, False], ids=["pool", "shares"])
@pytest.mark.parametrize("n_wrong", [0, 1, 3, 10])
@pytest.mark.parametrize("processor", PROCESSORS)
def test_a_full_batch_loses_next_to_nothing_by_a_draft_model(
    model: Model, monkeypatch: pytest.MonkeyPatch, processor: str, n_wrong: int, is_unified: bool
) -> None:
    simulated = SimulatedProcessor(monkeypatch, processor, n_wrong)
    plain = simulated.seconds(model, drafts=False, is_unified=is_unified)
    with_drafts = simulated.seconds(model, drafts=True, is_unified=is_unified)
    assert plain / with_drafts > 0.98


@pytest.mark.slow
@pytest.mark.parametrize("is_unified", [True, False], ids=["pool", "shares"])
def test_where_it_helps_a_full_batch_it_is_used(
    model: Model, monkeypatch: pytest.MonkeyPatch, is_unified: bool
) -> None:
    simulated = SimulatedProcessor(monkeypatch, "between", n_wrong=0)
    plain = simulated.seconds(model, drafts=False, is_unified=is_unified, n_batches=10)
    with_drafts = simulated.seconds(model, drafts=True, is_unified=is_unified, n_batches=10)
    assert plain / with_drafts > 1.1


@pytest.mark.slow
@pytest.mark.parametrize("n_wrong", [0, 1])
@pytest.mark.parametrize("processor", PROCESSORS)
def test_who_is_left_between_gaps_loses_nothing_either(
    model: Model, monkeypatch: pytest.MonkeyPatch, processor: str, n_wrong: int
) -> None:
    """Where sequences have shares, what is on both sides of a gap is decoded one after the other."""
    answers = (8, 8, 96, 8)
    simulated = SimulatedProcessor(monkeypatch, processor, n_wrong)
    plain = simulated.seconds(model, drafts=False, is_unified=False, answers=answers)
    with_drafts = simulated.seconds(model, drafts=True, is_unified=False, answers=answers)
    assert plain / with_drafts > 0.98
