"""Prices of tokens: exact to a nanodollar, from a file, a variable or a flag."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.accounts.limits import TokenPrices
from shared.config.configuration import load
from shared.config.settings_file import ConfigurationError


def test_dollars_per_million_tokens_are_nanodollars_each() -> None:
    prices = load({"prices": '{"a": {"prompt": 0.1, "cached": 0.025, "completion": 0.3}}'}).prices
    assert prices["a"].tokens == TokenPrices(prompt=100, cached=25, completion=300)


def test_what_is_cached_costs_as_much_unless_it_is_said(tmp_path: Path) -> None:
    file = tmp_path / "pilotlight.toml"
    file.write_text('[prices."a:b/c"]\nprompt = 2\ncompletion = 0.001\n')
    prices = load({"config": file}).prices
    assert prices["a:b/c"].tokens == TokenPrices(prompt=2000, cached=2000, completion=1)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"a": {"prompt": 0.0001}}', "more than three decimals"),
        ('{"a": {"prompt": -1}}', "greater than or equal to 0"),
        ('{"a": {"promt": 1}}', "nothing is called 'a.promt'"),
        ('{"a": 1}', "a valid dictionary"),
        ("{", "not JSON"),
    ],
)
def test_what_is_wrong_is_said(text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load({"prices": text})
    assert any(problem in each and "--prices" in each for each in refused.value.problems)


def test_any_name_of_a_model_has_its_price() -> None:
    """Tokens are counted by the first one: by another one they would cost nothing."""
    price = '{"other": {"prompt": 1}, "nobody": {"prompt": 2}}'
    settings = load({"prices": price, "alias": ["small", "other"]})
    found = settings.price("small")
    assert found is not None
    assert found.tokens.prompt == 1000
    assert settings.unused_prices == ["nobody"]


def test_the_first_name_with_a_price_counts() -> None:
    settings = load(
        {"prices": '{"b": {"prompt": 1}, "a": {"prompt": 2}}', "alias": ["a", "b"], "store": "none"}
    )
    found = settings.price("a")
    assert found is not None
    assert found.tokens.prompt == 2000
    assert settings.unused_prices == []


def test_prices_of_upstreams_are_used() -> None:
    models = '{"big": {"upstream": "http://127.0.0.1:9/v1", "mode": "direct"}}'
    settings = load({"prices": '{"big": {"prompt": 1}}', "models": models, "model": "none"})
    assert settings.unused_prices == []
