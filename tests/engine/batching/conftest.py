"""Batches are counted: each step has one, as those of models that are not tiny."""

from __future__ import annotations

import pytest

from shared.engine import multi_step


@pytest.fixture(autouse=True)
def single_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multi_step, "TURN_SECONDS", 0.0)
