"""Several own models that don't fit beside each other: which is unloaded, and who waits."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from shared.engine.llama import context_fit, model_fit
from shared.host.memory import MemoryLimit
from shared.models import sources
from shared.models.files import ModelFiles
from tests.api.conftest import StartServer
from tests.api.own_models import MODELS, SHORT, loaded, statuses
from tests.app_server import AppServer
from tests.server import CAPITAL, wait_until


def one_at_a_time(start_server: StartServer) -> AppServer:
    return start_server(
        *("--model", "builtin", "--alias", "first", "--models-max", "1", "--parallel", "4"),
        *(
            "--models",
            json.dumps({"second": {"source": "builtin"}, "third": {"source": "builtin"}}),
        ),
    )


@pytest.mark.slow
def test_the_least_recently_used_model_makes_room(start_server: StartServer) -> None:
    server = one_at_a_time(start_server)
    for name in ("second", "first", "third", "second"):
        assert server.chat(model=name, **SHORT).json()["model"] == name
        assert loaded(server) == {name}
        assert server.http.get("/health").status_code == 200


def test_a_model_that_is_not_there_takes_nobodys_place(start_server: StartServer) -> None:
    server = start_server(
        *("--model", "builtin", "--alias", "first", "--models-max", "1"),
        *("--models", json.dumps({"missing": MODELS["missing"]})),
    )
    assert server.chat(model="missing", **SHORT).status_code == 500
    assert loaded(server) == {"first"}


def test_a_model_that_never_fits_takes_nobodys_place(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_server(
        *("--model", "builtin", "--alias", "first"),
        *("--models", json.dumps({"second": {"source": "builtin"}})),
    )
    tiny = MemoryLimit("this machine", 2**20, 2**20)
    monkeypatch.setattr(model_fit, "host_memory", lambda unmapped=0: tiny)
    assert server.chat(model="second", **SHORT).status_code == 500
    assert loaded(server) == {"first"}


@pytest.mark.slow
def test_a_model_that_is_in_use_makes_room_when_its_requests_have_ended(
    start_server: StartServer,
) -> None:
    server = one_at_a_time(start_server)
    endless = {"model": "first", "messages": CAPITAL, "ignore_eos": True, "max_tokens": 4000}
    with ThreadPoolExecutor(8) as threads:
        with server.http.stream(
            "POST", "/v1/chat/completions", json={**endless, "stream": True}
        ) as stream:
            lines = stream.iter_lines()
            next(lines)
            other = threads.submit(lambda: server.chat(model="second", **SHORT))
            wait_until(lambda: statuses(server)["second"] == "loading", "the other one's turn")
            # Whoever comes now for the first one waits until it is there again.
            again = threads.submit(lambda: server.chat(model="first", **SHORT))
            assert list(lines)[-2] == "data: [DONE]"
        assert other.result(300).json()["model"] == "second"
        assert again.result(300).json()["model"] == "first"


@pytest.mark.slow
def test_requests_for_many_models_at_once_are_all_answered(start_server: StartServer) -> None:
    server = one_at_a_time(start_server)
    names = ["first", "second", "third"] * 4
    with ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(lambda name: server.chat(model=name, **SHORT), names))
    assert [answer.json().get("model") for answer in answers] == names


@pytest.mark.slow
def test_a_client_that_disconnects_while_a_model_loads_leaves_nothing_behind(
    start_server: StartServer,
) -> None:
    server = one_at_a_time(start_server)
    body = {"model": "first", "messages": CAPITAL, "ignore_eos": True, "max_tokens": 8000}
    with server.http.stream(
        "POST", "/v1/chat/completions", json={**body, "stream": True}
    ) as stream:
        next(stream.iter_lines())
        with server.client(timeout=0.1) as hasty, pytest.raises(httpx2.ReadTimeout):
            hasty.post("/v1/chat/completions", json={**body, "model": "second"})
    for name in ("third", "second", "first"):
        assert server.chat(model=name, **SHORT).json()["model"] == name


@pytest.mark.slow
def test_too_many_do_not_wait_for_a_model(start_server: StartServer) -> None:
    server = start_server(
        *("--model", "builtin", "--alias", "first", "--models-max", "1", "--max-queue", "1"),
        *("--models", json.dumps({"second": {"source": "builtin"}})),
    )
    body = {"model": "first", "messages": CAPITAL, "ignore_eos": True, "max_tokens": 8000}
    with ThreadPoolExecutor(1) as threads:
        with server.http.stream(
            "POST", "/v1/chat/completions", json={**body, "stream": True}
        ) as stream:
            next(stream.iter_lines())
            waiting = threads.submit(lambda: server.chat(model="second", **SHORT))
            wait_until(lambda: statuses(server)["second"] == "loading", "one that waits")
            refused = server.chat(model="second", **SHORT)
            assert (refused.status_code, refused.json()["error"]["type"]) == (429, "overloaded")
        assert waiting.result(300).status_code == 200


def test_a_source_that_is_slow_holds_up_no_other_model(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = {"slow": {"source": "builtin", "ctx_size": 512}, "quick": {"source": "builtin"}}
    server = start_server("--model", "builtin", "--models", json.dumps(models))
    fetching, is_fetched = threading.Event(), threading.Event()

    def fetched_later(*arguments: Any) -> ModelFiles:
        if not fetching.is_set():
            fetching.set()
            is_fetched.wait()
        return model_files(*arguments)

    model_files = sources.model_files
    monkeypatch.setattr(sources, "model_files", fetched_later)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(lambda: server.chat(model="slow", **SHORT))
        try:
            assert fetching.wait(300)
            assert server.chat(model="quick", **SHORT).json()["model"] == "quick"
            assert statuses(server)["slow"] == "loading"
        finally:
            is_fetched.set()
        assert waiting.result(300).json()["model"] == "slow"


def test_the_end_of_a_server_refuses_those_that_wait_for_a_model(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = one_at_a_time(start_server)
    fetching, is_fetched = threading.Event(), threading.Event()

    def fetched_later(*arguments: Any) -> ModelFiles:
        fetching.set()
        is_fetched.wait()
        return model_files(*arguments)

    model_files = sources.model_files
    monkeypatch.setattr(sources, "model_files", fetched_later)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(lambda: server.chat(model="second", **SHORT))
        try:
            assert fetching.wait(300)
            server.models.abandon()
            refused = waiting.result(300)  # while the model is still being loaded
        finally:
            is_fetched.set()
    assert refused.status_code == 503
    assert "shutting down" in refused.json()["error"]["message"]
    server.models.close()
    assert "could not be loaded" not in server.log.read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_model_that_does_not_fit_beside_others_takes_an_idle_ones_place(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_server(
        *("--model", "builtin", "--alias", "first"),
        *("--models", json.dumps({"second": {"source": "builtin"}})),
    )
    # The weights of the one that is loaded count as taken, though the kernel calls them free.
    n_bytes = server.http.get("/v1/models/first").json()["meta"]["size"]
    free = model_fit.mapped_by_others() + n_bytes // 2
    scarce = MemoryLimit("this machine", 2**40, free)
    monkeypatch.setattr(model_fit, "host_memory", lambda unmapped=0: scarce)
    assert server.chat(model="second", **SHORT).json()["model"] == "second"
    assert loaded(server) == {"second"}


@pytest.mark.slow
def test_a_context_is_not_made_smaller_for_others(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_server(
        *("--model", "builtin", "--alias", "first"),
        *("--models", json.dumps({"second": {"source": "builtin"}})),
    )
    usual = server.http.get("/v1/models/first").json()["meta"]["n_ctx"]
    n_models = len(model_fit.others(None))

    def scarce() -> MemoryLimit:
        is_beside_another = len(model_fit.others(None)) > n_models
        return MemoryLimit("this machine", 2**40, 2**27 + 2**20 if is_beside_another else 2**40)

    monkeypatch.setattr(context_fit, "host_memory", scarce)
    assert server.chat(model="second", **SHORT).json()["model"] == "second"
    assert server.http.get("/v1/models/second").json()["meta"]["n_ctx"] == usual
