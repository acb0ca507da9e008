"""Completions in llama.cpp's dialect, as its own programs would ask for and read them."""

from __future__ import annotations

import json
from typing import Any

from tests.server import Server

ONCE = "Once upon a time"
FRANCE = "The capital of France is"
ASKED = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
COUNT = "<|im_start|>user\nCount from 1 to 100<|im_end|>\n<|im_start|>assistant\n"


def complete(server: Server, **fields: Any) -> Any:
    """The parsed body of a completion, greedy unless ``fields`` say otherwise."""
    body = {"prompt": FRANCE, "temperature": 0, "n_predict": 3, **fields}
    return server.post("/completion", body).raise_for_status().json()


def chunks(server: Server, **fields: Any) -> list[dict[str, Any]]:
    """All chunks of a stream; fails where llama-server's programs would."""
    body = {"prompt": FRANCE, "temperature": 0, "n_predict": 3, "stream": True, **fields}
    response = server.post("/completion", body).raise_for_status()
    assert response.headers["content-type"].startswith("text/event-stream")
    lines = [line for line in response.text.split("\n") if line]
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def error(server: Server, **fields: Any) -> tuple[int, str, str]:
    """The status, ``param`` and ``code`` of a refusal."""
    response = server.post("/completion", {"prompt": ONCE, "n_predict": 1, **fields})
    envelope = response.json()["error"]
    return response.status_code, envelope["param"], envelope["code"]
