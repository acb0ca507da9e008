"""From what went wrong to OpenAI's envelope: the field's spelling, the code, the words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from shared.protocol.anthropic.requests import MessagesRequest
from shared.protocol.errors import (
    APIError,
    context_length_exceeded,
    model_loading,
    model_not_found,
    overloaded,
    server_error,
)
from shared.protocol.fields import SharedFields
from shared.protocol.llama_cpp.requests import LlamaCppRequest
from shared.protocol.openai.chat_completions import ChatCompletionRequest
from shared.protocol.openai.completions import CompletionRequest
from shared.protocol.openai.media_parts import MEDIA_PARTS
from shared.protocol.openai.responses.requests import ResponsesRequest
from shared.protocol.validation_errors import from_validation_error

HELLO = [{"role": "user", "content": "Hello"}]


def error_of(schema: type[BaseModel], body: object) -> APIError:
    """What ``body`` is refused with."""
    with pytest.raises(ValidationError) as caught:
        schema.model_validate(body)
    return from_validation_error(caught.value, body)


def chat_error(**fields: Any) -> APIError:
    """What a chat request is refused with."""
    return error_of(ChatCompletionRequest, {"messages": HELLO, **fields})


def text_error(prompt: object) -> APIError:
    """What a text request is refused with."""
    return error_of(CompletionRequest, {"prompt": prompt})


class TestSpelling:
    """`param` reads as one would write it in a program."""

    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"temperature": 9}, "temperature"),
            ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
            ({"messages": [*HELLO, {"role": "user"}]}, "messages[1].content"),
            (
                {"messages": [{"role": "user", "content": [{"type": "text", "text": 1}]}]},
                "messages[0].content[0].text",
            ),
            ({"stop": ["a", "b", 3]}, "stop[2]"),
            ({"logit_bias": {"50256": 101}}, "logit_bias.50256"),
            ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ],
    )
    def test_of_nested_fields(self, fields: dict[str, Any], param: str) -> None:
        error = chat_error(**fields)
        assert error.param == param
        assert param in error.message
        assert error.status == 400
        assert error.type == "invalid_request_error"

    @pytest.mark.parametrize(
        ("schema", "body", "param", "message"),
        [
            (ChatCompletionRequest, {"messages": [{}]}, "messages[0].role", "Missing"),
            (
                ChatCompletionRequest,
                {"messages": [{"role": "User"}]},
                "messages[0].role",
                "should be 'system', 'developer', 'user', 'assistant', 'tool' or 'function'.",
            ),
            (
                MessagesRequest,
                {"max_tokens": 1, "messages": [{"role": "user", "content": [{"text": "a"}]}]},
                "messages[0].content[0].type",
                "Missing",
            ),
            (
                MessagesRequest,
                {"max_tokens": 1, "messages": [{"role": "user", "content": [{"type": 1}]}]},
                "messages[0].content[0].type",
                "should be 'text', 'image', 'document', 'thinking', 'redacted_thinking', 'tool_use'"
                " or 'tool_result'.",
            ),
            (ResponsesRequest, {"input": [{"type": 1}]}, "input[0].type", "a valid string."),
        ],
    )
    def test_of_the_field_that_tells_parts_apart(
        self, schema: type[BaseModel], body: object, param: str, message: str
    ) -> None:
        error = error_of(schema, body)
        assert error.param == param
        assert message in error.message

    @pytest.mark.parametrize("key", ["str", "list[TextPart]", "function-after[_check(), TextPart]"])
    def test_does_not_mistake_the_callers_keys_for_union_members(self, key: str) -> None:
        error = chat_error(messages=[{"role": "user", "content": {key: 1}}])
        assert error.param == "messages[0].content"

    @pytest.mark.parametrize("role", ["system", "user", "developer"])
    def test_does_not_mistake_the_callers_keys_for_the_role(self, role: str) -> None:
        error = chat_error(messages=[{"role": role, role: "x", "content": 5}])
        assert error.param == "messages[0].content"


class TestUnions:
    """The member that was meant is the one that complains."""

    def test_all_acceptable_types_are_told(self) -> None:
        error = chat_error(messages=[{"role": "user", "content": 5}])
        assert error.message.endswith("Input should be a valid string or a valid array.")
        assert error.code == "invalid_type"

    def test_the_deepest_complaint_wins(self) -> None:
        error = text_error([[1, 2], [3, "a"]])
        assert error.param == "prompt[1][1]"
        assert "integer" in error.message
        assert "string" not in error.message

    def test_a_value_of_a_right_type_is_not_called_a_wrong_type(self) -> None:
        error = chat_error(stop=["x"] * 17)
        assert (error.param, error.code) == ("stop", "invalid_value")
        assert "16" in error.message

    def test_the_odd_one_in_an_array_is_named(self) -> None:
        assert text_error(["a", 5]).param == "prompt[1]"
        assert text_error([5, "a"]).param == "prompt[1]"


class TestDiscriminator:
    """A message's role says which fields it needs."""

    @pytest.mark.parametrize("message", [{}, {"content": "x"}])
    def test_a_missing_role(self, message: dict[str, Any]) -> None:
        error = chat_error(messages=[message])
        assert error.param == "messages[0].role"
        assert error.code == "missing_required_parameter"

    @pytest.mark.parametrize("role", ["wizard", "", 5, None, [], {}])
    def test_an_unknown_role(self, role: object) -> None:
        error = chat_error(messages=[{"role": role, "content": "x"}])
        assert error.param == "messages[0].role"
        assert error.code in ("invalid_value", "invalid_type")

    def test_an_unknown_roles_message_lists_the_known_ones(self) -> None:
        message = chat_error(messages=[{"role": "wizard", "content": "x"}]).message
        assert "'developer'" in message
        assert "'assistant'" in message

    @pytest.mark.parametrize("message", ["x", 5, None, []])
    def test_a_message_that_is_no_object(self, message: object) -> None:
        error = chat_error(messages=[message])
        assert (error.param, error.code) == ("messages[0]", "invalid_type")


