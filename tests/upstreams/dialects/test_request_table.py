"""docs/upstreams.md: what each field of a request becomes, or that it is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shared.protocol.openai.chat_completions import ChatCompletionRequest
from tests.upstreams.dialects.request_cases import CASES, Case
from tests.upstreams.dialects.translation import QUESTION, body_of, refusal_of, values_at

PAGE = Path(__file__).parents[3] / "docs" / "upstreams.md"
KINDS = {"anthropic": 1, "bedrock": 2}
_CODE = re.compile(r"`([^`]+)`")
_BLANK_COLUMN = "part of the path"


def table(title: str) -> list[list[str]]:
    """The rows of the table below the heading ``title``."""
    section = PAGE.read_text().split(f"### {title}\n")[1].split("\n### ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in rows if row[0] != "field"]


ROWS = {name: row for row in table("Requests") for name in _CODE.findall(row[0])}


def test_every_field_has_a_row_and_a_case() -> None:
    assert ROWS.keys() == CASES.keys()
    named = {*ROWS, *(re.split(r"[\[.]", name)[0] for name in ROWS)}
    assert set(ChatCompletionRequest.attributes()) <= named


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CASES)
def test_a_field_becomes_what_its_row_says(name: str, kind: str) -> None:
    case = CASES[name]
    said = ROWS[name][KINDS[kind]].partition(";")[0]
    expected = case.anthropic if kind == "anthropic" else case.bedrock
    if said == "refused":
        assert refusal_of(kind, **case.fields).param == expected
        return
    assert not isinstance(expected, str)
    body = body_of(kind, **case.fields)
    assert _CODE.findall(said) == list(expected)
    for path, value in expected.items():
        assert value in list(values_at(body, path)), path
    if not expected:
        assert said in ("no effect", _BLANK_COLUMN)
        assert body == body_of(kind, **_without(name, case))


def _without(name: str, case: Case) -> dict[str, object]:
    """The case's fields without the one that has no effect."""
    fields = dict(case.fields)
    if "messages" not in name:
        left_out = name if name in fields else name.partition(".")[0]
        return {key: value for key, value in fields.items() if key != left_out}
    last = name.rpartition(".")[2]

    def stripped(value: object) -> object:
        if isinstance(value, dict):
            return {key: stripped(inner) for key, inner in value.items() if key != last}
        return [stripped(inner) for inner in value] if isinstance(value, list) else value

    return {**fields, "messages": stripped(list(case.fields["messages"]))}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", 1),
        ("logprobs", False),
        ("logit_bias", {}),
        ("presence_penalty", 0),
        ("modalities", ["text"]),
        ("repeat_penalty", 1.0),
        ("min_p", 0.0),
        ("top_k", 0),
        ("top_k", -1),
        ("stop", []),
        ("tools", []),
        ("tool_choice", "none"),
        ("response_format", {"type": "text"}),
        ("service_tier", "auto"),
        ("add_generation_prompt", True),
        ("continue_final_message", False),
    ],
)
def test_a_value_that_asks_for_nothing_passes(name: str, value: object, kind: str) -> None:
    body = body_of(kind, **{name: value})
    body.pop("service_tier", None)
    assert body == body_of(kind, messages=[QUESTION])
