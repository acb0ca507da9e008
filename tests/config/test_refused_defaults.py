"""A default that would have every request refused is refused itself, at the start."""

from __future__ import annotations

from typing import Any

import pytest

from shared.config.request_defaults import RequestDefaults
from shared.config.settings import Settings
from shared.config.settings_file import ConfigurationError


@pytest.mark.parametrize("field", ["audio", "web_search_options", "moderation", "lora"])
def test_a_field_that_is_always_refused_has_no_default(field: str) -> None:
    settings = Settings(alias=["lamp"], models={"lamp": {field: {}}})

    with pytest.raises(ConfigurationError) as caught:
        RequestDefaults(settings)

    assert f"unknown request field '{field}'" in str(caught.value)


@pytest.mark.parametrize(
    ("section", "reason"),
    [
        ({"grammar": 'root ::= "a"', "regex": "a"}, "'grammar' and 'regex' exclude each other"),
        (
            {"response_format": {"type": "json_object"}, "json_schema": {"type": "object"}},
            "'response_format' and 'json_schema' exclude each other",
        ),
        (
            {"response_format": {"type": "text", "schema": {"type": "object"}}},
            "answers of type 'text' follow no schema",
        ),
        (
            {"response_format": {"type": "json_object", "value": {"type": "object"}}},
            "there is no field 'value' in it",
        ),
        (
            {"tools": [{"type": "function", "function": {"name": "f"}}], "functions": []},
            "'tools' and 'functions' exclude each other",
        ),
        ({"guided_json": {}}, "unknown request field 'guided_json'"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_a_form_that_no_request_could_follow_is_no_default(
    section: dict[str, Any], reason: str
) -> None:
    settings = Settings(alias=["lamp"], models={"lamp": section})

    with pytest.raises(ConfigurationError) as caught:
        RequestDefaults(settings)

    assert reason in str(caught.value)


def test_any_text_goes_with_a_grammar() -> None:
    section = {"response_format": {"type": "text"}, "grammar": 'root ::= "a"'}

    RequestDefaults(Settings(alias=["lamp"], models={"lamp": section}))