class TestContentParts:
    """Parts that the model can't read are refused by name."""

    @pytest.mark.parametrize("kind", ["image_url", "input_audio", "file"])
    def test_media(self, kind: str) -> None:
        error = chat_error(
            messages=[
                {
                    "role": "user",
                    "content": [{"type": "text", "text": "x"}, {"type": kind, kind: {}}],
                }
            ]
        )
        assert error.param == "messages[0].content[1]"
        assert error.code == "unsupported_content"
        assert MEDIA_PARTS[kind] in error.message


class TestBodies:
    """Errors that are about no field."""

    @pytest.mark.parametrize("body", [[], None, 5, "x"])
    def test_no_object(self, body: object) -> None:
        error = error_of(ChatCompletionRequest, body)
        assert (error.status, error.param) == (400, None)
        assert "object" in error.message

    def test_a_missing_field(self) -> None:
        error = error_of(CompletionRequest, {})
        assert (error.param, error.code) == ("prompt", "missing_required_parameter")
        assert error.message == "Missing required field: 'prompt'."


class TestEnvelope:
    """Every error has the same four fields."""

    @pytest.mark.parametrize(
        ("error", "status", "kind", "code"),
        [
            (
                context_length_exceeded(5000, 4096, "prompt"),
                400,
                "invalid_request_error",
                "context_length_exceeded",
            ),
            (model_not_found("x", ["a", "b"]), 404, "invalid_request_error", "model_not_found"),
            (overloaded("full"), 429, "overloaded", "queue_full"),
            (model_loading("wait"), 503, "model_loading", "model_loading"),
            (server_error(), 500, "server_error", "internal_error"),
        ],
    )
    def test_is_complete(self, error: APIError, status: int, kind: str, code: str) -> None:
        envelope = json.loads(error.body())["error"]
        assert set(envelope) == {"message", "type", "param", "code"}
        assert (error.status, envelope["type"], envelope["code"]) == (status, kind, code)

    def test_the_context_error_has_both_numbers(self) -> None:
        message = context_length_exceeded(5000, 4096, "prompt").message
        assert "5000" in message
        assert "4096" in message

    def test_an_unknown_models_error_lists_the_known_ones(self) -> None:
        assert "a, b" in model_not_found("x", ["a", "b"]).message

    @pytest.mark.parametrize("error", [overloaded("full", 7), model_loading("wait", 7)])
    def test_who_may_come_again_is_told_when(self, error: APIError) -> None:
        assert error.headers == {"retry-after": "7"}


