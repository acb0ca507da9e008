"""A server's own models, and which of them are loaded."""

from __future__ import annotations

from typing import Any

from tests.app_server import AppServer

MODELS: dict[str, dict[str, Any]] = {
    "small": {"source": "builtin", "alias": ["s"], "ctx_size": 512, "parallel": 1},
    "brief": {"source": "builtin", "defaults": {"max_tokens": 1}},
    "missing": {"source": "nowhere.gguf"},
}


SHORT: dict[str, Any] = {"max_tokens": 1, "temperature": 0}


def statuses(server: AppServer) -> dict[str, str]:
    listed = server.http.get("/v1/models").json()["data"]
    return {card["id"]: card["status"]["value"] for card in listed}


def loaded(server: AppServer) -> set[str]:
    return {name for name, status in statuses(server).items() if status == "loaded"}
