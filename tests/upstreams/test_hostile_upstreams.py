"""Upstreams that lie, flood, drip and break off: what callers get, and what is sent again."""

from __future__ import annotations

import gzip
import json
from typing import Any

import httpx2
import pytest

from tests.app_server import AppServer
from tests.server import CAPITAL
from tests.upstreams.conftest import KEY
from tests.upstreams.fake_upstream import (
    STREAM_HEAD,
    Answer,
    FakeUpstream,
    chunk,
    completion,
    delta,
    endless,
    head,
    in_turn,
    raw,
    stream,
    whole,
)

CHAT = "/v1/chat/completions"
BODY: Any = {"model": "big", "messages": CAPITAL}


def code_of(answer: httpx2.Response) -> str:
    code: str = answer.json()["error"]["code"]
    return code


@pytest.mark.parametrize(
    "answer",
    [
        endless(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n" * 100),
        endless(b"HTTP/1.1 200 OK\r\nx: ", b"y" * 1000),
        endless(b"", head(100)),
        endless(b"HTTP/1.1 200 OK", b" OK" * 1000),
    ],
)
def test_endless_heads_end(front: AppServer, upstream: FakeUpstream, answer: Answer) -> None:
    upstream.answer = answer
    answered = front.post(CHAT, BODY)
    assert (answered.status_code, code_of(answered)) == (502, "upstream_connection_failed")
    assert upstream.received[0].is_closed.wait(60)


@pytest.mark.parametrize("status", [400, 500])
def test_endless_errors_end(front: AppServer, upstream: FakeUpstream, status: int) -> None:
    upstream.answer = endless(head(status), b"x" * 1000)
    answered = front.post(CHAT, BODY)
    assert answered.status_code == status
    assert answered.json()["error"]["upstream"] == {"status": status}
    assert upstream.received[0].is_closed.wait(60)


def test_an_endless_line_ends(front: AppServer, upstream: FakeUpstream) -> None:
    upstream.answer = endless(STREAM_HEAD + chunk(b"data: "), chunk(b"x" * 100))
    try:
        answered = front.post(CHAT, {**BODY, "model": "small-answers", "stream": True})
    except AssertionError:  # the connection breaks off within the line
        pass
    else:  # or the first part was too large already
        assert "upstream_answer_too_large" in answered.text
    assert upstream.received[0].is_closed.wait(60)


def test_a_drip_ends_with_the_time(front: AppServer, upstream: FakeUpstream) -> None:
    upstream.answer = endless(STREAM_HEAD + chunk(delta("Pa")), chunk(b": waiting\n\n"))
    answered = front.post(CHAT, {**BODY, "model": "hasty", "stream": True})
    last = answered.text.removesuffix("\n\n").rpartition("data: ")[2]
    assert json.loads(last)["error"]["code"] == "upstream_timeout"


def test_an_answer_that_will_be_too_large_is_not_begun(
    front: AppServer, upstream: FakeUpstream
) -> None:
    upstream.answer = endless(head(content_length=str(10 * 2**30)), b"x" * 1000)
    answered = front.post(CHAT, BODY)
    assert (answered.status_code, code_of(answered)) == (502, "upstream_answer_too_large")
    assert upstream.received[0].is_closed.wait(60)


def test_fewer_bytes_than_promised_are_no_answer(front: AppServer, upstream: FakeUpstream) -> None:
    upstream.answer = raw(head(content_length="100") + b"{}", closes=True)
    with pytest.raises(AssertionError, match="returned before"):
        front.post(CHAT, BODY)


@pytest.mark.parametrize("rest", [b"more", head(content_length="3") + b"his"])
def test_more_bytes_than_promised_are_nobodys(
    front: AppServer, upstream: FakeUpstream, rest: bytes
) -> None:
    upstream.answer = raw(head(content_length="2") + b"{}" + rest)
    for _ in range(3):
        assert front.post(CHAT, BODY).text == "{}"
    assert all(each.is_closed.wait(60) for each in upstream.received)


def test_answers_without_a_length_end_with_the_connection(
    front: AppServer, upstream: FakeUpstream
) -> None:
    upstream.answer = raw(b"HTTP/1.0 200 OK\r\n\r\n" + b"ab", b"c", closes=True)
    assert front.post(CHAT, BODY).text == "abc"


def test_interim_answers_and_trailers_are_dropped(front: AppServer, upstream: FakeUpstream) -> None:
    parts = [head(103, link="</x>"), STREAM_HEAD, chunk(delta("Pa")), b"0\r\nx-sum: 1\r\n\r\n"]
    upstream.answer = raw(*parts)
    for _ in range(2):
        answered = front.post(CHAT, BODY)
        assert answered.content == delta("Pa")
        assert not {"link", "x-sum"} & set(answered.headers)
    assert not upstream.received[0].is_closed.is_set()  # both on one connection


def test_an_answer_without_a_body_passes(front: AppServer, upstream: FakeUpstream) -> None:
    upstream.answer = raw(head(204))
    answered = front.post(CHAT, BODY)
    assert (answered.status_code, answered.content) == (204, b"")


def test_a_request_that_meets_a_closing_connection_is_sent_again(
    front: AppServer, upstream: FakeUpstream
) -> None:
    upstream.answer = in_turn(whole(completion()), raw(closes=True), whole(completion("Rome")))
    assert front.post(CHAT, BODY).json() == completion()
    assert front.post(CHAT, BODY).json() == completion("Rome")
    first, again = upstream.received[1:]
    assert (first.headers, first.body) == (again.headers, again.body)


@pytest.mark.parametrize("first", [b"H", head(content_length="5") + b"ab"])
def test_a_request_that_was_answered_at_all_is_not_sent_again(
    front: AppServer, upstream: FakeUpstream, first: bytes
) -> None:
    upstream.answer = in_turn(whole({}), raw(first, closes=True), whole({}))
    assert front.post(CHAT, BODY).status_code == 200
    if first == b"H":
        assert front.post(CHAT, BODY).status_code == 502
    else:
        with pytest.raises(AssertionError, match="returned before"):
            front.post(CHAT, BODY)
    assert len(upstream.received) == 2


def test_a_request_on_a_new_connection_is_not_sent_again(
    front: AppServer, upstream: FakeUpstream
) -> None:
    upstream.answer = in_turn(raw(closes=True), raw(closes=True), whole({}))
    answered = front.post(CHAT, BODY)
    assert answered.status_code == 502
    assert len(upstream.received) <= 2  # a connection of an earlier test may have been there


def test_headers_that_would_break_lines_go_neither_way(
    front: AppServer, upstream: FakeUpstream
) -> None:
    upstream.answer = whole({}, x_latin="caf\xe9")
    sent = [(b"x-latin", b"caf\xe9"), (b"x-evil", b"a\r\nx-injected: 1"), (b"x-nul", b"a\0")]
    request = httpx2.Request("POST", "http://127.0.0.1:8000" + CHAT, json=BODY)
    request.headers = httpx2.Headers([*request.headers.raw, *sent])
    answered = front.http.send(request)
    headers = upstream.received[0].headers
    assert headers["x-latin"] == "caf\xe9"
    assert not {"x-evil", "x-injected", "x-nul"} & headers.keys()
    assert (b"x-latin", "caf\xe9".encode()) in answered.headers.raw  # as it was sent


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "127.0.0.1:1", "x-forwarded-host": "evil.example"},
        {"x-original-url": "/v1/files", "x-http-method-override": "DELETE"},
        {"helicone-target-url": "https://evil.example", "x-portkey-custom-host": "evil.example"},
        {"x-goog-user-project": "theirs", "api-key": "theirs"},
    ],
)
def test_no_header_chooses_where_a_request_goes(
    front: AppServer, upstream: FakeUpstream, headers: dict[str, str]
) -> None:
    fields = {"base_url": "http://127.0.0.1:1", "api_base": "http://127.0.0.1:1", "upstream": "x"}
    answered = front.post(f"{CHAT}?path=/v1/files", {**BODY, **fields}, headers=headers)
    if answered.status_code == 403:  # the host's name is the server's own to check
        assert "host" in headers
        return
    (received,) = upstream.received
    assert received.line == "POST /v1/chat/completions HTTP/1.1"
    assert received.headers["host"] == f"127.0.0.1:{upstream.port}"
    assert not headers.keys() & (received.headers.keys() - {"host"})


