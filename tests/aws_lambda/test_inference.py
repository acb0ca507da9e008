"""InferenceFunction under the real runtime client, through API Gateway's events."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.api.openai_types import chat_chunks, chat_completion, text_chunks, text_completion
from tests.aws_lambda.conftest import StartFunction
from tests.aws_lambda.events import KEY, function_url_event, http_api_event, rest_api_event
from tests.aws_lambda.function import MARGIN, Function
from tests.infra.template import of_type, read
from tests.server import CAPITAL, user

CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"
COUNT = "<|im_start|>user\nCount from 1 to 100<|im_end|>\n<|im_start|>assistant\n"
PARIS: dict[str, Any] = {"messages": CAPITAL, "temperature": 0}


class TestCompletions:
    """Both endpoints answer as on any server."""

    @pytest.mark.parametrize("event_of", [http_api_event, rest_api_event, function_url_event])
    def test_chat(self, inference: Function, event_of: Any) -> None:
        response = inference.request(event_of("POST", CHAT, PARIS))
        completion = chat_completion(response.text)
        assert response.status == 200
        assert response.headers["content-type"] == "application/json"
        assert response.headers["x-request-id"]
        assert "Paris" in (completion.choices[0].message.content or "")

    def test_text(self, inference: Function) -> None:
        body = {"prompt": COUNT, "max_tokens": 20, "temperature": 0}
        completion = text_completion(inference.request(http_api_event("POST", TEXT, body)).text)
        assert completion.choices[0].text.startswith("1, 2, 3")

    def test_a_chat_stream_is_an_event_stream_in_one_piece(self, inference: Function) -> None:
        whole = chat_completion(inference.request(http_api_event("POST", CHAT, PARIS)).text)
        response = inference.request(http_api_event("POST", CHAT, {**PARIS, "stream": True}))
        chunks = chat_chunks(response.text)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert response.status == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.text.endswith("data: [DONE]\n\n")
        assert text == whole.choices[0].message.content

    def test_a_text_stream_too(self, inference: Function) -> None:
        body = {"prompt": COUNT, "max_tokens": 20, "temperature": 0, "stream": True}
        chunks = text_chunks(inference.request(http_api_event("POST", TEXT, body)).text)
        assert "".join(chunk.choices[0].text for chunk in chunks).startswith("1, 2, 3")

    def test_base64_bodies_are_read(self, inference: Function) -> None:
        body = {"messages": user("What is the capital of France? \N{SPARKLES}"), "max_tokens": 5}
        event = http_api_event("POST", CHAT, body, is_base64=True)
        assert inference.request(event).status == 200

    def test_cookies_and_query_strings_do_no_harm(self, inference: Function) -> None:
        event = http_api_event(
            "POST", CHAT, PARIS, query="api-version=1&x=a%20b&x=c", cookies=["a=1", "b=2"]
        )
        assert inference.request(event).status == 200


class TestErrors:
    """Whatever is wrong, API Gateway gets OpenAI's envelope."""

    @pytest.mark.parametrize(
        ("event", "status", "code"),
        [
            (http_api_event("POST", CHAT, "{"), 400, "invalid_json"),
            (http_api_event("POST", CHAT, {"messages": 1}), 400, "invalid_type"),
            (http_api_event("POST", CHAT), 400, "invalid_json"),
            (http_api_event("POST", CHAT, b"\xff", is_base64=True), 400, "invalid_json"),
            (http_api_event("POST", CHAT, PARIS, key=None), 401, "invalid_api_key"),
            (http_api_event("POST", CHAT, PARIS, key=f"{KEY}x"), 401, "invalid_api_key"),
            (http_api_event("POST", CHAT, {**PARIS, "model": "x"}), 404, "model_not_found"),
            (http_api_event("GET", "/v2/none"), 404, "unknown_url"),
            (http_api_event("PUT", CHAT, PARIS), 405, "method_not_allowed"),
        ],
        ids=lambda value: value if isinstance(value, str) else None,
    )
    def test_errors_have_the_envelope(
        self, inference: Function, event: dict[str, Any], status: int, code: str
    ) -> None:
        response = inference.request(event)
        assert (response.status, response.error["code"]) == (status, code)
        assert response.headers["content-type"] == "application/json"
        assert response.headers["x-request-id"]

    def test_of_hook_paths_nothing_is_known_here(self, inference: Function) -> None:
        response = inference.request(http_api_event("POST", "/lambda/before-snapshot"))
        assert response.status == 404

    def test_a_body_beyond_the_limit_gets_413(self, inference: Function) -> None:
        event = http_api_event("POST", CHAT, "x" * (4 * 2**20 + 1))
        assert inference.request(event).error["code"] == "request_too_large"


def test_warm_invocations_load_nothing(inference: Function) -> None:
    for _ in range(2):
        assert inference.request(http_api_event("POST", CHAT, PARIS)).status == 200
    assert inference.log_text().count("model pilotlight-builtin ready") == 1
    assert inference.process.poll() is None


def test_near_its_deadline_a_request_ends_with_what_it_has(inference: Function) -> None:
    body = {"messages": user("Tell me a story"), "ignore_eos": True, "max_tokens": 2000}
    event = http_api_event("POST", CHAT, body | {"store": True, "n": 4})
    invocation = inference.api.invoke(event, timeout=MARGIN + 0.5)
    choices = chat_completion(invocation.response["body"]).choices
    headers = invocation.response["headers"]
    assert invocation.answered_at < invocation.deadline
    assert {choice.finish_reason for choice in choices} == {"length"}
    assert headers["x-deadline"] == "reached"
    assert headers["x-stored"] == "true"


@pytest.mark.parametrize("handler", ["inference", "api"])
@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        ({"PILOTLIGHT_API_KEY_HASH": ""}, "set PILOTLIGHT_API_KEY_HASH"),
        ({"PILOTLIGHT_API_KEY_HASH": "secret"}, "number 1 is no SHA-256 hash"),
        ({"PILOTLIGHT_PARALLEL": "many"}, "PILOTLIGHT_PARALLEL"),
    ],
    ids=["no key", "no hash", "no number"],
)
def test_wrong_settings_end_the_initialization(
    start_function: StartFunction, handler: str, environ: dict[str, str], problem: str
) -> None:
    function = start_function(f"functions.aws_lambda.{handler}_handler.handler", environ)
    assert function.wait() == 1
    assert problem in function.log_text()
    assert "Traceback" not in function.log_text()
    assert "secret" not in function.log_text()


def test_it_answers_the_schedule_that_keeps_it_warm(inference: Function) -> None:
    """An event that is no request would fail the invocation, and set off an alarm."""
    (rule,) = of_type(read(), "AWS::Events::Rule").values()
    response = inference.request(json.loads(rule["Targets"][0]["Input"]))
    assert response.status == 200


def test_a_page_of_an_allowed_origin_may_read_completions(start_function: StartFunction) -> None:
    origin = "https://app.example.com"
    function = start_function(environ={"PILOTLIGHT_CORS_ORIGINS": origin})
    response = function.request(http_api_event("POST", CHAT, PARIS, headers={"origin": origin}))
    assert response.status == 200
    assert response.headers["access-control-allow-origin"] == origin
