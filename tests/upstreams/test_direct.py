"""Direct mode: what passes to an upstream and back, streamed and whole, and what goes wrong."""

from __future__ import annotations

import json
import queue
from typing import Any

import httpx2
import pytest

from functions.http.server.connection_limits import ConnectionLimits
from shared.config.settings import Settings
from tests.app_server import AppServer
from tests.server import CAPITAL
from tests.upstreams.conftest import KEY
from tests.upstreams.fake_upstream import (
    STREAM_HEAD,
    FakeUpstream,
    chunk,
    completion,
    delta,
    head,
    raw,
    stalls,
    stream,
    whole,
)

MESSAGES: Any = CAPITAL
CHAT = "/v1/chat/completions"
ODD_BODY = b' {"messages":[ {"role" : "user","content":"\\u00e9 \\"model\\": 1"}],"x": 1e400,\n"model": "%b" } '


def ask(front: AppServer, **fields: Any) -> httpx2.Response:
    return front.chat(**{"model": "big", **fields})


@pytest.mark.parametrize(
    ("path", "there"), [(CHAT, "chat/completions"), ("/v1/completions", "completions")]
)
def test_a_body_passes_byte_for_byte_both_ways(
    front: AppServer, upstream: FakeUpstream, path: str, there: str
) -> None:
    body = ODD_BODY.replace(b"1e400", b"1e40") % b"big"
    said = b'{ "whatever":  [1.0e2] }\n'
    upstream.answer = whole(said, 201, x_extra="yes", set_cookie="a=b", x_request_id="req-up")
    answer = front.http.post(path, content=body)
    (received,) = upstream.received
    assert received.line == f"POST /v1/{there} HTTP/1.1"
    assert received.body == body
    assert (answer.status_code, answer.content) == (201, said)
    assert answer.headers["x-pilotlight-served-by"] == f"127.0.0.1:{upstream.port}"
    assert answer.headers["x-extra"] == "yes"
    assert answer.headers["x-upstream-request-id"] == "req-up"
    assert "set-cookie" not in answer.headers
    assert len(answer.headers.get_list("x-request-id")) == 1


def test_of_a_renamed_model_only_the_name_is_replaced(
    front: AppServer, upstream: FakeUpstream
) -> None:
    front.http.post(CHAT, content=ODD_BODY.replace(b"1e400", b"1e40") % b"renamed")
    assert upstream.received[0].body == ODD_BODY.replace(b"1e400", b"1e40") % b"big-2026"


@pytest.mark.parametrize(
    "body",
    [
        b'{"model": "pilotlight-builtin", "model": "big", "messages": []}',
        b'{"mod\\u0065l": "dear", "model": "big", "messages": []}',
        b'{"model": "big", "Model": "dear", "messages": []}',
        b'{"model": "big", "max_tokens": 1, "max_tokens": 10000}',
    ],
)
def test_a_body_that_can_be_understood_in_two_ways_is_refused(
    front: AppServer, upstream: FakeUpstream, body: bytes
) -> None:
    assert front.http.post(CHAT, content=body).status_code == 400
    assert not upstream.received


def test_keys_cookies_and_hop_by_hop_headers_stay_here(
    front: AppServer, upstream: FakeUpstream
) -> None:
    sent = {
        "authorization": "Bearer callers-own",
        "cookie": "session=1",
        "connection": "x-private",
        "x-private": "1",
        "te": "trailers",
        "openai-organization": "org-theirs",
        "x-forwarded-for": "192.0.2.1",
        "x-api-key": "callers-own",
        "x-title": "an app",
    }
    front.post(CHAT, {"model": "big", "messages": MESSAGES}, headers=sent)
    headers = upstream.received[0].headers
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers["host"] == f"127.0.0.1:{upstream.port}"
    assert headers["x-title"] == "an app"
    assert not (sent.keys() - {"authorization", "x-title", "connection"}) & headers.keys()
    assert "x-private" not in headers.get("connection", "")


def test_a_stream_passes_as_it_comes(front: AppServer, upstream: FakeUpstream) -> None:
    upstream.answer = stalls(STREAM_HEAD, chunk(delta("Pa")))
    with front.client() as http:
        body = {"model": "big", "messages": MESSAGES, "stream": True}
        with http.stream("POST", CHAT, json=body) as answer:
            assert next(answer.iter_bytes()) == delta("Pa")
    # Who goes away ends the exchange with the upstream, too.
    assert upstream.received[0].is_closed.wait(60)


def test_a_client_that_goes_away_before_the_first_byte_ends_the_exchange(
    front: AppServer, upstream: FakeUpstream
) -> None:
    begun: queue.SimpleQueue[bool] = queue.SimpleQueue()

    async def answer(reader: Any, writer: Any) -> None:
        begun.put(True)
        await stalls()(reader, writer)

    upstream.answer = answer
    with front.client(timeout=0.5) as http, pytest.raises(httpx2.ReadTimeout):
        http.post(CHAT, json={"model": "big", "messages": MESSAGES})
    assert begun.get(timeout=60)
    assert upstream.received[0].is_closed.wait(60)