def test_the_key_is_shown_nowhere(front: AppServer, upstream: FakeUpstream) -> None:
    escaped = "".join(f"\\u{ord(c):04x}" for c in KEY)
    answers = [
        whole({}, x_debug=f"sent Bearer {KEY}"),
        whole({"error": {"message": f"not {KEY}", "code": KEY, KEY: [KEY]}}, 400, retry_after=KEY),
        whole(f'{{"error": "{escaped}"}}'.encode(), 500),
        whole(f"<p>{KEY}".encode(), 403),
        raw(f"HTTP/1.1 {KEY}\r\n\r\n".encode(), closes=True),
    ]
    for answer in answers:
        upstream.answer = answer
        answered = front.post(CHAT, BODY)
        assert KEY not in answered.text
        assert KEY not in str(answered.headers)
    assert KEY not in front.http.get("/metrics").text
    assert KEY not in front.http.get("/v1/models").text
    assert KEY not in front.log_text()


@pytest.mark.parametrize(
    "body", [b'{"error": ' + b"[" * 500 + b"]" * 500 + b"}", b"\xff\xfe", b"null", b"[]", b'"x"']
)
def test_odd_errors_keep_their_status(
    front: AppServer, upstream: FakeUpstream, body: bytes
) -> None:
    upstream.answer = whole(body, 422)
    answered = front.post(CHAT, BODY)
    assert answered.status_code == 422
    assert answered.json()["error"]["upstream"]["status"] == 422


