"""With API keys configured, everything but the public pages needs one."""

from __future__ import annotations

import pytest
from openai import AuthenticationError

from tests.conftest import API_KEY
from tests.server import CAPITAL, Server

PATHS = [
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/completions"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/lamp"),
    ("GET", "/metrics"),
    ("GET", "/unknown"),
]


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer wrong",
        f"Bearer {API_KEY}x",
        f"Bearer {API_KEY[:-1]}",
        f"Bearer {API_KEY},another-key",
        f"Basic {API_KEY}",
        API_KEY,
    ],
)
def test_without_a_right_key_the_answer_is_401(keyed_server: Server, header: str | None) -> None:
    headers = {} if header is None else {"authorization": header}
    response = keyed_server.post("/v1/chat/completions", {"messages": CAPITAL}, headers=headers)
    error = response.json()["error"]
    assert response.status_code == 401
    assert (error["type"], error["code"]) == ("authentication_error", "invalid_api_key")
    assert error["param"] is None
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.headers["x-request-id"]
    assert API_KEY not in response.text


@pytest.mark.parametrize(
    ("authorization", "key", "status"),
    [
        (None, API_KEY, 200),
        ("AWS4-HMAC-SHA256 Credential=x/20261122/eu-west-1/lambda/aws4_request", API_KEY, 200),
        (f"Bearer {API_KEY}", "wrong", 200),
        ("Bearer wrong", API_KEY, 401),
        (None, "wrong", 401),
        (None, "", 401),
    ],
)
def test_a_key_has_a_header_of_its_own_where_authorization_is_taken(
    keyed_server: Server, authorization: str | None, key: str, status: int
) -> None:
    headers = {"x-api-key": key} | ({"authorization": authorization} if authorization else {})

    response = keyed_server.http.get("/v1/models", headers=headers)

    assert response.status_code == status


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_every_path_needs_the_key(keyed_server: Server, method: str, path: str) -> None:
    without = keyed_server.http.request(method, path)
    with_key = keyed_server.http.request(
        method, path, headers={"authorization": f"Bearer {API_KEY}"}
    )
    assert without.status_code == 401
    assert with_key.status_code != 401


@pytest.mark.sweep(1)
@pytest.mark.parametrize("path", ["/health", "/docs", "/openapi.json"])
def test_public_pages_need_none(keyed_server: Server, path: str) -> None:
    assert keyed_server.http.get(path).status_code == 200


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
@pytest.mark.parametrize("key", [API_KEY, "another-key"])
def test_each_key_is_accepted(keyed_server: Server, scheme: str, key: str) -> None:
    response = keyed_server.http.get("/v1/models", headers={"authorization": f"{scheme} {key}"})
    assert response.status_code == 200


def test_the_client_raises_an_authentication_error(keyed_server: Server) -> None:
    with (
        keyed_server.openai(api_key="wrong") as client,
        pytest.raises(AuthenticationError) as caught,
    ):
        client.models.list()
    assert caught.value.code == "invalid_api_key"


def test_the_client_works_with_the_key_and_any_alias(keyed_server: Server) -> None:
    with keyed_server.openai(api_key=API_KEY) as client:
        models = [model.id for model in client.models.list()]
        answers = [
            client.chat.completions.create(
                model=alias,
                messages=[{"role": "user", "content": "What is the capital of France?"}],
                temperature=0,
            )
            for alias in ("lamp", "torch")
        ]
        retrieved = client.models.retrieve("torch")
    assert models == ["lamp"]
    assert retrieved.id == "torch"
    assert all("Paris" in (a.choices[0].message.content or "") for a in answers)
    assert {answer.model for answer in answers} == {"lamp"}


@pytest.mark.slow
def test_without_keys_other_sites_pages_and_names_are_refused(server: Server) -> None:
    body = {"messages": CAPITAL, "max_tokens": 1}
    port = server.url.rpartition(":")[2]
    refused: list[dict[str, str]] = [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"host": f"evil.example:{port}"},
        {"sec-fetch-site": "cross-site"},
    ]
    for headers in refused:
        response = server.post("/v1/chat/completions", body, headers=headers)
        assert response.status_code == 403
        assert response.json()["error"]["type"] == "permission_error"
    accepted: list[dict[str, str]] = [
        {},
        {"host": "localhost:1"},
        {"origin": server.url, "sec-fetch-site": "same-origin"},
    ]
    for headers in accepted:
        assert server.post("/v1/chat/completions", body, headers=headers).status_code == 200


def test_with_keys_any_page_may_ask(keyed_server: Server) -> None:
    headers = {"origin": "https://lamp.example", "host": "lamp.example"}
    headers["authorization"] = f"Bearer {API_KEY}"
    assert keyed_server.http.get("/v1/models", headers=headers).status_code == 200
