"""When a function has its model fetched before it has read its settings."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

import pytest

from functions.aws_lambda.early_fetch import begin_to_fetch

SOURCE = {"PILOTLIGHT_MODEL": "s3://bucket/model.gguf"}


@pytest.fixture
def begin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Mock:
    """What begins, in a directory without a configuration file."""
    begin = Mock()
    monkeypatch.setattr("shared.models.s3.early_fetch.begin", begin)
    monkeypatch.chdir(tmp_path)
    return begin


@pytest.mark.parametrize(
    ("more", "cache"),
    [
        ({}, None),
        ({"PILOTLIGHT_MODEL_CACHE": "memory", "PILOTLIGHT_MODELS": ""}, "memory"),
        ({"PILOTLIGHT_MODEL_CACHE": "", "PILOTLIGHT_MODELS": "{}"}, None),
    ],
)
def test_the_environment_names_it(begin: Mock, more: dict[str, str], cache: str | None) -> None:
    begin_to_fetch(SOURCE | more)
    begin.assert_called_once_with(SOURCE["PILOTLIGHT_MODEL"], cache)


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"PILOTLIGHT_MODEL": "builtin"},
        {"PILOTLIGHT_MODEL": "/opt/model.gguf"},
        SOURCE | {"PILOTLIGHT_MODELS": '{"small": {"source": "builtin"}}'},
        SOURCE | {"PILOTLIGHT_CONFIG": "/var/task/settings.toml"},
    ],
)
def test_nothing_is_fetched_where_more_has_a_say(begin: Mock, environment: dict[str, str]) -> None:
    begin_to_fetch(environment)
    begin.assert_not_called()


def test_nothing_is_fetched_where_there_is_a_configuration_file(begin: Mock) -> None:
    Path("pilotlight.toml").touch()
    begin_to_fetch(SOURCE)
    begin.assert_not_called()
