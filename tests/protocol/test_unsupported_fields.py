"""Forms of answers in other servers' spellings are refused, whatever else is unknown is not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.protocol.errors import APIError
from shared.protocol.unsupported_fields import refuse_unsupported_fields

SCHEMA = {"type": "object"}


@pytest.mark.parametrize(
    ("fields", "advice"),
    [
        ({"guided_json": SCHEMA}, "response_format"),
        ({"guided_json": {}}, "response_format"),
        ({"guided_json": json.dumps(SCHEMA)}, "response_format"),
        ({"guided_regex": "a"}, "regex"),
        ({"guided_choice": ["a", "b"]}, "regex"),
        ({"guided_grammar": "root ::= [a]"}, "grammar"),
        ({"guided_json_object": True}, "json_object"),
        ({"structured_outputs": {"json": {}}}, "response_format"),
        ({"structured_outputs": {"json": None, "choice": ["a"]}}, "response_format"),
        ({"structural_tag": "{}"}, "tools"),
        ({"ebnf": "root ::= [a]"}, "grammar"),
        ({"grammar_lazy": True}, "tools"),
        ({"grammar_triggers": [{"type": 1, "value": "<tool_call>"}]}, "tools"),
        ({"format": "json"}, "response_format"),
        ({"format": SCHEMA}, "response_format"),
        ({"text": {"format": {"type": "json_schema", "schema": SCHEMA}}}, "response_format"),
        ({"output_config": {"format": {"type": "json_schema"}}}, "response_format"),
        ({"output_format": {"type": "json_schema"}}, "response_format"),
        ({"response_schema": SCHEMA}, "response_format"),
        ({"responseSchema": SCHEMA}, "response_format"),
        ({"response_mime_type": "application/json"}, "response_format"),
        ({"schema": SCHEMA}, "response_format"),
        ({"extra_body": {"guided_json": SCHEMA}}, "body itself"),
        ({"responseFormat": {"type": "json_object"}}, "'response_format'"),
        ({"response-format": {"type": "json_object"}}, "'response_format'"),
        ({"jsonSchema": SCHEMA}, "'json_schema'"),
        ({"Grammar": "root ::= [a]"}, "'grammar'"),
        ({"toolChoice": "required"}, "'tool_choice'"),
        ({"functionCall": {"name": "f"}}, "'function_call'"),
    ],
    ids=json.dumps,
)
def test_a_form_is_refused_with_what_asks_for_it_here(fields: dict[str, Any], advice: str) -> None:
    with pytest.raises(APIError) as caught:
        refuse_unsupported_fields(fields)

    assert caught.value.status == 400
    assert [caught.value.param] == list(fields)
    assert caught.value.code == "unsupported_parameter"
    assert advice in caught.value.message


@pytest.mark.parametrize(
    "fields",
    [
        {"guided_json": None, "guided_regex": "", "guided_choice": [], "use_beam_search": False},
        {"structured_outputs": {}},
        {"structured_outputs": {"json": None, "regex": None}},
        {"grammar_lazy": False, "grammar_triggers": []},
        {"text": {"verbosity": "low"}},
        {"text": {"format": {"type": "text"}}},
        {"text": "low"},
        {"output_config": {"effort": "low"}},
        {"extra_body": {}},
        {"length_penalty": 1.0, "guided_decoding_backend": "x", "preserved_tokens": ["a"]},
    ],
    ids=json.dumps,
)
def test_what_asks_for_nothing_is_not(fields: dict[str, Any]) -> None:
    refuse_unsupported_fields(fields)
