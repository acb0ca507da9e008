"""Several own models on one server: loaded when they are first asked for, unloaded for others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI, PermissionDeniedError

from tests.api.conftest import StartServer
from tests.api.own_models import MODELS, SHORT, loaded, statuses
from tests.api.tenants import MESSAGES, administered, new_tenant
from tests.app_server import AppServer
from tests.server import CAPITAL, wait_until


@pytest.fixture(scope="module")
def several(log_directory: Path) -> Iterator[AppServer]:
    """A server with a default model and three others, as many loaded as there is memory for."""
    server = AppServer(
        log_directory / "several.log", "--model", "builtin", "--models", json.dumps(MODELS)
    )
    yield server
    server.stop()


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
