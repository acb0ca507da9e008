"""OpenAI's error envelope on every path, with the right status, `param` and `code`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from openai import BadRequestError, NotFoundError, OpenAI

from shared.protocol.fields import MAX_SEQUENCES
from tests.conftest import API_KEY
from tests.server import CAPITAL, Server, user

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
VALID: dict[str, dict[str, Any]] = {
    CHAT: {"messages": CAPITAL, "max_tokens": 1},
    TEXT: {"prompt": "Once upon a time", "max_tokens": 1},
}
KEY = {"authorization": f"Bearer {API_KEY}"}


def error_of(response: httpx2.Response) -> dict[str, Any]:
    """The inside of the envelope, once its form is checked."""
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert set(body) == {"error"}
    error: dict[str, Any] = body["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert isinstance(error["message"], str)
    assert error["message"]
    assert isinstance(error["type"], str)
    return error


# field, value, param, code
SHARED_CASES: list[tuple[str, Any, str, str]] = [
    ("temperature", -0.1, "temperature", "invalid_value"),
    ("temperature", 2.1, "temperature", "invalid_value"),
    ("temperature", "1", "temperature", "invalid_type"),
    ("temperature", [], "temperature", "invalid_type"),
    ("temperature", True, "temperature", "invalid_type"),
    ("top_p", -0.01, "top_p", "invalid_value"),
    ("top_p", 1.01, "top_p", "invalid_value"),
    ("presence_penalty", 2.5, "presence_penalty", "invalid_value"),
    ("presence_penalty", -2.5, "presence_penalty", "invalid_value"),
    ("frequency_penalty", 3, "frequency_penalty", "invalid_value"),
    ("frequency_penalty", {}, "frequency_penalty", "invalid_type"),
    ("n", 0, "n", "invalid_value"),
    ("n", 129, "n", "invalid_value"),
    ("n", 1.5, "n", "invalid_type"),
    ("max_tokens", 0, "max_tokens", "invalid_value"),
    ("max_tokens", -1, "max_tokens", "invalid_value"),
    ("max_tokens", "10", "max_tokens", "invalid_type"),
    ("seed", 2**64, "seed", "invalid_value"),
    ("seed", -(2**63) - 1, "seed", "invalid_value"),
    ("seed", 1.5, "seed", "invalid_type"),
    ("stop", "", "stop", "invalid_value"),
    ("stop", 5, "stop", "invalid_type"),
    ("stop", ["x"] * 17, "stop", "invalid_value"),
    ("stop", ["x", 5], "stop[1]", "invalid_type"),
    ("stop", ["x", ""], "stop[1]", "invalid_value"),
    ("stream", "yes", "stream", "invalid_type"),
    ("stream_options", {"include_usage": True}, "stream_options", "invalid_value"),
    ("stream_options", "usage", "stream_options", "invalid_type"),
    ("stream_options", {"include_usage": 1}, "stream_options.include_usage", "invalid_type"),
    ("logit_bias", {"5": 101}, "logit_bias.5", "invalid_value"),
    ("logit_bias", {"5": "x"}, "logit_bias.5", "invalid_type"),
    ("logit_bias", {"a": 1}, "logit_bias", "invalid_value"),
    ("logit_bias", {"-1": 1}, "logit_bias", "invalid_value"),
    ("logit_bias", {"999999999": 1}, "logit_bias", "invalid_value"),
    ("logit_bias", [5], "logit_bias", "invalid_type"),
    ("user", "u" * 513, "user", "invalid_value"),
    ("user", 5, "user", "invalid_type"),
    ("metadata", {"k": "v" * 513}, "metadata.k", "invalid_value"),
    ("metadata", {str(i): "v" for i in range(17)}, "metadata", "invalid_value"),
    ("metadata", {"k": 5}, "metadata.k", "invalid_type"),
    ("service_tier", "gold", "service_tier", "invalid_value"),
    ("model", "", "model", "invalid_value"),
    ("model", "a b", "model", "invalid_value"),
    ("model", "-a", "model", "invalid_value"),
    ("model", "a" * 257, "model", "invalid_value"),
    ("model", 5, "model", "invalid_type"),
    ("model", "gpt-4o", "model", "model_not_found"),
    ("top_k", -2, "top_k", "invalid_value"),
    ("min_p", 1.5, "min_p", "invalid_value"),
    ("repeat_penalty", 0, "repeat_penalty", "invalid_value"),
    ("ignore_eos", 1, "ignore_eos", "invalid_type"),
    ("min_tokens", -1, "min_tokens", "invalid_value"),
]
CHAT_CASES: list[tuple[str, Any, str, str]] = [
    ("messages", None, "messages", "invalid_type"),
    ("messages", [], "messages", "invalid_value"),
    ("messages", "Hello", "messages", "invalid_type"),
    ("messages", ["Hello"], "messages[0]", "invalid_type"),
    ("messages", [{"content": "x"}], "messages[0].role", "missing_required_parameter"),
    ("messages", [{"role": "wizard", "content": "x"}], "messages[0].role", "invalid_value"),
    ("messages", [{"role": 5, "content": "x"}], "messages[0].role", "invalid_value"),
    ("messages", [{"role": "user"}], "messages[0].content", "missing_required_parameter"),
    ("messages", [*CAPITAL, {"role": "user", "content": 5}], "messages[1].content", "invalid_type"),
    ("messages", [{"role": "user", "content": None}], "messages[0].content", "invalid_type"),
    (
        "messages",
        [{"role": "user", "content": {"str": 5}}],
        "messages[0].content",
        "invalid_type",
    ),
    (
        "messages",
        [{"role": "user", "user": "Ada", "content": 5}],
        "messages[0].content",
        "invalid_type",
    ),
    (
        "messages",
        [{"role": "user", "content": [{"type": "text", "text": 5}]}],
        "messages[0].content[0].text",
        "invalid_type",
    ),
    (
        "messages",
        [{"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "text"}]}],
        "messages[0].content[1]",
        "invalid_value",
    ),
    (
        "messages",
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x"}}]}],
        "messages[0].content[0]",
        "unsupported_content",
    ),
    (
        "messages",
        [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}],
        "messages[0].content[0]",
        "unsupported_content",
    ),
    (
        "messages",
        [{"role": "tool", "content": "x"}],
        "messages[0].tool_call_id",
        "missing_required_parameter",
    ),
    (
        "messages",
        [{"role": "function", "content": "x"}],
        "messages[0].name",
        "missing_required_parameter",
    ),
    (
        "messages",
        [{"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f"}}]}],
        "messages[0].tool_calls[0].function.arguments",
        "missing_required_parameter",
    ),
    ("messages", user("x" * (512 * 1024 + 1)), "messages", "content_too_large"),
    ("max_completion_tokens", 0, "max_completion_tokens", "invalid_value"),
    ("logprobs", 5, "logprobs", "invalid_type"),
    ("top_logprobs", 5, "top_logprobs", "invalid_value"),
    ("modalities", ["text", "audio"], "modalities", "unsupported_modality"),
    ("modalities", "text", "modalities", "invalid_type"),
    ("audio", {"voice": "alloy", "format": "wav"}, "audio", "unsupported_modality"),
    ("response_format", {"type": "xml"}, "response_format.type", "invalid_value"),
    ("tool_choice", "required", "tool_choice", "invalid_value"),
    ("functions", [{}], "functions[0].name", "missing_required_parameter"),
    ("function_call", {"name": "f"}, "function_call", "invalid_value"),
    ("tools", [{"type": "x"}], "tools[0].type", "invalid_value"),
    (
        "tools",
        [{"type": "function", "function": {}}],
        "tools[0].function.name",
        "missing_required_parameter",
    ),
    (
        "tools",
        [{"type": "function", "function": {"name": "a b"}}],
        "tools[0].function.name",
        "invalid_value",
    ),
]
TEXT_CASES: list[tuple[str, Any, str, str]] = [
    ("prompt", None, "prompt", "invalid_value"),
    ("prompt", "", "prompt", "invalid_value"),
    ("prompt", [], "prompt", "invalid_value"),
    ("prompt", 5, "prompt", "invalid_type"),
    ("prompt", {"str": 5}, "prompt", "invalid_type"),
    ("prompt", [-1], "prompt[0]", "invalid_value"),
    ("prompt", ["a", 5], "prompt[1]", "invalid_type"),
    ("prompt", [1, "a"], "prompt[1]", "invalid_type"),
    ("prompt", [1, 2.5], "prompt[1]", "invalid_type"),
    ("prompt", [[1, 2], [3, "a"]], "prompt[1][1]", "invalid_type"),
    ("prompt", ["a", ""], "prompt[1]", "invalid_value"),
    ("prompt", [1, 10**9], "prompt[1]", "invalid_value"),
    ("prompt", ["x"] * 2049, "prompt", "invalid_value"),
    ("prompt", "x" * (512 * 1024 + 1), "prompt", "content_too_large"),
    ("logprobs", 21, "logprobs", "invalid_value"),
    ("logprobs", -1, "logprobs", "invalid_value"),
    ("logprobs", True, "logprobs", "invalid_type"),
    ("echo", "yes", "echo", "invalid_type"),
    ("suffix", "end", "suffix", "unsupported_parameter"),
    ("best_of", 129, "best_of", "invalid_value"),
    ("best_of", 0, "best_of", "invalid_value"),
]


def cases() -> Iterator[Any]:
    """Every case, for each endpoint that it is about."""
    of_endpoint = {CHAT: SHARED_CASES + CHAT_CASES, TEXT: SHARED_CASES + TEXT_CASES}
    for path, table in of_endpoint.items():
        for field, value, param, code in table:
            name = f"{path.split('/')[2]}-{field}={json.dumps(value)[:40]}"
            yield pytest.param(path, field, value, param, code, id=name)


@pytest.mark.sweep(28)
@pytest.mark.parametrize(("path", "field", "value", "param", "code"), list(cases()))
def test_a_field_that_can_not_be_served_is_named(
    server: Server, path: str, field: str, value: object, param: str, code: str
) -> None:
    response = server.post(path, {**VALID[path], field: value})
    error = error_of(response)
    assert response.status_code == (404 if code == "model_not_found" else 400)
    assert (error["param"], error["code"]) == (param, code)
    assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("n_prompts", "n", "param"), [(MAX_SEQUENCES // 2 + 1, 2, "n"), (129, 128, "n")]
)
def test_more_completions_than_a_request_may_have_are_refused(
    server: Server, n_prompts: int, n: int, param: str
) -> None:
    response = server.text(prompt=["x"] * n_prompts, n=n, max_tokens=1)
    error = error_of(response)
    assert response.status_code == 400
    assert (error["param"], error["code"]) == (param, "invalid_value")
    assert str(MAX_SEQUENCES) in error["message"]


def test_a_token_id_beyond_the_vocabulary_is_refused(server: Server) -> None:
    response = server.text(prompt=[[1], [1, 10**9]])
    error = error_of(response)
    assert response.status_code == 400
    assert str(error["param"]).startswith("prompt[1]")


@pytest.mark.parametrize("path", VALID)
@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_none_are_refused(server: Server, path: str, literal: str) -> None:
    valid = json.dumps(VALID[path])
    response = server.http.post(path, content=f'{valid[:-1]}, "temperature": {literal}}}')
    assert response.status_code == 400
    assert error_of(response)["param"] == "temperature"


@pytest.mark.parametrize(("path", "field"), [(CHAT, "messages"), (TEXT, "prompt")])
def test_a_missing_field_is_named(server: Server, path: str, field: str) -> None:
    body = {name: value for name, value in VALID[path].items() if name != field}
    response = server.post(path, body)
    error = error_of(response)
    assert response.status_code == 400
    assert (error["param"], error["code"]) == (field, "missing_required_parameter")


@pytest.mark.parametrize("path", VALID)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"broken",
        b'{"messages": }',
        b'{"a": 1,}',
        b'{"a": 1} trailing',
        b"\xff\xfe\x00",
        b'{"prompt": "\xe4", "messages": [{"role": "user", "content": "\xe4"}]}',
        b'{"prompt": "\\ud800", "messages": [{"role": "user", "content": "\\ud800"}]}',
        b'{"prompt": "\x01"}',
        '{"prompt": "é"}'.encode("utf-16"),
        b"[" * 100_000,
    ],
    ids=lambda body: repr(body[:20]),
)
def test_a_body_that_is_no_json_is_refused(server: Server, path: str, body: bytes) -> None:
    response = server.http.post(path, content=body)
    error = error_of(response)
    assert response.status_code == 400
    assert (error["param"], error["code"]) == (None, "invalid_json")


@pytest.mark.parametrize("path", VALID)
def test_a_number_beyond_all_floats_is_told_as_one(server: Server, path: str) -> None:
    error = error_of(server.http.post(path, content=b'{"seed": ' + b"9" * 10_000 + b"}"))
    assert (error["param"], error["code"]) == ("seed", "invalid_value")
    assert "less than 1.8e308" in error["message"]


@pytest.mark.parametrize("path", VALID)
@pytest.mark.parametrize("body", ["[]", "null", "5", '"text"', "true", "[{}]"])
def test_a_body_that_is_no_object_is_refused(server: Server, path: str, body: str) -> None:
    response = server.http.post(path, content=body)
    assert response.status_code == 400
    assert error_of(response)["param"] is None


@pytest.mark.parametrize("path", VALID)
def test_a_prompt_beyond_the_context_tells_both_numbers(server: Server, path: str) -> None:
    n_ctx = server.http.get("/v1/models/pilotlight-builtin").json()["meta"]["n_ctx"]
    words = "lamp " * (n_ctx + 10)
    body = {"messages": user(words)} if path == CHAT else {"prompt": words}
    response = server.post(path, body)
    error = error_of(response)
    numbers = [int(word) for word in error["message"].replace(".", " ").split() if word.isdigit()]
    assert response.status_code == 400
    assert error["code"] == "context_length_exceeded"
    assert error["param"] == ("messages" if path == CHAT else "prompt")
    assert n_ctx in numbers
    assert max(numbers) > n_ctx


@pytest.mark.parametrize("path", VALID)
def test_errors_come_as_json_for_stream_requests_too(server: Server, path: str) -> None:
    response = server.post(path, {**VALID[path], "stream": True, "temperature": 5})
    assert response.status_code == 400
    assert error_of(response)["param"] == "temperature"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize(
    "path", ["/v1", "/v1/nothing", "/v1/chat/completions/x/y", "/health/", f"{CHAT}/", "/%ff"]
)
def test_an_unknown_route_is_404(server: Server, method: str, path: str) -> None:
    response = server.http.request(method, path)
    assert response.status_code == 404
    assert error_of(response)["type"] in ("invalid_request_error", "not_found_error")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", CHAT, "POST"),
        ("DELETE", TEXT, "POST"),
        ("OPTIONS", TEXT, "POST"),
        ("POST", "/v1/models", "GET"),
        ("POST", "/health", "GET"),
    ],
)
def test_a_wrong_method_is_405(server: Server, method: str, path: str, allowed: str) -> None:
    response = server.http.request(method, path)
    assert response.status_code == 405
    assert error_of(response)["code"] == "method_not_allowed"
    assert allowed in response.headers["allow"]


def test_the_client_raises_the_right_exceptions(client: OpenAI) -> None:
    with pytest.raises(BadRequestError) as bad:
        client.chat.completions.create(
            model="pilotlight-builtin", messages=[{"role": "user", "content": "x"}], temperature=9
        )
    with pytest.raises(NotFoundError) as missing:
        client.completions.create(model="gpt-4o", prompt="x")
    assert bad.value.param == "temperature"
    assert bad.value.code == "invalid_value"
    assert bad.value.type == "invalid_request_error"
    assert missing.value.code == "model_not_found"
    assert "pilotlight-builtin" in missing.value.message


def test_the_same_server_serves_after_all_that(server: Server) -> None:
    assert "Paris" in server.chat(temperature=0).text
