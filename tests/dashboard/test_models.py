"""Models page: what is served, from where, in which state, for whom; nothing is woken up."""

from __future__ import annotations

from pathlib import Path

import pytest

from functions.http.api_app import create_api_app
from shared.accounts.audit_log import Actor
from shared.accounts.types import ModelPermissions
from shared.config.settings import Settings
from shared.runtime.request_context import GenerationRecord, RequestContext
from tests.dashboard.deployment import Browser, Deployment, text_of

UPSTREAM = {"upstream": "https://models.example.com/v1", "mode": "direct"}


@pytest.fixture
def browser(tmp_path: Path) -> Browser:
    """Of a server that asks an upstream, where no key is needed."""
    models = {"large": {**UPSTREAM, "price": {"prompt": 2.5, "completion": 10}}}
    settings = Settings(store="sqlite", data_dir=tmp_path, models=models, alias=["small", "s"])
    return Browser(create_api_app(settings, asks_upstreams=True))


def test_models_with_their_places_and_prices(browser: Browser) -> None:
    text = " ".join(text_of(browser.get("/dashboard/models")).split())

    assert "small also s Another function of this deployment Not known here" in text
    assert "large models.example.com OpenAI's API Ready" in text
    assert "$2.50 in $10.00 out" in text
    assert "no request yet" in text


def test_speed_is_of_the_last_requests(browser: Browser) -> None:
    state = browser.app.state.server
    for seconds in (1.0, 2.0, 4.0):
        context = RequestContext("req", "POST", 0.0, model="large")
        context.generation = GenerationRecord(
            prompt_tokens=9,
            cached_tokens=0,
            completion_tokens=100,
            submitted=0.0,
            begun=0.1,
            first_token=0.25,
            ended=0.25 + seconds,
        )
        state.metrics.finish(context)

    text = " ".join(text_of(browser.get("/dashboard/models")).split())

    assert "50 of 3 requests 250 ms" in text


def test_a_model_that_failed_again_and_again_is_paused(browser: Browser) -> None:
    breaker = browser.app.state.server.upstreams._breakers["large"]
    for _ in range(5):
        with breaker.attempt() as attempt:
            attempt.has_succeeded = False

    assert "after failures" in text_of(browser.get("/dashboard/models"))


def test_a_project_sees_the_models_that_it_may_use(deployment: Deployment) -> None:
    project, _, key = deployment.project()
    denied = ModelPermissions(mode="allow_list", models=["another"])
    deployment.accounts.projects.permit_models(Actor(), project.id, denied)

    text = text_of(deployment.browser(key).get("/dashboard/models"))

    assert "may use none of the models" in text
    admin = deployment.browser(deployment.admin_key)
    assert next(iter(deployment.settings.own)) in text_of(admin.get("/dashboard/models"))