def n_complaints(schema: type[BaseModel], body: object) -> int:
    try:
        schema.model_validate(body)
    except ValidationError as error:
        return error.error_count()
    return 0


@pytest.mark.sweep(1)
@pytest.mark.parametrize("schema", [ChatCompletionRequest, CompletionRequest, LlamaCppRequest])
def test_a_large_wrong_value_gives_few_complaints(schema: type[SharedFields]) -> None:
    """Each takes pydantic half a kilobyte, and us a look at the body."""
    wrong = ["x", 1, None, [], {}, ["x"], [1], {"a": 1}, {"role": "user"}, {"type": "text"}]
    required: dict[str, Any] = {"messages": HELLO, "prompt": "Once"}
    for field in schema.attributes():
        for item in wrong:
            for value in ([item] * 1000, {str(i): item for i in range(1000)}):
                assert n_complaints(schema, {**required, field: value}) < 40, (field, item)


@pytest.mark.sweep(1)
@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"json_schema": {}}, "json_schema"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}},
            "response_format.json_schema.schema",
        ),
        ({"response_format": {"type": "json_object"}}, "response_format.schema"),
        ({"tools": [{"type": "function", "function": {"name": "a"}}]}, "tools[0].function"),
        ({"functions": [{"name": "a"}]}, "functions[0]"),
    ],
)
def test_a_schema_has_a_size_limit_whatever_it_is_large_by(
    fields: dict[str, Any], param: str
) -> None:
    if param.startswith(("tools", "functions")):
        param += ".parameters"
    for large in (
        {"anyOf": [{"properties": {"a": {"const": i}}} for i in range(10_000)]},
        {"enum": [str(i) for i in range(50_000)]},
        {"description": "x" * 2**18},
        {"x" * 2**18: 1},
    ):
        body: Any = json.loads(json.dumps(fields))
        at = body
        *outer, last = param.replace("[0]", ".0").split(".")
        for part in outer:
            at = at[int(part) if part.isdigit() else part]
        at[last] = large
        error = chat_error(**body)
        assert (error.status, error.param, error.code) == (400, param, "unsupported_schema")
        assert f"limit of {2**18}" in error.message


@pytest.mark.parametrize("field", ["grammar", "regex"])
def test_a_grammar_has_a_size_limit(field: str) -> None:
    error = chat_error(**{field: "a" * (2**18 + 1)})
    assert (error.status, error.param, error.code) == (400, field, "unsupported_grammar")
    assert f"limit of {2**18}" in error.message


def test_no_words_of_a_caller_make_a_message_long() -> None:
    long = "x" * 10**6
    assert len(APIError(400, f"It is wrong: {long}").body()) < 2200
    for fields in (
        {"messages": [{"role": long, "content": "x"}]},
        {"logit_bias": {long: 1000}},
        {"metadata": {long: "x"}},
        {"service_tier": long},
        {"tool_choice": long},
        {"response_format": {"type": "json_object", long: {"a": 1}}},
    ):
        error = chat_error(**fields)
        assert len(error.body()) < 2000, error.message[:100]
