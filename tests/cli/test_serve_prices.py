"""``pilotlight serve`` and prices that are for no model."""

from __future__ import annotations

from unittest.mock import patch

import pytest

from functions.cli import serve
from shared.config.configuration import load


@pytest.mark.parametrize(("name", "is_told"), [("pilotlight-builtin", False), ("pilotlite", True)])
def test_a_price_for_no_model_is_told_of(
    name: str, is_told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    settings = load({"accounts": True, "prices": f'{{"{name}": {{"prompt": 1}}}}'})
    with (
        patch.object(serve, "configure_logging"),
        patch.object(serve, "set_switch_interval"),
        patch.object(serve, "_listen", return_value=[]),
    ):
        assert serve.serve(settings) == 1
    assert (name in caplog.text) is is_told
