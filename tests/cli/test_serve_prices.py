"""``pilotlight serve`` and prices that are for no model."""

from __future__ import annotations

from unittest.mock import patch

import pytest

from functions.cli import serve
from shared.config.configuration import load


@pytest.mark.parametrize(
    ("name", "is_told"), [("pilotlight-builtin", False), ("pilotlight-bultin", True)]
)
def test_a_price_for_no_model_ends_the_start(
    name: str, is_told: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """The model that it was meant for would cost nothing."""
    settings = load({"accounts": True, "prices": f'{{"{name}": {{"prompt": 1}}}}'})
    with (
        patch.object(serve, "configure_logging"),
        patch.object(serve, "set_switch_interval"),
        patch.object(serve, "_listen", return_value=[]),
    ):
        assert serve.serve(settings) == (2 if is_told else 1)
    told = capsys.readouterr().err
    assert (f"no model is called '{name}'" in told) is is_told
    assert ("did you mean 'pilotlight-builtin'" in told) is is_told
