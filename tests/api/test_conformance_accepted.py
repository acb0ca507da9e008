"""docs/api.md, rows of fields that have no effect: they are taken, and nothing changes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conformance import Endpoint
from tests.docs.api_page import Row, rows
from tests.server import Server

PARTS = [
    {
        "type": "text",
        "text": "Tell me",
        "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "30m"},
    },
    {"type": "text", "text": " a story"},
]
LABELS = {"name": "count", "description": "A number of things", "strict": True}
DIGITS = {"type": "string", "pattern": "^[0-9]{5}$"}


def form(**labels: Any) -> dict[str, Any]:
    """A format whose answers are five digits."""
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": DIGITS, **labels}}


EXAMPLES: dict[str, dict[str, Any]] = {
    "stream_options.include_obfuscation": {"stream_options": {"include_obfuscation": True}},
    "safety_identifier": {"safety_identifier": "ada"},
    **{
        f"messages[*].content[text].prompt_cache_breakpoint.{name}": {
            "messages": [{"role": "user", "content": PARTS}]
        }
        for name in ("mode", "ttl")
    },
    "prediction.content[text].prompt_cache_breakpoint…": {
        "prediction": {"type": "content", "content": PARTS}
    },
    **{
        f"{prefix}.{name}": {"response_format": form(**{name: value})}
        for prefix in ("response_format[json_schema].json_schema", "response_format.json_schema")
        for name, value in LABELS.items()
    },
}
"""What a request with the field looks like."""

ROWS = [row for row in rows() if row.status == "no effect"]


@pytest.mark.sweep(1)
@pytest.mark.parametrize("row", [pytest.param(row, id=row.key) for row in ROWS])
def test_a_field_without_effect_is_taken(server: Server, row: Row) -> None:
    endpoint = Endpoint(server, row.surface)
    fields = EXAMPLES[row.path]
    plain: dict[str, Any] = {"response_format": form()} if "response_format" in fields else {}

    response = endpoint.post(**fields, temperature=0, stream="stream_options" in fields)

    assert response.status_code == 200
    assert "x-ignored-params" not in response.headers
    if "stream_options" in fields:
        assert len(endpoint.chunks(**fields, temperature=0)) == len(endpoint.chunks(temperature=0))
    else:
        assert endpoint.text(**fields, temperature=0) == endpoint.text(**plain, temperature=0)


def test_every_example_is_about_a_row() -> None:
    assert EXAMPLES.keys() == {row.path for row in ROWS}
