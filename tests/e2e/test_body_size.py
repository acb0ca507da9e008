"""Bodies beyond the limit, on sockets: refused without being read whole."""

from __future__ import annotations

import http.client
import json
import socket

import pytest

from tests.api.test_errors import error_of
from tests.conftest import API_KEY, MAX_BODY_SIZE
from tests.server import CAPITAL, ServerProcess, user

CHAT = "/v1/chat/completions"
KEY = {"authorization": f"Bearer {API_KEY}"}


class TestBodySize:
    """Bodies above the limit get 413 without being read whole."""

    def head(self, server: ServerProcess, *headers: str) -> http.client.HTTPConnection:
        """A connection on which a POST's headers are sent."""
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=300)
        connection.putrequest("POST", CHAT)
        connection.putheader("authorization", f"Bearer {API_KEY}")
        for header in headers:
            connection.putheader(*header.split(": "))
        connection.endheaders()
        return connection

    def check(self, connection: http.client.HTTPConnection, limit: int) -> None:
        """The response is the envelope, and the connection ends."""
        response = connection.getresponse()
        error = json.loads(response.read())["error"]
        connection.close()
        assert response.status == 413
        assert error["code"] == "request_too_large"
        assert error["type"] == "invalid_request_error"
        assert str(limit) in error["message"]

    def test_by_content_length_before_any_of_it_came(self, server: ServerProcess) -> None:
        limit = 4 * 2**20
        self.check(self.head(server, f"content-length: {limit + 1}"), limit)

    def test_by_content_length_with_the_body(self, keyed_server: ServerProcess) -> None:
        body = json.dumps({"messages": user("x" * MAX_BODY_SIZE)})
        response = keyed_server.http.post(CHAT, content=body, headers=KEY)
        assert response.status_code == 413
        assert error_of(response)["code"] == "request_too_large"

    def test_by_what_comes_in_chunks(self, keyed_server: ServerProcess) -> None:
        connection = self.head(keyed_server, "transfer-encoding: chunked")
        chunk = b"x" * 4096
        for _ in range(MAX_BODY_SIZE // 4096 + 1):
            connection.send(b"1000\r\n" + chunk + b"\r\n")
        self.check(connection, MAX_BODY_SIZE)

    def test_a_body_at_the_limit_is_read(self, keyed_server: ServerProcess) -> None:
        body = json.dumps({"messages": CAPITAL, "max_tokens": 1}).encode()
        body += b" " * (MAX_BODY_SIZE - len(body))
        response = keyed_server.http.post(CHAT, content=body, headers=KEY)
        assert response.status_code == 200

    @pytest.mark.parametrize("length", ["-1", "x", "1e3", "٣"])
    def test_a_length_that_is_none_does_no_harm(self, server: ServerProcess, length: str) -> None:
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=300) as connection:
            request = (
                f"POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n{{}}"
            )
            connection.sendall(request.encode())
            status = connection.makefile("rb").readline().split()[1]
        assert status == b"400"
        assert server.http.get("/health").status_code == 200


def test_the_same_server_serves_after_all_that(server: ServerProcess) -> None:
    assert "Paris" in server.chat(temperature=0).text
