"""What a model is called in the log and in the list of models."""

from __future__ import annotations

import pytest

from shared.engine.llama.model import Model, _size_label


def test_a_size_that_llama_cpp_does_not_know_is_counted(model: Model) -> None:
    assert model.description == "llama 1.2M F16"


@pytest.mark.parametrize(
    ("n_params", "label"),
    [(260_000, "260.0K"), (494_000_000, "494.0M"), (7_600_000_000, "7.6B"), (10**12, "1.0T")],
)
def test_sizes_read_as_in_models_names(n_params: int, label: str) -> None:
    assert _size_label(n_params) == label
