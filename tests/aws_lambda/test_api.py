"""ApiFunction under the real runtime client: what needs no model."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from tests.aws_lambda.conftest import StartFunction
from tests.aws_lambda.events import KEY, http_api_event, rest_api_event
from tests.aws_lambda.function import API, PYTHON, TASK_ROOT, Function, environment
from tests.server import CAPITAL

CHAT = "/v1/chat/completions"


@pytest.mark.parametrize("event_of", [http_api_event, rest_api_event])
def test_it_lists_what_inference_has_stored(
    inference: Function, api_function: Function, event_of: Any
) -> None:
    body = {"messages": CAPITAL, "temperature": 0, "store": True, "metadata": {"task": "lambda"}}
    created = inference.request(http_api_event("POST", CHAT, body))
    item = f"{CHAT}/{created.json()['id']}"

    listed = api_function.request(event_of("GET", CHAT, query="metadata[task]=lambda"))
    fetched = api_function.request(event_of("GET", item))
    messages = api_function.request(event_of("GET", f"{item}/messages"))
    updated = api_function.request(event_of("POST", item, {"metadata": {"a": "b"}}))
    deleted = api_function.request(event_of("DELETE", item))

    assert created.headers["x-stored"] == "true"
    assert [found["id"] for found in listed.json()["data"]] == [created.json()["id"]]
    assert fetched.json()["choices"] == created.json()["choices"]
    assert messages.json()["data"][0]["content"] == CAPITAL[0]["content"]
    assert updated.json()["metadata"] == {"a": "b"}
    assert deleted.json()["deleted"] is True
    assert api_function.request(event_of("GET", item)).status == 404


def test_models_are_told_by_their_names(api_function: Function) -> None:
    (listed,) = api_function.request(http_api_event("GET", "/v1/models")).json()["data"]
    alias = api_function.request(http_api_event("GET", "/v1/models/torch")).json()
    unknown = api_function.request(http_api_event("GET", "/v1/models/candle"))
    assert (listed["id"], listed["object"]) == ("lamp", "model")
    assert listed["meta"] == {"aliases": ["torch"]}
    assert alias["id"] == "torch"
    assert (unknown.status, unknown.error["code"]) == (404, "model_not_found")


@pytest.mark.parametrize("event_of", [http_api_event, rest_api_event])
def test_health_needs_no_model_and_no_key(api_function: Function, event_of: Any) -> None:
    response = api_function.request(event_of("GET", "/health", key=None))
    assert (response.status, response.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize("event_of", [http_api_event, rest_api_event])
def test_preflights_need_no_key(
    start_function: StartFunction, stored_in: dict[str, str], event_of: Any
) -> None:
    """API Gateway passes them on to this function, whatever their path is."""
    origin = "https://app.example.com"
    function = start_function(API, {**stored_in, "PILOTLIGHT_CORS_ORIGINS": origin})
    asked = {"origin": origin, "access-control-request-method": "POST"}
    preflight = function.request(event_of("OPTIONS", CHAT, key=None, headers=asked))
    models = function.request(event_of("GET", "/v1/models", headers={"origin": origin}))
    for response in (preflight, models):
        assert response.status == 200
        assert response.headers["access-control-allow-origin"] == origin


@pytest.mark.parametrize("path", [CHAT, "/v1/completions"])
def test_completing_is_served_elsewhere(api_function: Function, path: str) -> None:
    response = api_function.request(http_api_event("POST", path, {}))
    assert (response.status, response.error["code"]) == (404, "served_elsewhere")
    assert "another function" in response.error["message"]


@pytest.mark.parametrize(
    ("method", "path", "key", "status"),
    [
        ("GET", CHAT, None, 401),
        ("GET", "/v1/models", "wrong", 401),
        ("GET", "/none", KEY, 404),
        ("DELETE", "/v1/models", KEY, 405),
    ],
)
def test_errors_have_the_envelope(
    api_function: Function, method: str, path: str, key: str | None, status: int
) -> None:
    for event_of in (http_api_event, rest_api_event):
        response = api_function.request(event_of(method, path, key=key))
        assert response.status == status
        assert response.error["code"]


@pytest.mark.parametrize("event_of", [http_api_event, rest_api_event])
def test_preflights_of_all_paths_are_answered(start_function: StartFunction, event_of: Any) -> None:
    """API Gateway sends them here, also those for what the function with the model serves."""
    origin = "https://app.example.com"
    function = start_function(API, {"PILOTLIGHT_CORS_ORIGINS": origin})
    headers = {"origin": origin, "access-control-request-method": "POST"}
    for path in (CHAT, "/tokenize", "/v1/models"):
        response = function.request(event_of("OPTIONS", path, key=None, headers=headers))
        assert response.status == 200
        assert response.headers["access-control-allow-origin"] == origin


@pytest.mark.usefixtures("processes")
def test_it_imports_no_engine() -> None:
    names = (
        "llama_cpp",
        "numpy",
        "llguidance",
        "jinja2",
        "uvicorn",
        "shared.runtime.served_model",
    )
    code = f"import functions.aws_lambda.api_handler, sys; print([n for n in {names} if n in sys.modules])"
    done = subprocess.run(
        [PYTHON, "-c", code],
        cwd=TASK_ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
