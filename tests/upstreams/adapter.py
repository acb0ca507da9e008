"""Requests to a model in adapter mode, and what its upstream answers."""

from __future__ import annotations

import json
from typing import Any

import httpx2

from tests.app_server import AppServer
from tests.server import CAPITAL
from tests.upstreams.fake_upstream import (
    FakeUpstream,
)

MESSAGES: Any = CAPITAL


CHAT = "/v1/chat/completions"


TEXT = "/v1/completions"


DONE = b"data: [DONE]\n\n"


USAGE = {
    "prompt_tokens": 20,
    "completion_tokens": 7,
    "total_tokens": 27,
    "prompt_tokens_details": {"cached_tokens": 8},
    "completion_tokens_details": {"reasoning_tokens": 4},
}


def event(choices: list[dict[str, Any]], **fields: Any) -> bytes:
    return b"data: " + json.dumps({"choices": choices, **fields}).encode() + b"\n\n"


def end(reason: str = "stop", choice: int = 0) -> bytes:
    return event([{"index": choice, "delta": {}, "finish_reason": reason}])


def sent(upstream: FakeUpstream) -> Any:
    (received,) = upstream.received
    return json.loads(received.body)


def ask(adapter: AppServer, **fields: Any) -> httpx2.Response:
    return adapter.chat(**{"model": "big", **fields})


def events(adapter: AppServer, *, path: str = CHAT, **fields: Any) -> list[Any]:
    """The JSON of a stream's events, and its comments."""
    body = {"model": "big", "stream": True, **fields}
    body.setdefault(*(("messages", MESSAGES) if path == CHAT else ("prompt", "Once")))
    answer = adapter.http.post(path, json=body)
    assert answer.status_code == 200, answer.text
    lines = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    return [json.loads(line) if line.startswith("{") else line for line in lines]
