"""Nobody learns from cached prefixes what another key's requests said."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import StartServer
from tests.server import Server

_TEMPLATE = 16
"""More tokens than a prompt shares with every other because of the chat template."""


def bodies(secret: str) -> list[tuple[str, dict[str, Any]]]:
    text = f"{secret} is what nobody may know, {secret} it is. " * 6
    messages = [{"role": "user", "content": text}]
    return [
        ("/v1/chat/completions", {"messages": messages}),
        ("/v1/chat/completions", {"messages": messages, "n": 2, "service_tier": "priority"}),
        ("/v1/completions", {"prompt": text}),
        ("/completion", {"prompt": text, "id_slot": 0, "cache_prompt": True}),
    ]


def n_cached(server: Server, key: str, path: str, body: dict[str, Any]) -> int:
    headers = {"authorization": f"Bearer {key}"}
    response = server.post(path, {**body, "max_tokens": 1}, headers=headers)
    answer = response.raise_for_status().json()
    if path == "/completion":
        return int(answer["timings"]["cache_n"])
    return int(answer["usage"]["prompt_tokens_details"]["cached_tokens"])


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["true", "false"], ids=["pool", "shares"])
def test_prefixes_are_shared_within_a_key_and_a_prompt_cache_key(
    start_server: StartServer, layout: str
) -> None:
    server = start_server("--api-key", "one,two", "--kv-unified", layout)
    for i in range(4):
        path, body = bodies(f"number {i}{i}")[i]
        assert n_cached(server, "one", path, body) < _TEMPLATE
        assert n_cached(server, "two", path, body) < _TEMPLATE
        assert n_cached(server, "one", path, body) > 100
        partition = body | {"prompt_cache_key": "customer-1"}
        assert n_cached(server, "one", path, partition) < _TEMPLATE
        assert n_cached(server, "one", path, partition) > 100
        assert n_cached(server, "two", path, partition) < _TEMPLATE


def test_without_keys_everybody_shares(server: Server) -> None:
    path, body = bodies("number 99")[0]
    n_cached(server, "anything", path, body)

    assert n_cached(server, "something else", path, body) > 100