def test_a_long_error_is_shortened(front: AppServer, upstream: FakeUpstream) -> None:
    upstream.answer = whole({"error": {"message": "x" * 10**4}}, 400)
    assert len(front.post(CHAT, BODY).json()["error"]["message"]) < 2100


def test_a_compressed_error_is_not_shown(front: AppServer, upstream: FakeUpstream) -> None:
    upstream.answer = whole(b"\x1f\x8b\x08 and so on", 500, content_encoding="gzip")
    assert front.post(CHAT, BODY).json()["error"]["upstream"] == {"status": 500}


def test_a_compressed_request_is_sent_on_as_it_is_inside(
    front: AppServer, upstream: FakeUpstream
) -> None:
    body = json.dumps(BODY).encode()
    headers = {"content-encoding": "gzip", "content-type": "text/plain"}
    assert front.http.post(CHAT, content=gzip.compress(body), headers=headers).is_success
    (received,) = upstream.received
    assert received.body == body
    assert "content-encoding" not in received.headers
    assert received.headers["content-type"] == "application/json"


def test_a_request_that_is_too_large_goes_nowhere(front: AppServer, upstream: FakeUpstream) -> None:
    large = {**BODY, "user": "x" * (5 * 2**20)}
    assert front.post(CHAT, large).status_code == 413
    assert not upstream.received


def test_a_stream_passes_however_it_is_cut(front: AppServer, upstream: FakeUpstream) -> None:
    events = delta("P\u00e4") + b": comment\r\n\r\n" + delta("ris") + b"data: [DONE]\n\n"
    upstream.answer = stream(*(events[i : i + 1] for i in range(len(events))))
    assert front.post(CHAT, {**BODY, "stream": True}).content == events
