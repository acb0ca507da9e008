"""Warm prefixes: what the operator has evaluated at the start is there for every key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shared.config.warm_prefix import warm_messages
from tests.api.conftest import StartServer
from tests.server import Server

TEXT = "You are the keeper of a lighthouse, and count the ships that pass it in the night. " * 30


def ask(server: Server, key: str, system: str = TEXT, **fields: Any) -> tuple[int, str]:
    """Cached tokens, and the answer."""
    messages = [{"role": "system", "content": system.strip()}, {"role": "user", "content": "Hi"}]
    body = {"messages": messages, "max_tokens": 4, "temperature": 0, **fields}
    headers = {"authorization": f"Bearer {key}"}
    answer = server.post("/v1/chat/completions", body, headers=headers).raise_for_status().json()
    details = answer["usage"]["prompt_tokens_details"]
    return details["cached_tokens"], answer["choices"][0]["message"]["content"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "system.txt"
    path.write_text(TEXT)
    return path


def options(file: Path, layout: str) -> list[str]:
    return [
        *("--warm-prefix", str(file), "--api-key", "one,two,three", "--kv-unified", layout),
        *("--parallel", "1", "--ctx-size", "2048"),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["true", "false"], ids=["pool", "shares"])
def test_every_key_finds_it_and_goes_on_as_if_it_had_been_evaluated(
    start_server: StartServer, file: Path, layout: str
) -> None:
    server = start_server(*options(file, layout))
    evaluated = ask(server, "one", cache_prompt=False)
    for key in ("one", "two"):
        n_cached, answer = ask(server, key)
        assert n_cached > 512
        assert answer == evaluated[1]
    # Whatever was asked in between: blocks of it stay in memory.
    for about in ("ships", "storms", "gulls"):
        n_cached, _ = ask(server, "two", f"{about} pass. " * 150)
        assert n_cached < 32
    n_cached, answer = ask(server, "three")
    assert n_cached >= 512
    assert answer == evaluated[1]


@pytest.mark.slow
def test_what_follows_it_is_its_keys_own(start_server: StartServer, file: Path) -> None:
    server = start_server(*options(file, "true"))
    longer = TEXT + "Nobody may know that the lamp went out last night, at three. " * 10
    first, _ = ask(server, "one", longer)

    assert ask(server, "two", longer)[0] == first
    assert ask(server, "one", longer)[0] > first


def test_messages_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "messages.json"
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]

    path.write_text(json.dumps(messages))
    assert warm_messages(str(path)) == messages
    path.write_text(json.dumps({"messages": messages}))
    assert warm_messages(str(path)) == messages
    path.write_text("Be brief.\n")
    assert warm_messages(str(path)) == [{"role": "system", "content": "Be brief."}]


@pytest.mark.parametrize("text", ["[", "[]", "{}", '{"messages": 5}', "[1]", '[{"content": "Hi"}]'])
def test_what_is_no_list_of_messages_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "messages.json"
    path.write_text(text)

    with pytest.raises(ValueError, match=r"JSON|messages|role"):
        warm_messages(str(path))


@pytest.mark.slow
def test_a_file_that_is_missing_ends_the_start(start_server: StartServer, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="can't use the warm prefix"):
        start_server("--warm-prefix", str(tmp_path / "missing.txt"))


def test_one_that_does_not_fit_ends_the_start(start_server: StartServer, file: Path) -> None:
    with pytest.raises(Exception, match="can't use the warm prefix"):
        start_server("--warm-prefix", str(file), "--ctx-size", "256", "--parallel", "1")
