"""docs/api.md, rows of fields that are refused: with the error that the page says."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conformance import WEATHER_TOOL, Endpoint
from tests.api.test_errors import error_of
from tests.docs.api_page import Row, rows
from tests.server import Server, user

DATA = {"data": "UklGRg==", "format": "wav"}
CUSTOM = {"name": "write", "description": "Write a text", "format": {"type": "text"}}
CUSTOM_CALL = {"id": "1", "type": "custom", "custom": {"name": "write", "input": "x"}}


def part(**fields: Any) -> dict[str, Any]:
    """A request with one part of another type than text."""
    return {"messages": [{"role": "user", "content": [fields]}]}


EXAMPLES: dict[str, dict[str, Any]] = {
    "audio…": {"audio": {"format": "wav", "voice": "alloy"}, "modalities": ["text"]},
    "modalities": {"modalities": ["text", "audio"]},
    "web_search_options…": {"web_search_options": {"search_context_size": "low"}},
    "moderation…": {"moderation": {"model": "omni-moderation-latest"}},
    "tools[custom]…": {"tools": [{"type": "custom", "custom": CUSTOM}]},
    "tool_choice[custom]…": {
        "tools": [WEATHER_TOOL],
        "tool_choice": {"type": "custom", "custom": {"name": "write"}},
    },
    "messages[assistant].tool_calls[custom]…": {
        "messages": [{"role": "assistant", "tool_calls": [CUSTOM_CALL]}, *user("Hi")]
    },
    "messages[assistant].audio…": {
        "messages": [{"role": "assistant", "audio": {"id": "audio_1"}}, *user("Hi")]
    },
    "messages[user].content[image_url]…": part(
        type="image_url", image_url={"url": "data:image/png;base64,iVBORw0KGgo="}
    ),
    "messages[user].content[input_audio]…": part(type="input_audio", input_audio=DATA),
    "messages[user].content[file]…": part(type="file", file={"file_id": "file-1"}),
    "suffix": {"suffix": "The end."},
}
"""What a request with the field looks like."""

ROWS = [row for row in rows() if row.refusal is not None]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("row", [pytest.param(row, id=row.key) for row in ROWS])
def test_a_refused_field_gets_the_error_of_its_row(server: Server, row: Row, stream: bool) -> None:
    assert row.refusal is not None

    response = Endpoint(server, row.surface).post(**EXAMPLES[row.path], stream=stream)

    error = error_of(response)
    assert response.status_code == row.refusal.status
    assert (error["code"], error["param"]) == (row.refusal.code, row.refusal.param)
    assert error["type"] == "invalid_request_error"
    if "roadmap.md" in row.line:
        assert "docs/roadmap.md" in error["message"]


def test_every_example_is_about_a_row() -> None:
    assert EXAMPLES.keys() == {row.path for row in ROWS}
    assert all(row.refusal for row in rows() if row.status in ("refused", "in part"))
