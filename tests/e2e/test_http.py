"""HTTP/1.1 around the endpoints: connections that serve one request after the other."""

from __future__ import annotations

import http.client
import json

from tests.server import CAPITAL, ServerProcess

ASK = json.dumps({"messages": CAPITAL, "max_tokens": 3})


def test_a_connection_serves_one_request_after_the_other(server: ServerProcess) -> None:
    address = server.url.removeprefix("http://")
    connection = http.client.HTTPConnection(address, timeout=300)
    sockets = set()
    streamed = json.dumps({"messages": CAPITAL, "max_tokens": 3, "stream": True})
    for body in (ASK, streamed, "broken", '{"messages": []}', streamed, ASK):
        connection.request("POST", "/v1/chat/completions", body)
        response = connection.getresponse()
        response.read()
        assert response.getheader("connection") != "close"
        sockets.add(connection.sock)
    connection.close()
    assert len(sockets) == 1
    assert None not in sockets


def test_pipelined_requests_are_answered_in_order(server: ServerProcess) -> None:
    address = server.url.removeprefix("http://")
    connection = http.client.HTTPConnection(address, timeout=300)
    connection.connect()
    lines = b"GET /health HTTP/1.1\r\nhost: localhost\r\nx-request-id: %b\r\n\r\n"
    connection.sock.sendall(lines % b"first" + lines % b"second")
    reader = connection.sock.makefile("rb")
    ids: list[bytes] = []
    while len(ids) < 2:
        line = reader.readline()
        if line.startswith(b"x-request-id: "):
            ids.append(line.split()[1])
    reader.close()
    connection.close()
    assert ids == [b"first", b"second"]
