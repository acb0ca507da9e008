"""Sign-in, sessions and sign-out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from functions.http.api_app import create_api_app
from shared.accounts.audit_log import Actor
from shared.config.settings import Settings
from tests.dashboard.deployment import Browser, Deployment

KEY = "key-of-a-setting"


def test_a_project_signs_in_and_out(each_deployment: Deployment) -> None:
    _, _, key = each_deployment.project("shop <b>")
    browser = each_deployment.browser()
    page = browser.get("/dashboard/sign-in")
    assert page.status_code == 200
    assert "Sign out" not in page.text
    signed_in = browser.sign_in(key)
    assert browser.follow("/dashboard/sign-in", signed_in) == "/dashboard/completions"
    page = browser.get("/dashboard/nothing")
    assert "shop &lt;b&gt;" in page.text
    out = browser.post("/dashboard/sign-out", token_of="/dashboard/nothing")
    assert browser.follow("/dashboard/sign-out", out) == "/dashboard/sign-in"
    assert browser.get("/dashboard/nothing").status_code == 303


def test_the_cookie_is_strict_expires_and_holds_no_key(deployment: Deployment) -> None:
    _, api_key, key = deployment.project()
    response = deployment.browser().sign_in(key)
    cookie = response.headers["set-cookie"]
    attributes = {each.strip().lower() for each in cookie.split(";")[1:]}
    assert {"httponly", "secure", "samesite=strict", "max-age=43200"} <= attributes
    assert not any(each.startswith(("path", "domain")) for each in attributes)
    assert key not in cookie
    assert api_key.hash not in cookie


@pytest.mark.parametrize(
    ("origin", "is_secure"),
    [
        ("http://127.0.0.1:8000", False),
        ("http://localhost:8000", False),
        ("http://[::1]:8000", False),
        ("http://pilot.test", True),
        ("https://localhost", True),
    ],
)
def test_the_cookie_is_for_tls_but_on_loopback(
    deployment: Deployment, origin: str, is_secure: bool
) -> None:
    response = deployment.browser(origin=origin).sign_in(deployment.admin_key)
    assert ("secure" in response.headers["set-cookie"].lower()) == is_secure


def test_plain_http_is_warned_of(deployment: Deployment) -> None:
    def page(origin: str, **headers: str) -> str:
        client = TestClient(deployment.app, base_url=origin)
        return str(client.get("/dashboard/sign-in", headers=headers).text)

    assert "plain http" in page("http://pilot.test")
    for origin in ("https://pilot.test", "http://localhost:8000"):
        assert "plain http" not in page(origin)
    # A proxy ended TLS: browsers send this header over TLS only.
    assert "plain http" not in page("http://pilot.test", **{"sec-fetch-site": "none"})


@pytest.mark.parametrize("key", ["", "sk-nonsense", "x" * 600, "sk-pilot-admin-" + "0" * 49, "é\0"])
def test_a_wrong_key_gets_no_session(deployment: Deployment, key: str) -> None:
    response = deployment.browser().sign_in(key)
    assert response.status_code == 401
    assert 'role="alert"' in response.text
    assert "set-cookie" not in response.headers


@pytest.mark.parametrize(
    ("asked", "leads_to"),
    [
        ("completions?model=x&metadata=a%3Db", "/dashboard/completions?model=x&metadata=a%3Db"),
        ("completions/chatcmpl-1", "/dashboard/completions/chatcmpl-1"),
        ("https://evil.test/", None),
        ("//evil.test/", None),
        ("/\\evil.test", None),
        ("\\\\evil.test", None),
        ("javascript:alert(1)", None),
        ("../../v1/models", None),
        ("completions/../../x", None),
        ("completions//evil.test", None),
        ("completions\r\nset-cookie: a=b", None),
        ("x" * 3000, None),
        ("", None),
    ],
)
def test_the_page_after_sign_in_is_of_the_dashboard(
    deployment: Deployment, asked: str, leads_to: str | None
) -> None:
    browser = deployment.browser()
    response = browser.sign_in(deployment.admin_key, asked)
    path = browser.follow("/dashboard/sign-in", response)
    assert path == (leads_to or "/dashboard/completions")
    again = browser.get("/dashboard/sign-in", params={"next": asked})
    assert browser.follow("/dashboard/sign-in", again) == path


def test_a_page_leads_to_sign_in_and_back(deployment: Deployment) -> None:
    browser = deployment.browser()
    response = browser.get("/dashboard/completions?model=a%26b")
    sign_in = browser.follow("/dashboard/completions", response)
    assert sign_in == "/dashboard/sign-in?next=completions%3Fmodel%3Da%2526b"
    page = browser.get(sign_in)
    assert 'value="completions?model=a%26b"' in page.text


def test_a_link_of_another_site_asks_once_more_from_here(deployment: Deployment) -> None:
    """Browsers keep a strict cookie from it, but send it when this page loads itself again."""
    browser = deployment.browser()
    page = browser.get("/dashboard/completions", headers={"sec-fetch-site": "cross-site"})
    assert page.status_code == 401
    assert 'http-equiv="refresh"' in page.text


def test_a_revoked_key_ends_its_sessions(each_deployment: Deployment) -> None:
    project, key, secret = each_deployment.project()
    browser = each_deployment.browser(secret)
    assert browser.get("/dashboard/nothing").status_code == 404
    each_deployment.accounts.keys.revoke(Actor(), project.id, key.id)
    each_deployment.app.state.server.key_cache._answers.clear()  # as 30 s later
    assert browser.get("/dashboard/nothing").status_code == 303


def test_a_session_holds_on_all_instances_and_ends_in_time(each_deployment: Deployment) -> None:
    browser = each_deployment.browser(each_deployment.admin_key)
    other = create_api_app(each_deployment.settings)
    elsewhere = TestClient(other, base_url=browser.origin, follow_redirects=False)
    elsewhere.cookies.set("pilotlight_session", browser.cookie)
    assert elsewhere.get("/dashboard/nothing").status_code == 404
    now = other.state.server.clock()
    other.state.server.clock = lambda: now + 12 * 3600 + 1
    assert elsewhere.get("/dashboard/nothing").status_code == 303
    other.state.server.close()


@pytest.mark.parametrize("store", ["sqlite", "none"])
def test_keys_of_settings_sign_in(tmp_path: Path, store: str) -> None:
    app = create_api_app(Settings(api_key=[SecretStr(KEY)], store=store, data_dir=tmp_path))
    browser = Browser(app)
    assert browser.sign_in("no key").status_code == 401
    assert browser.sign_in(KEY).status_code == 303
    assert KEY not in browser.cookie
    assert browser.get("/dashboard/nothing").status_code == 404
    app.state.server.close()


def test_without_keys_it_is_open_as_the_api_is(tmp_path: Path) -> None:
    app = create_api_app(Settings(data_dir=tmp_path))
    browser = Browser(app, "http://127.0.0.1:8000")
    assert browser.get("/dashboard/nothing").status_code == 404
    assert browser.get("/dashboard/sign-in").status_code == 303
    assert list(tmp_path.iterdir()) == []
    app.state.server.close()


def test_a_failing_store_is_said_on_a_page(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shared.storage.base import StoreError

    async def fail(*_: Any) -> None:
        raise StoreError("secret place")

    monkeypatch.setattr(type(deployment.app.state.server.stores), "in_accounts", fail)
    response = deployment.browser().get("/dashboard/sign-in")
    assert response.status_code == 503
    assert response.headers["retry-after"] == "5"
    assert "secret place" not in response.text


def test_browsers_are_led_there_from_the_root(deployment: Deployment) -> None:
    browser = deployment.browser()
    assert browser.follow("/", browser.get("/")) == "/dashboard"
    assert browser.follow("/dashboard", browser.get("/dashboard")) == "/dashboard/sign-in"
    api_client = browser.client.get("/", headers={"accept": "*/*"})
    assert api_client.status_code == 404
    assert api_client.json()["error"]["code"] == "unknown_url"
