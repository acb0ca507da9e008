"""Several own models on one server: loaded when they are first asked for, unloaded for others."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openai import OpenAI, PermissionDeniedError

from shared.engine.llama import context_fit, model_fit
from shared.host.memory import MemoryLimit
from shared.models import sources
from shared.models.files import ModelFiles
from tests.api.conftest import StartServer
from tests.api.tenants import MESSAGES, administered, new_tenant
from tests.app_server import AppServer
from tests.server import CAPITAL, wait_until

MODELS: dict[str, dict[str, Any]] = {
    "small": {"source": "builtin", "alias": ["s"], "ctx_size": 512, "parallel": 1},
    "brief": {"source": "builtin", "defaults": {"max_tokens": 1}},
    "missing": {"source": "nowhere.gguf"},
}
SHORT: dict[str, Any] = {"max_tokens": 1, "temperature": 0}


@pytest.fixture(scope="module")
def several(log_directory: Path) -> Iterator[AppServer]:
    """A server with a default model and three others, as many loaded as there is memory for."""
    server = AppServer(
        log_directory / "several.log", "--model", "builtin", "--models", json.dumps(MODELS)
    )
    yield server
    server.stop()


def statuses(server: AppServer) -> dict[str, str]:
    listed = server.http.get("/v1/models").json()["data"]
    return {card["id"]: card["status"]["value"] for card in listed}


def loaded(server: AppServer) -> set[str]:
    return {name for name, status in statuses(server).items() if status == "loaded"}


def test_models_are_loaded_when_they_are_first_asked_for(start_server: StartServer) -> None:
    server = start_server("--model", "builtin", "--models", json.dumps(MODELS))
    assert statuses(server) == {
        "pilotlight-builtin": "loaded",
        "small": "unloaded",
        "brief": "unloaded",
        "missing": "unloaded",
    }
    answer = server.chat(model="s", **SHORT)
    assert answer.json()["model"] == "small"
    assert loaded(server) == {"pilotlight-builtin", "small"}


def test_requests_that_name_no_model_are_for_the_default_one(several: AppServer) -> None:
    assert several.chat(**SHORT).json()["model"] == "pilotlight-builtin"
    assert several.text(**SHORT).json()["model"] == "pilotlight-builtin"


@pytest.mark.slow
def test_each_model_has_its_own_settings_and_defaults(several: AppServer) -> None:
    answer = several.chat(model="brief").json()
    assert answer["usage"]["completion_tokens"] == 1
    cards = {name: several.http.get(f"/v1/models/{name}").json() for name in ("small", "brief")}
    several.chat(model="small", **SHORT)
    cards["small"] = several.http.get("/v1/models/small").json()
    assert cards["small"]["meta"]["n_ctx"] == 512
    assert cards["brief"]["meta"]["n_ctx"] > 512
    too_long = several.chat(model="small", messages=[{"role": "user", "content": "x " * 600}])
    assert too_long.json()["error"]["code"] == "context_length_exceeded"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/completion"])
def test_all_dialects_name_models(several: AppServer, path: str) -> None:
    body = {"model": "small", "messages": CAPITAL, "prompt": "Once", "max_tokens": 1}
    with several.http.stream("POST", path, json={**body, "stream": True}) as answer:
        assert answer.status_code == 200
        first = next(line for line in answer.iter_lines() if line.startswith("data: "))
    if path != "/completion":
        assert json.loads(first.removeprefix("data: "))["model"] == "small"


def test_tokens_templates_and_properties_are_a_models(several: AppServer) -> None:
    tokens = several.post("/tokenize", {"model": "small", "content": "Hello"}).json()["tokens"]
    text = several.post("/detokenize", {"model": "brief", "tokens": tokens}).json()["content"]
    assert text == "Hello"
    rendered = several.post("/apply-template", {"model": "s", "messages": CAPITAL})
    assert "France" in rendered.json()["prompt"]
    assert several.http.get("/props", params={"model": "s"}).json()["model_alias"] == "small"
    assert several.http.get("/props").json()["model_alias"] == "pilotlight-builtin"
    for answer in (
        several.post("/tokenize", {"model": "nobody", "content": "Hello"}),
        several.http.get("/props", params={"model": "nobody"}),
    ):
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")


def test_unknown_models_are_told_of_known_ones(several: AppServer) -> None:
    answer = several.chat(model="nobody", **SHORT)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    assert "small" in answer.json()["error"]["message"]


def test_what_is_wrong_with_a_request_comes_before_its_model(several: AppServer) -> None:
    answer = several.chat(model="missing", temperature=9)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "temperature")
    assert several.chat(model=7).json()["error"]["param"] == "model"


def test_a_model_that_cannot_be_loaded_is_an_error_of_its_own(several: AppServer) -> None:
    for _ in range(2):
        answer = several.chat(model="missing", **SHORT)
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "model_unavailable")
        assert "nowhere.gguf" not in answer.text
    assert statuses(several)["missing"] == "failed"
    assert several.log_text().count("the model missing could not be loaded") == 1
    assert several.chat(**SHORT).status_code == 200
    assert several.http.get("/health").status_code == 200


def test_completions_are_listed_by_any_name_of_a_model(several: AppServer) -> None:
    kept = several.chat(model="s", store=True, **SHORT).json()["id"]
    for name in ("s", "small"):
        listed = several.http.get("/v1/chat/completions", params={"model": name}).json()["data"]
        assert kept in [each["id"] for each in listed]


def test_metrics_tell_models_apart(several: AppServer) -> None:
    several.chat(model="small", **SHORT)
    text = several.http.get("/metrics").text
    assert 'pilotlight_kv_cells{model="small"} 512.0' in text
    assert 'pilotlight_completion_tokens_total{model="pilotlight-builtin"}' in text


@pytest.mark.slow
@pytest.mark.parametrize("models", [{}, MODELS])
def test_any_name_may_be_the_default_models(
    start_server: StartServer, models: dict[str, Any]
) -> None:
    defaults = {"pilotlight-builtin": {"max_tokens": 3}}
    server = start_server(
        *("--model", "builtin", "--any-model", "true"),
        *("--models", json.dumps({**defaults, **models})),
    )
    answer = server.chat(model="gpt-of-elsewhere").json()
    assert answer["model"] == "pilotlight-builtin"
    assert answer["usage"]["completion_tokens"] == 3
    assert server.text(model="gpt-of-elsewhere", max_tokens=1).status_code == 200
    assert server.http.get("/v1/models/gpt-of-elsewhere").status_code == 404


@pytest.mark.slow
def test_the_only_models_may_be_sections(start_server: StartServer) -> None:
    only = {name: MODELS[name] for name in ("small", "brief")}
    server = start_server("--models", json.dumps(only))
    assert list(statuses(server)) == ["small", "brief"]
    assert server.chat(**SHORT).json()["model"] == "small"


@pytest.mark.slow
def test_models_are_loaded_at_the_start_if_their_section_says_so(
    start_server: StartServer,
) -> None:
    early = {"early": {"source": "builtin", "load": "start"}, "late": {"source": "builtin"}}
    server = start_server("--model", "builtin", "--models", json.dumps(early))
    wait_until(lambda: server.http.get("/health").status_code == 200, "ready")
    assert loaded(server) == {"pilotlight-builtin", "early"}


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
    endless = {"model": "first", "messages": CAPITAL, "ignore_eos": True, "max_tokens": 400}
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
    body = {"model": "first", "messages": CAPITAL, "ignore_eos": True, "max_tokens": 400}
    with server.http.stream(
        "POST", "/v1/chat/completions", json={**body, "stream": True}
    ) as stream:
        next(stream.iter_lines())
        with server.client(timeout=0.2) as hasty, pytest.raises(httpx2.ReadTimeout):
            hasty.post("/v1/chat/completions", json={**body, "model": "second"})
    for name in ("third", "second", "first"):
        assert server.chat(model=name, **SHORT).json()["model"] == name


@pytest.mark.slow
def test_too_many_do_not_wait_for_a_model(start_server: StartServer) -> None:
    server = start_server(
        *("--model", "builtin", "--alias", "first", "--models-max", "1", "--max-queue", "1"),
        *("--models", json.dumps({"second": {"source": "builtin"}})),
    )
    body = {"model": "first", "messages": CAPITAL, "ignore_eos": True, "max_tokens": 400}
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


@pytest.fixture(scope="module")
def several_with_accounts(
    log_directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[AppServer, OpenAI]]:
    """A server with accounts and two models, and its administrator's client."""
    models = {"other": {"source": "builtin", "price": {"prompt": 7}}}
    options = ("--model", "builtin", "--models", json.dumps(models))
    directory = tmp_path_factory.mktemp("several-projects")
    with administered(log_directory, directory, *options) as found:
        yield found


def test_what_a_project_may_not_use_is_not_loaded_for_it(
    several_with_accounts: tuple[AppServer, OpenAI],
) -> None:
    server, admin = several_with_accounts
    allowed, refused = (new_tenant(server, admin) for _ in range(2))
    permissions = admin.admin.organization.projects.model_permissions
    permissions.update(refused.project, mode="allow_list", model_ids=["small"])
    client = refused.client()
    with pytest.raises(PermissionDeniedError):
        client.chat.completions.create(model="other", messages=MESSAGES, max_tokens=1)
    assert [model.id for model in client.models.list()] == ["small"]
    cards = {model.id: model for model in allowed.client().models.list()}
    assert cards["other"].to_dict()["status"] == {"value": "unloaded"}


def test_each_model_has_its_price(several_with_accounts: tuple[AppServer, OpenAI]) -> None:
    tenant = new_tenant(*several_with_accounts)
    client = tenant.client()
    used = client.chat.completions.create(model="other", messages=MESSAGES, max_tokens=1).usage
    assert used is not None
    [cost] = tenant.costs()
    assert cost.amount.value == used.prompt_tokens * 7 / 10**6
