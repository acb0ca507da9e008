"""A server with API keys prints and logs none of them."""

from __future__ import annotations

import hashlib

from tests.conftest import API_KEY, StartServer
from tests.server import ServerProcess


def test_no_key_is_printed_or_logged(keyed_server: ServerProcess) -> None:
    assert API_KEY not in keyed_server.printed
    assert API_KEY not in keyed_server.log_text()
    assert "YOUR_KEY" in keyed_server.printed


def test_a_key_that_only_its_hash_is_known_of_is_accepted(start_server: StartServer) -> None:
    digest = hashlib.sha256(API_KEY.encode()).hexdigest()
    server = start_server("--api-key-hash", digest, "--host", "0.0.0.0")
    statuses = {
        key: server.http.get("/v1/models", headers={"authorization": f"Bearer {key}"}).status_code
        for key in (API_KEY, digest)
    }
    assert statuses == {API_KEY: 200, digest: 401}
    assert "YOUR_KEY" in server.printed
