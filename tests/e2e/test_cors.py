"""CORS of a real server: what a browser and a page's script exchange with it, over a socket."""

from __future__ import annotations

import json
import socket
from urllib.parse import urlsplit

from tests.conftest import API_KEY, StartServer
from tests.server import CAPITAL

CHAT = "/v1/chat/completions"
ORIGIN = "https://app.example.com"
PREFLIGHT = {
    "origin": ORIGIN,
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type,x-stainless-lang",
}
PAGE = {"origin": ORIGIN, "sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}


def test_a_page_streams_a_completion_after_a_preflight(start_server: StartServer) -> None:
    server = start_server("--api-key", API_KEY, "--cors-origins", ORIGIN)
    preflight = server.http.options(CHAT, headers=PREFLIGHT)
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == ORIGIN
    allowed = {
        name.strip() for name in preflight.headers["access-control-allow-headers"].split(",")
    }
    assert allowed >= set(PREFLIGHT["access-control-request-headers"].split(","))

    body = {"messages": CAPITAL, "temperature": 0, "stream": True}
    headers = {**PAGE, "authorization": f"Bearer {API_KEY}"}
    with server.http.stream("POST", CHAT, json=body, headers=headers) as answer:
        assert answer.headers.get_list("access-control-allow-origin") == [ORIGIN]
        assert answer.headers.get_list("vary") == ["Origin"]
        events = [line.removeprefix("data: ") for line in answer.iter_lines() if line]
    assert events.pop() == "[DONE]"
    deltas = [json.loads(event)["choices"][0]["delta"] for event in events]
    assert "".join(d.get("content") or "" for d in deltas) == "The capital of France is Paris."


def test_a_page_reads_errors_and_refusals(start_server: StartServer) -> None:
    server = start_server("--api-key", API_KEY, "--cors-origins", ORIGIN, "--max-body-size", "4000")
    wrong = server.post(CHAT, {}, headers={**PAGE, "authorization": "Bearer wrong"})
    headers = {**PAGE, "authorization": f"Bearer {API_KEY}"}
    large = server.post(CHAT, {"x": "y" * 5000}, headers=headers)
    for response, status in ((wrong, 401), (large, 413)):
        assert response.status_code == status
        assert response.headers["access-control-allow-origin"] == ORIGIN

    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), timeout=300) as connection:
        connection.sendall(
            b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\nOrigin: %b\r\n" % ORIGIN.encode()
        )
        refusal = connection.makefile("rb").read().decode()
    assert refusal.startswith("HTTP/1.1 400 ")
    assert f"access-control-allow-origin: {ORIGIN}\r\n" in refusal


def test_a_server_for_every_page_without_a_key_says_so(start_server: StartServer) -> None:
    server = start_server("--cors-origins", "*")
    assert (
        server.post(CHAT, {"messages": CAPITAL}, headers=PAGE).headers[
            "access-control-allow-origin"
        ]
        == "*"
    )
    assert "pages of any site can use this server" in server.log_text()
