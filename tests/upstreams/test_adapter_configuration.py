"""Configuration of models in adapter mode, and what importing it costs."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from shared.config.configuration import load
from shared.config.settings_file import ConfigurationError

URL = "https://api.example.com/v1"


def problem(monkeypatch: pytest.MonkeyPatch, **section: Any) -> str:
    models = {"big": {"upstream": URL, **section}}
    monkeypatch.setenv("PILOTLIGHT_MODELS", json.dumps(models))
    with pytest.raises(ConfigurationError) as raised:
        load({})
    (found,) = raised.value.problems
    return found


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({}, "'mode' is missing: say 'adapter' or 'direct'"),
        ({"mode": "direct", "defaults": {"seed": 1}}, "'defaults' needs mode = 'adapter'"),
        ({"mode": "adapter", "defaults": {"seed": "x"}}, "defaults: Invalid 'seed'"),
        ({"mode": "adapter", "defaults": {"temprature": 1}}, "did you mean 'temperature'"),
        ({"mode": "adapter", "defaults": {"model": "x"}}, "for the request alone to give"),
        ({"mode": "adapter", "defaults": [1]}, "'defaults'"),
        ({"mode": "direct", "dialect": "anthropic"}, "'mode' has to be 'adapter'"),
    ],
)
def test_what_is_wrong_is_said_at_the_start(
    monkeypatch: pytest.MonkeyPatch, section: dict[str, Any], words: str
) -> None:
    found = problem(monkeypatch, **section)
    assert '[models."big"]' in found
    assert words in found


def test_defaults_are_those_of_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    section = {"upstream": URL, "mode": "adapter", "defaults": {"temperature": 0.7}}
    monkeypatch.setenv("PILOTLIGHT_MODELS", json.dumps({"big": section}))
    assert load({}).upstreams["big"].defaults == {"temperature": 0.7}


def test_an_adapter_needs_no_engine(processes: None) -> None:
    code = (
        "import sys, functions.http.api_app, functions.http.dispatch.upstream_completions, "
        "shared.completion.upstreams.adapted_completion\n"
        "names = ('numpy', 'llama_cpp', 'llguidance', 'jinja2', 'boto3', 'httpx2')\n"
        "print([name for name in names if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
