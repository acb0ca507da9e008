"""Playground page: which models it offers, and why there is none where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from functions.http.api_app import create_api_app
from shared.config.settings import Settings
from tests.dashboard.deployment import Browser, Deployment, text_of

PATH = "/dashboard/playground/completions"
UPSTREAM = {"upstream": "https://models.example.com/v1", "mode": "direct"}


def test_without_a_model_and_upstreams_the_page_says_so(deployment: Deployment) -> None:
    _, _, key = deployment.project()
    browser = deployment.browser(key)

    page = browser.get("/dashboard/playground")

    assert "No model can be asked from here" in text_of(page)
    assert "playground.js" not in page.text
    headers = {"origin": browser.origin, "sec-fetch-site": "same-origin"}
    headers["x-csrf-token"] = browser.token("/dashboard/playground")
    response = browser.client.post(PATH, json={"messages": []}, headers=headers)
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "served_elsewhere"


def test_an_administrator_is_told_what_to_do(deployment: Deployment) -> None:
    page = deployment.browser(deployment.admin_key).get("/dashboard/playground")

    assert "An admin key completes nothing" in text_of(page)


def test_a_function_without_a_model_offers_upstreams(tmp_path: Path) -> None:
    models = {"large": UPSTREAM}
    settings = Settings(store="sqlite", data_dir=tmp_path, models=models, alias=["small"])
    browser = Browser(create_api_app(settings, asks_upstreams=True))

    page = browser.get("/dashboard/playground")

    assert "<option>large</option>" in page.text
    assert "<option>small</option>" not in page.text  # another function's


@pytest.mark.parametrize("path", ["usage", "keys"])
def test_without_accounts_pages_say_what_to_do(tmp_path: Path, path: str) -> None:
    browser = Browser(create_api_app(Settings(store="sqlite", data_dir=tmp_path)))

    page = browser.get(f"/dashboard/{path}")

    assert page.status_code == 200
    assert "pilotlight serve --accounts true" in text_of(page)
    assert browser.get("/dashboard/usage.csv").text.startswith("day,model,name,requests")


def test_a_key_of_the_settings_has_neither_usage_nor_limits(tmp_path: Path) -> None:
    settings = Settings(store="sqlite", data_dir=tmp_path, api_key=[SecretStr("key-of-settings")])
    browser = Browser(create_api_app(settings))
    browser.sign_in("key-of-settings")

    assert "A key from the settings" in text_of(browser.get("/dashboard/keys"))
    assert "Nothing is counted here" in text_of(browser.get("/dashboard/usage"))