def test_openai_client_reads_both(front: AppServer, upstream: FakeUpstream) -> None:
    client = front.openai()
    upstream.answer = whole(completion())
    found = client.chat.completions.create(model="big", messages=MESSAGES)
    assert (found.choices[0].message.content, found.model) == ("Paris", "big-2026")
    upstream.answer = stream(delta("Pa"), delta("ris"), b"data: [DONE]\n\n")
    with client.chat.completions.create(model="big", messages=MESSAGES, stream=True) as chunks:
        assert "".join(each.choices[0].delta.content or "" for each in chunks) == "Paris"


def test_models_are_listed_with_who_serves_them(front: AppServer, upstream: FakeUpstream) -> None:
    client = front.openai()
    owners = {model.id: model.owned_by for model in client.models.list()}
    assert owners["pilotlight-builtin"] == "pilotlight"
    assert owners["big"] == f"127.0.0.1:{upstream.port}"
    assert client.models.retrieve("big").owned_by == owners["big"]
    assert "big" in front.chat(model="nobody").json()["error"]["message"]
    assert front.chat(max_tokens=1).status_code == 200  # the model here goes on


def error_of(answer: httpx2.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status
    assert answer.headers["x-pilotlight-served-by"]
    error: dict[str, Any] = answer.json()["error"]
    assert error["type"] == "upstream_error"
    return error


def test_an_error_keeps_its_status(front: AppServer, upstream: FakeUpstream) -> None:
    said = {"message": f"Slow down, {KEY}", "type": "tokens", "param": None, "code": "too_fast"}
    upstream.answer = whole({"error": said}, 429, retry_after="7")
    answer = ask(front)
    error = error_of(answer, 429)
    assert answer.headers["retry-after"] == "7"
    assert error["code"] == "too_fast"
    assert error["upstream"] == {"status": 429, "error": {**said, "message": "Slow down, [key]"}}


def test_a_wrong_key_shows_nothing_of_it(front: AppServer, upstream: FakeUpstream) -> None:
    upstream.answer = whole({"error": {"message": f"Incorrect: {KEY[:6]}***{KEY[-4:]}"}}, 401)
    answer = ask(front)
    assert error_of(answer, 401)["code"] == "upstream_authentication_failed"
    assert KEY[-4:] not in answer.text


def test_redirects_are_not_followed(front: AppServer, upstream: FakeUpstream) -> None:
    upstream.answer = whole({}, 307, location=f"http://127.0.0.1:{upstream.port}/elsewhere")
    assert error_of(ask(front), 502)["code"] == "upstream_redirect"
    assert len(upstream.received) == 1


@pytest.mark.parametrize(
    ("model", "parts", "status", "code"),
    [
        ("closed", [], 502, "upstream_connection_failed"),
        ("big", [], 502, "upstream_connection_failed"),
        ("big", [b"SSH-2.0-OpenSSH\r\n"], 502, "upstream_connection_failed"),
        (
            "big",
            [head(content_encoding="gzip", content_length="0")],
            502,
            "upstream_answer_encoded",
        ),
    ],
)
def test_what_is_no_answer_is_a_bad_gateway(
    front: AppServer, upstream: FakeUpstream, model: str, parts: list[bytes], status: int, code: str
) -> None:
    upstream.answer = raw(*parts, closes=True)
    assert error_of(ask(front, model=model), status)["code"] == code


def test_who_does_not_answer_in_time_is_a_gateway_timeout(
    front: AppServer, upstream: FakeUpstream
) -> None:
    upstream.answer = stalls()
    assert error_of(ask(front, model="hasty"), 504)["code"] == "upstream_timeout"


def events(front: AppServer, model: str) -> list[dict[str, Any]]:
    text = ask(front, model=model, stream=True).text
    return [json.loads(each.removeprefix("data: ")) for each in text.split("\n\n") if each]


def test_a_stream_that_stalls_ends_with_an_error(front: AppServer, upstream: FakeUpstream) -> None:
    upstream.answer = stalls(STREAM_HEAD, chunk(delta("Pa")))
    first, last = events(front, "patient")
    assert first["choices"][0]["delta"]["content"] == "Pa"
    assert last["error"]["code"] == "upstream_timeout"


def test_a_stream_that_breaks_off_ends_with_an_error(
    front: AppServer, upstream: FakeUpstream
) -> None:
    upstream.answer = raw(STREAM_HEAD, chunk(delta("Pa")), closes=True)
    assert events(front, "big")[-1]["error"]["code"] == "upstream_connection_failed"


def test_a_stream_without_an_end_is_cut_off(front: AppServer, upstream: FakeUpstream) -> None:
    upstream.answer = stream(*[delta("x" * 100)] * 20)
    found = events(front, "small-answers")
    assert found[-1]["error"]["code"] == "upstream_answer_too_large"
    assert len(found) < 20


def test_keys_are_in_no_log(front: AppServer) -> None:
    """After all that was asked above."""
    assert KEY not in front.log_text()


def test_connections_are_as_many_as_files_allow_with_one_to_the_upstream_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (1024, 1024))
    models = {"big": {"upstream": "https://example.com", "mode": "direct"}}
    alone, in_front = Settings(), Settings(models=models)
    connections = [ConnectionLimits.of(each).connections for each in (alone, in_front)]
    assert connections == [864, 432]
