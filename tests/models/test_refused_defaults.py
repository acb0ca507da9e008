"""A default that would have every request refused is refused itself, at the start."""

from __future__ import annotations

import pytest

from shared.models.defaults import RequestDefaults
from shared.settings import Settings
from shared.settings_file import ConfigurationError


@pytest.mark.parametrize("field", ["audio", "web_search_options", "moderation", "lora"])
def test_a_field_that_is_always_refused_has_no_default(field: str) -> None:
    settings = Settings(alias=["lamp"], models={"lamp": {field: {}}})

    with pytest.raises(ConfigurationError) as caught:
        RequestDefaults(settings)

    assert f"unknown request field '{field}'" in str(caught.value)
