"""Prefixes in a directory: which requests write them, who finds them, and what is said of that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from openai.types import CompletionUsage

from tests.api.conftest import StartServer
from tests.server import Server

LONG = "The keeper of the lighthouse counts the ships that pass it in the night. " * 40
_MARK = {"mode": "explicit"}
MARKED = [
    {
        "role": "user",
        "content": [{"type": "text", "text": LONG, "prompt_cache_breakpoint": _MARK}],
    }
]


@pytest.fixture
def start(start_server: StartServer, tmp_path: Path) -> StartServer:
    """Makes servers that share a directory of prefixes."""

    def start(*arguments: str, environ: dict[str, str] | None = None) -> Any:
        options = ("--prefix-store", str(tmp_path / "prefixes"), "--ctx-size", "4096")
        return start_server(*options, "--parallel", "1", *arguments, environ=environ)

    return start


def chat(server: Server, key: str = "", **fields: Any) -> dict[str, Any]:
    body = {"messages": [{"role": "user", "content": LONG}], "max_tokens": 4, "temperature": 0}
    headers = {"authorization": f"Bearer {key}"} if key else {}
    response = server.post("/v1/chat/completions", {**body, **fields}, headers=headers)
    answer: dict[str, Any] = response.raise_for_status().json()
    return answer


def details(answer: dict[str, Any]) -> tuple[int, int]:
    """Tokens that were cached, and that were written."""
    usage = CompletionUsage.model_validate(answer["usage"])
    assert usage.prompt_tokens_details is not None
    cached = usage.prompt_tokens_details.cached_tokens
    return cached or 0, usage.prompt_tokens_details.cache_write_tokens or 0


def n_files(directory: Path) -> int:
    return sum(1 for path in (directory / "prefixes").rglob("*") if path.is_file())


@pytest.mark.slow
def test_another_process_finds_what_was_asked_to_be_kept(
    start: StartServer, tmp_path: Path
) -> None:
    first = start()
    evaluated = chat(first, prompt_cache_retention="24h", logprobs=True)
    cached, n_written = details(evaluated)
    assert (cached, n_written % 256) == (0, 0)
    assert n_written // 256 == n_files(tmp_path) > 1

    restored = chat(start(), logprobs=True, timings_per_token=True)

    assert details(restored) == (n_written, 0)
    assert restored["choices"][0]["message"] == evaluated["choices"][0]["message"]
    assert restored["timings"]["cache_restored_n"] == n_written
    assert restored["timings"]["cache_restore_ms"] > 0


@pytest.mark.slow
def test_a_stream_says_what_was_written(start: StartServer, tmp_path: Path) -> None:
    server = start()
    body = {
        "messages": [{"role": "user", "content": LONG}],
        "max_tokens": 4,
        "stream": True,
        "stream_options": {"include_usage": True},
        "prompt_cache_key": "a customer",
    }
    text = server.post("/v1/chat/completions", body).raise_for_status().text
    events = [line[6:] for line in text.splitlines() if line.startswith("data: ")]

    usage = json.loads(events[-2])["usage"]
    assert usage["prompt_tokens_details"]["cache_write_tokens"] == 256 * n_files(tmp_path) > 0


@pytest.mark.slow
def test_what_nobody_asked_for_is_stored_the_second_time(
    start: StartServer, tmp_path: Path
) -> None:
    server = start()

    assert details(chat(server))[1] == 0
    assert n_files(tmp_path) == 0
    assert details(chat(server))[1] == 256 * n_files(tmp_path) > 0
    assert details(chat(server))[1] == 0


@pytest.mark.slow
def test_in_memory_is_not_stored(start: StartServer, tmp_path: Path) -> None:
    server = start()
    for _ in range(3):
        chat(server, prompt_cache_retention="in_memory", prompt_cache_key="a customer")

    assert n_files(tmp_path) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fields", "is_stored"),
    [
        ({"prompt_cache_options": {"ttl": "30m"}}, True),
        ({"prompt_cache_options": {"mode": "implicit"}}, False),
        ({"prompt_cache_options": {"mode": "explicit"}, "prompt_cache_key": "k"}, False),
        ({"prompt_cache_options": {"mode": "explicit"}, "messages": MARKED}, True),
        ({"messages": MARKED}, True),
        ({"messages": MARKED, "prompt_cache_retention": "in_memory"}, False),
    ],
)
def test_what_is_asked_to_be_kept_is_stored_at_once(
    start: StartServer, tmp_path: Path, fields: dict[str, Any], is_stored: bool
) -> None:
    n_written = details(chat(start(), **fields))[1]

    assert n_written == 256 * n_files(tmp_path)
    assert (n_written > 0) == is_stored


def test_an_explicit_cache_without_breakpoints_finds_nothing(start: StartServer) -> None:
    server = start()
    chat(server)

    assert details(chat(server, prompt_cache_options={"mode": "explicit"})) == (0, 0)
    assert details(chat(server))[0] > 256


def test_responses_are_kept_by_the_same_fields(start: StartServer, tmp_path: Path) -> None:
    fields = {"input": LONG, "max_output_tokens": 4, "prompt_cache_retention": "24h"}
    server = start()
    answer = server.post("/v1/responses", fields).raise_for_status().json()

    assert answer["prompt_cache_retention"] == "24h"
    assert n_files(tmp_path) > 1
    other = start().post("/v1/responses", fields).raise_for_status().json()
    assert other["usage"]["input_tokens_details"]["cached_tokens"] == 256 * n_files(tmp_path)


def test_messages_are_kept_by_cache_control(start: StartServer, tmp_path: Path) -> None:
    part = {"type": "text", "text": LONG, "cache_control": {"type": "ephemeral"}}
    body = {"messages": [{"role": "user", "content": [part]}], "max_tokens": 4, "model": "x"}
    start("--any-model", "true").post("/v1/messages", body).raise_for_status()

    assert n_files(tmp_path) > 1


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt_cache_retention": "1y"}, "prompt_cache_retention"),
        ({"prompt_cache_options": {"ttl": "1y"}}, "prompt_cache_options.ttl"),
    ],
)
def test_times_that_nothing_is_kept_for_are_refused(
    server: Server, fields: dict[str, Any], param: str
) -> None:
    body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}

    response = server.post("/v1/chat/completions", {**body, **fields})

    assert response.status_code == 400
    assert (response.json()["error"]["param"], response.json()["error"]["code"]) == (
        param,
        "invalid_value",
    )


@pytest.mark.slow
def test_nobody_finds_what_is_anothers(start: StartServer) -> None:
    keys = ("--api-key", "one,two")
    n_written = details(chat(start(*keys), "one", prompt_cache_retention="24h"))[1]
    other = start(*keys)

    assert details(chat(other, "two")) == (0, 0)
    assert details(chat(other, "one", prompt_cache_key="a customer"))[0] == 0
    assert details(chat(start(*keys), "one"))[0] == n_written


@pytest.mark.slow
def test_metrics_say_where_it_came_from(start: StartServer) -> None:
    n_written = details(chat(start(), prompt_cache_retention="24h"))[1]
    server = start()
    chat(server)

    assert server.metric("prefix_store_tokens_total") == n_written
    assert server.metric("prefix_invalid_blocks_total") == 0
    assert server.metric("prefix_read_bytes_total") > 0
