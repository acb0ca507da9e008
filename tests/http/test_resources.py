"""Resources are FastAPI's routes, and take and refuse what all other endpoints do."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from functions.http.api_app import create_api_app
from functions.http.app import App, create_app
from shared.config.settings import Settings
from shared.runtime.loader import ModelLoader
from shared.storage.sqlite.store import SQLiteStore
from tests.storage.completions import sample

LIST = "/v1/chat/completions"


@pytest.fixture(params=["with a model", "without"])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[App | FastAPI]:
    """Both apps, with an empty store."""
    settings = Settings(
        store=f"sqlite:{tmp_path / 'kept.sqlite3'}", max_body_size=4096, alias=["one", "two"]
    )
    app: App | FastAPI
    if request.param == "without":
        app = create_api_app(settings)
    else:
        app = create_app(settings, ModelLoader(settings))
    yield app
    app.state.server.stores.close()


@pytest.fixture
def item(app: App | FastAPI) -> str:
    """The path of a completion that is stored."""
    store = app.state.server.settings.store.removeprefix("sqlite:")
    kept = sample(tenant="default", metadata={"task": "titles"})
    with closing(SQLiteStore(Path(store))) as opened:
        opened.put(kept)
    return f"{LIST}/{kept.id}"


@pytest.fixture
def http(app: App | FastAPI) -> TestClient:
    return TestClient(app)


def test_what_is_stored_is_not_written_on_the_event_loop(
    http: TestClient, item: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page of completions with log probabilities is megabytes."""
    threads: list[str] = []

    class Json:
        @staticmethod
        def dumps(value: Any) -> bytes:
            threads.append(threading.current_thread().name)
            return orjson.dumps(value)

    monkeypatch.setattr("functions.http.endpoints.stored_completions.orjson", Json)
    for path in (LIST, item, f"{item}/messages"):
        assert http.get(path).status_code == 200
    assert http.post(item, json={"metadata": {}}).status_code == 200
    assert [name.partition("_")[0] for name in threads] == ["store"] * 4


def error_of(response: Any) -> tuple[int, str | None, str | None]:
    error = response.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    return response.status_code, error["param"], error["code"]


@pytest.mark.parametrize("path", [LIST, "/v1/completions", f"{LIST}/chatcmpl-x/messages"])
@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=x", "limit"),
        ("order=up", "order"),
        ("after=" + "a" * 129, "after"),
    ],
)
def test_a_wrong_parameter_is_refused_in_openais_envelope(
    http: TestClient, path: str, query: str, param: str
) -> None:
    assert error_of(http.get(f"{path}?{query}")) == (400, param, "invalid_value")


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("metadata[a]=" + "x" * 513, "metadata.a"),
        ("metadata[" + "k" * 65 + "]=1", "metadata"),
        ("&".join(f"metadata[{i}]=1" for i in range(17)), "metadata"),
        ("metadata=1", "metadata"),
        ("metadata.a=1", "metadata.a"),
        ("metadat[a]=1", "metadat[a]"),
        ("metadata[a]=1&metadata[a]=2", "metadata[a]"),
    ],
)
def test_a_wrong_filter_is_refused(http: TestClient, query: str, param: str) -> None:
    assert error_of(http.get(f"{LIST}?{query}")) == (400, param, "invalid_value")


def test_of_parameters_that_are_sent_twice_the_last_counts(http: TestClient, item: str) -> None:
    query = "limit=0&limit=1&order=up&order=desc"
    found = http.get(f"{LIST}?{query}").json()["data"]
    assert [f"{LIST}/{kept['id']}" for kept in found] == [item]


def test_all_filters_have_to_match(http: TestClient, item: str) -> None:
    def found(query: str) -> list[str]:
        return [f"{LIST}/{kept['id']}" for kept in http.get(f"{LIST}?{query}").json()["data"]]

    assert found("metadata[task]=titles&metadata[task]=titles") == [item]
    assert found("metadata[task]=titles&metadata[other]=x") == []


@pytest.mark.parametrize(
    ("below", "ignored"),
    [("?colour=red&b=1", "b, colour"), ("/{id}/messages?model=x&limit=1", "model")],
)
def test_parameters_without_effect_are_named(
    http: TestClient, item: str, below: str, ignored: str
) -> None:
    response = http.get(LIST + below.format(id=item.rpartition("/")[2]))
    assert response.status_code == 200
    assert response.headers["x-ignored-params"] == ignored


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "application/json"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "text/plain"},
        {},
    ],
)
def test_a_body_is_json_whatever_its_type_says(
    http: TestClient, item: str, headers: dict[str, str]
) -> None:
    response = http.post(item, content=b'{"metadata": {"a": "b"}}', headers=headers)
    assert response.json()["metadata"] == {"a": "b"}
    assert http.get(item).json()["metadata"] == {"a": "b"}


def test_a_body_may_be_compressed(http: TestClient, item: str) -> None:
    body = gzip.compress(json.dumps({"metadata": {"a": "b"}}).encode())
    response = http.post(item, content=body, headers={"content-encoding": "gzip"})
    assert response.json()["metadata"] == {"a": "b"}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", (400, None, "invalid_json")),
        (b"{", (400, None, "invalid_json")),
        (b"null", (400, None, "invalid_type")),
        (b"[]", (400, None, "invalid_type")),
        (b"{}", (400, "metadata", "missing_required_parameter")),
        (b'{"metadata": 1}', (400, "metadata", "invalid_type")),
        (b'{"metadata": {"a": 1}}', (400, "metadata.a", "invalid_type")),
        (b'{"metadata": {"a": NaN}}', (400, "metadata.a", "invalid_value")),
        (b" " * 5000, (413, None, "request_too_large")),
    ],
)
def test_a_wrong_body_is_refused_as_everywhere(
    http: TestClient, item: str, body: bytes, expected: tuple[int, str | None, str]
) -> None:
    assert error_of(http.post(item, content=body)) == expected


def test_what_is_stored_is_shown_as_it_is(http: TestClient, item: str) -> None:
    """No model drops, adds or reorders fields of a body."""
    fetched = http.get(item)
    assert fetched.headers["content-type"] == "application/json"
    assert list(fetched.json())[:4] == ["id", "created", "model", "choices"]
    assert http.get(LIST).json()["data"] == [fetched.json()]


def test_models_without_a_model_to_serve() -> None:
    http = TestClient(create_api_app(Settings(alias=["one", "two"])))
    card = (
        b'{"id":"%b","object":"model","created":0,"owned_by":"pilotlight","meta":%b,'
        b'"type":"model","display_name":"%b","created_at":"1970-01-01T00:00:00Z"}'
    )
    meta = b'{"aliases":["two"]}'
    assert http.get("/v1/models").content == b'{"object":"list","data":[%b],%b}' % (
        card % (b"one", meta, b"one"),
        b'"has_more":false,"first_id":"one","last_id":"one"',
    )
    assert http.get("/models").content == http.get("/v1/models").content
    assert http.get("/v1/models/two").content == card % (b"two", meta, b"two")
    assert http.get("/v1/models/").status_code == 404
    assert http.get("/health").content == http.get("/v1/health").content == b'{"status":"ok"}'


def test_a_server_without_a_model_has_no_document() -> None:
    http = TestClient(create_api_app(Settings()))
    for path in ("/openapi.json", "/docs", "/redoc"):
        assert http.get(path).status_code == 404
