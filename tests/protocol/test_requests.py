"""The request models: what they take, what they refuse, what they make of it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from shared.protocol.fields import SharedFields
from shared.protocol.openai.chat_completions import (
    AssistantMessage,
    ChatCompletionRequest,
    UserMessage,
    plain_text,
)
from shared.protocol.openai.completions import CompletionRequest

HELLO = [{"role": "user", "content": "Hello"}]


def chat(**fields: Any) -> ChatCompletionRequest:
    """A chat request as parsed from JSON."""
    body = {"messages": HELLO, **fields}
    return ChatCompletionRequest.model_validate(body)


def text(**fields: Any) -> CompletionRequest:
    """A text request as parsed from JSON."""
    return CompletionRequest.model_validate({"prompt": "Once", **fields})


ACCEPTED: list[tuple[str, Any]] = [
    ("temperature", 0),
    ("temperature", 2),
    ("temperature", 0.7),
    ("top_p", 0),
    ("top_p", 1),
    ("presence_penalty", -2),
    ("frequency_penalty", 2.0),
    ("seed", -(2**63)),
    ("seed", 2**64 - 1),
    ("n", 128),
    ("stop", "x"),
    ("stop", []),
    ("stop", ["x"] * 16),
    ("logit_bias", {"5": -100, "6": 100.0}),
    ("logit_bias", {}),
    ("max_tokens", 10**12),
    ("metadata", {"k" * 64: "v" * 512}),
    ("metadata", {}),
    ("service_tier", "flex"),
    ("model", "a"),
    ("model", "Qwen/Qwen2.5-0.5B:q8_0"),
    ("model", "a" * 256),
    ("user", ""),
    ("stream_options", {"include_usage": True, "include_obfuscation": False}),
    ("ignore_eos", True),
    ("top_k", 0),
    ("repeat_last_n", -1),
]


@pytest.mark.parametrize(("field", "value"), ACCEPTED)
@pytest.mark.parametrize("parse", [chat, text])
def test_values_at_the_ends_of_their_ranges_are_taken(
    parse: Any, field: str, value: object
) -> None:
    parsed = parse(**{field: value})
    assert field in parsed.model_fields_set


@pytest.mark.parametrize("field", sorted(SharedFields.attributes()))
@pytest.mark.parametrize("parse", [chat, text])
def test_null_is_the_same_as_absent(parse: Any, field: str) -> None:
    assert getattr(parse(**{field: None}), SharedFields.attributes()[field]) is None


@pytest.mark.parametrize("field", ["temperature", "n", "seed", "stream", "stop", "user"])
@pytest.mark.parametrize("value", [{}, {"a": 1}])
def test_types_are_taken_at_their_word(field: str, value: object) -> None:
    with pytest.raises(ValidationError):
        chat(**{field: value})


def test_unknown_fields_are_named_in_order() -> None:
    assert chat(zeta=1, alpha={"deep": [1]}).ignored_params == ["alpha", "zeta"]
    assert chat().ignored_params == []


@pytest.mark.parametrize(
    ("stop", "expected"), [(None, ()), ("a", ("a",)), (["a", "b"], ("a", "b")), ([], ())]
)
def test_stop_strings_come_as_a_tuple(stop: object, expected: tuple[str, ...]) -> None:
    assert chat(stop=stop).stop_strings() == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, None),
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 6}, 6),
        ({"max_tokens": 5, "max_completion_tokens": 6}, 6),
    ],
)
def test_max_completion_tokens_has_an_older_name(
    fields: dict[str, int], expected: int | None
) -> None:
    assert chat(**fields).requested_tokens == expected


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("Once", ["Once"]),
        (["a", "b"], ["a", "b"]),
        ([1, 2, 3], [[1, 2, 3]]),
        ([[1], [2, 3]], [[1], [2, 3]]),
        ([0], [[0]]),
    ],
)
def test_prompts_come_one_for_each_set_of_choices(prompt: object, expected: object) -> None:
    assert text(prompt=prompt).prompts() == expected


def test_parts_of_content_are_joined() -> None:
    parsed = chat(
        messages=[
            {
                "role": "user",
                "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
            },
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
            {"role": "user", "content": "c"},
        ]
    )
    assert [plain_text(message.content) for message in parsed.messages] == ["ab", "no", "c"]
    assert isinstance(parsed.messages[0], UserMessage)
    assert isinstance(parsed.messages[1], AssistantMessage)


@pytest.mark.parametrize(
    "message",
    [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
            ],
        },
        {"role": "assistant", "function_call": {"name": "f", "arguments": ""}},
        {"role": "assistant", "content": None, "refusal": "no"},
        {"role": "tool", "tool_call_id": "1", "content": ""},
        {"role": "function", "name": "f", "content": None},
        {"role": "user", "content": "x", "name": "Ada", "extra": 1},
    ],
)
def test_content_may_be_missing_where_openai_allows_it(message: dict[str, Any]) -> None:
    assert chat(messages=[message]).messages[0].role == message["role"]


@pytest.mark.parametrize(
    "message",
    [
        *(
            {"role": role, "content": content}
            for role in ("system", "developer", "user", "assistant")
            for content in ("", [], [{"type": "text", "text": ""}])
        ),
        {"role": "tool", "content": [], "tool_call_id": ""},
        {"role": "function", "content": "", "name": ""},
        {"role": "assistant"},
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "assistant", "content": None, "refusal": None, "function_call": None},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": ""}], "refusal": ""},
        {"role": "assistant", "content": "", "audio": None, "annotations": None, "parsed": None},
    ],
)
def test_content_may_be_empty(message: dict[str, Any]) -> None:
    assert chat(messages=[message]).messages[0].role == message["role"]


@pytest.mark.parametrize("role", ["system", "developer", "user", "tool"])
@pytest.mark.parametrize("content", [{}, {"content": None}])
def test_content_may_be_missing_where_openai_allows_it_only(
    role: str, content: dict[str, None]
) -> None:
    with pytest.raises(ValidationError, match="content"):
        chat(messages=[{"role": role, "tool_call_id": "1", **content}])


@pytest.mark.parametrize("model", [ChatCompletionRequest, CompletionRequest])
def test_examples_in_the_documentation_are_valid(model: type[SharedFields]) -> None:
    examples = model.model_json_schema()["examples"]
    assert len(examples) >= 2
    for example in examples:
        model.model_validate(example)
