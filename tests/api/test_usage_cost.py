"""The price of a request in its answer (``usage.cost``), in what is stored of it, and in the costs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from shared.accounts.limits import NANODOLLARS
from tests.api.openai_types import chat_chunks, chat_completion, text_chunks, text_completion
from tests.api.tenants import MESSAGES, Tenant, administered
from tests.app_server import AppServer
from tests.server import wait_until

_SETTINGS_KEY = "key-from-the-settings"

_WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", {"messages": MESSAGES, "max_tokens": 4, "n": 2}),
    "text": ("/v1/completions", {"prompt": ["a b", "c"], "max_tokens": 3, "best_of": 2}),
    "text stream": ("/v1/completions", {"prompt": ["a b", "c"], "max_tokens": 3, "n": 2}),
    "llama.cpp": ("/completion", {"prompt": "The capital of France", "n_predict": 3}),
}
"""Path and body by dialect."""


@pytest.fixture(scope="module", params=["shown", "not shown"])
def is_shown(request: pytest.FixtureRequest) -> bool:
    """Whether answers tell what they cost."""
    return bool(request.param == "shown")


@pytest.fixture(scope="module")
def admin_server(
    log_directory: Path, tmp_path_factory: pytest.TempPathFactory, is_shown: bool
) -> Iterator[tuple[AppServer, OpenAI]]:
    """A server with both kinds of keys, for `tests.api.tenants.tenant`."""
    options = ("--usage-cost", "true") if is_shown else ()
    directory = tmp_path_factory.mktemp("usage-cost")
    with administered(log_directory, directory, "--api-key", _SETTINGS_KEY, *options) as found:
        yield found


def _post(tenant: Tenant, path: str, body: dict[str, Any], key: str | None = None) -> Any:
    headers = {"authorization": f"Bearer {key or tenant.key}"}
    return tenant.server.post(path, body, headers=headers).raise_for_status()


def _settled(tenant: Tenant) -> int:
    """Nanodollars that all requests of the project have come to, by the costs of the day."""
    return sum(round(each.amount.value * NANODOLLARS) for each in tenant.costs())


@pytest.mark.sweep(1)
@pytest.mark.parametrize("way", ["chat", "text", "llama.cpp"])
def test_whole_answers_tell_what_is_settled(tenant: Tenant, way: str, is_shown: bool) -> None:
    path, body = _WAYS[way]
    answer = _post(tenant, path, body)
    usage = answer.json()["usage"]
    assert ("cost" in usage) is is_shown
    if is_shown:
        assert round(usage["cost"] * NANODOLLARS) == _settled(tenant) > 0
    if path != "/completion":
        (chat_completion if way == "chat" else text_completion)(answer.content)


@pytest.mark.parametrize("way", ["chat", "text stream", "llama.cpp"])
def test_the_last_chunk_tells_what_is_settled(tenant: Tenant, way: str, is_shown: bool) -> None:
    path, body = _WAYS[way]
    streamed = {"stream": True, "stream_options": {"include_usage": True}}
    text = _post(tenant, path, body | streamed).text
    events = [each for each in text.split("\n\n") if each and each != "data: [DONE]"]
    *_, last = [json.loads(event.removeprefix("data: ")) for event in events]
    assert last["choices"] == []
    assert ("cost" in last["usage"]) is is_shown
    assert text.count('"cost"') == is_shown
    if is_shown:
        assert round(last["usage"]["cost"] * NANODOLLARS) == _settled(tenant) > 0
    if path != "/completion":
        (chat_chunks if way == "chat" else text_chunks)(text)


def test_the_clients_types_have_it(tenant: Tenant, is_shown: bool) -> None:
    usage = tenant.chat(max_tokens=3).usage
    cached = usage.prompt_tokens_details.cached_tokens
    cost = (usage.prompt_tokens - cached) * 100 + cached * 10 + usage.completion_tokens * 1000
    assert (usage.model_extra or {}) == ({"cost": cost / 10**6} if is_shown else {})


def test_a_stream_without_usage_says_nothing(tenant: Tenant) -> None:
    path, body = _WAYS["chat"]
    assert "cost" not in _post(tenant, path, {**body, "stream": True}).text


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("way", ["chat", "text"])
def test_what_is_stored_has_it_in_any_case(
    tenant: Tenant, way: str, stream: bool, is_shown: bool
) -> None:
    path, body = _WAYS[f"{way} stream" if (way, stream) == ("text", True) else way]
    body = {**body, "store": True, "metadata": {"way": f"{way} {stream}"}}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    answer = _post(tenant, path, body)
    headers = {"authorization": f"Bearer {tenant.key}"}
    query = {"metadata[way]": body["metadata"]["way"]}
    page = tenant.server.http.get(path, params=query, headers=headers).raise_for_status().json()
    (stored,) = page["data"]
    assert round(stored["usage"]["cost"] * NANODOLLARS) == _settled(tenant) > 0
    if stream:
        return
    answered = answer.json()
    if not is_shown:
        del stored["usage"]["cost"]
    assert {name: stored[name] for name in answered} == answered


def test_a_key_from_the_settings_pays_nothing(tenant: Tenant) -> None:
    path, body = _WAYS["chat"]
    stored = _post(tenant, path, {**body, "store": True}, _SETTINGS_KEY).json()
    assert "cost" not in stored["usage"]
    headers = {"authorization": f"Bearer {_SETTINGS_KEY}"}
    found = tenant.server.http.get(f"{path}/{stored['id']}", headers=headers).json()
    assert "cost" not in found["usage"]


def test_a_stream_that_was_cut_off_is_stored_with_what_its_client_pays(tenant: Tenant) -> None:
    stream = tenant.chat(stream=True, max_tokens=2000, store=True, extra_body={"ignore_eos": True})
    parts = iter(stream)
    for _ in range(4):
        next(parts)
    stream.close()
    stored = tenant.client().chat.completions
    wait_until(lambda: bool(stored.list().data), "stored")
    (completion,) = stored.list().data
    usage = completion.usage
    assert usage is not None
    cost = usage.prompt_tokens * 100 + usage.completion_tokens * 1000
    assert usage.model_extra == {"cost": cost / 10**6}
    assert _settled(tenant) == cost * 1000
