"""An attacker's checklist: cookies, forms of other sites, frames, paths, other projects' data."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import pytest
from itsdangerous import URLSafeSerializer

from functions.dashboard.session import COOKIE
from tests.dashboard.content import put
from tests.dashboard.deployment import Browser, Deployment

LIST = "/dashboard/completions"


def claims_of(cookie: str) -> dict[str, Any]:
    """What a cookie says."""
    payload = cookie.rpartition(".")[0].encode()
    claims: dict[str, Any] = URLSafeSerializer("").load_payload(payload)
    return claims


def with_cookie(deployment: Deployment, value: str) -> Browser:
    """A browser with a cookie that no sign-in has set."""
    browser = deployment.browser()
    browser.client.cookies.set(COOKIE, value)
    return browser


def is_signed_in(browser: Browser) -> bool:
    """Whether it sees a page for those who have signed in."""
    return browser.get(LIST).status_code == 200


class TestCookies:
    """Forged, changed, expired, and another's."""

    def test_claims_can_not_be_changed(self, deployment: Deployment) -> None:
        _, _, secret = deployment.project()
        cookie = deployment.browser(secret).cookie
        claims = claims_of(cookie)
        assert claims["role"] == "project"
        for change in (
            {"role": "admin", "project_id": None},
            {"project_id": "proj_other"},
            {"expires_at": 2**40},
        ):
            changed = json.dumps({**claims, **change}).encode()
            payload = base64.urlsafe_b64encode(changed).decode().rstrip("=")
            forged = f"{payload}.{cookie.rpartition('.')[2]}"
            assert not is_signed_in(with_cookie(deployment, forged))
        assert is_signed_in(with_cookie(deployment, cookie))

    @pytest.mark.parametrize("value", ["", ".", "e30.", "null", "a.b.c", "x" * 8000, "é", '"a'])
    def test_nonsense_is_no_session(self, deployment: Deployment, value: str) -> None:
        browser = deployment.browser()
        headers = {"cookie": f"{COOKIE}={value}".encode()}
        assert browser.get(LIST, headers=headers).status_code == 303

    def test_another_secret_signs_in_vain(self, deployment: Deployment) -> None:
        cookie = deployment.browser(deployment.admin_key).cookie
        claims = claims_of(cookie)
        for secret in ("", "secret", "dashboard"):
            forged = URLSafeSerializer(secret, salt="pilotlight.dashboard.session").dumps(claims)
            assert not is_signed_in(with_cookie(deployment, str(forged)))

    def test_a_session_ends(self, deployment: Deployment) -> None:
        state = deployment.app.state.server
        now = state.clock()
        state.clock = lambda: now  # while it signs in, too, which takes its time on a busy machine
        browser = deployment.browser(deployment.admin_key)
        state.clock = lambda: now + 12 * 3600 - 1
        assert is_signed_in(browser)
        state.clock = lambda: now + 12 * 3600 + 1
        assert not is_signed_in(browser)

    def test_a_stolen_cookie_of_another_project_shows_that_project_only(
        self, deployment: Deployment
    ) -> None:
        mine, _, my_secret = deployment.project("mine")
        theirs, _, their_secret = deployment.project("theirs")
        own = put(deployment.store, mine.id, 1)
        other = put(deployment.store, theirs.id, 2)
        stolen = with_cookie(deployment, deployment.browser(their_secret).cookie)
        assert stolen.get(f"{LIST}/{other.id}").status_code == 200
        assert stolen.get(f"{LIST}/{own.id}").status_code == 404
        # And its forms have no token of my session's.
        my_browser = deployment.browser(my_secret)
        form = {"csrf_token": stolen.token(f"{LIST}/{other.id}/delete")}
        headers = {"origin": my_browser.origin, "sec-fetch-site": "same-origin"}
        path = f"{LIST}/{own.id}/delete"
        assert my_browser.client.post(path, data=form, headers=headers).status_code == 403

    def test_a_session_is_no_key_of_the_api(self, deployment: Deployment) -> None:
        browser = deployment.browser(deployment.project()[2])
        for headers in ({}, {"authorization": f"Bearer {browser.cookie}"}):
            answer = browser.client.get("/v1/chat/completions", headers=headers)
            assert answer.status_code == 401

    def test_a_key_of_the_api_is_no_session(self, deployment: Deployment) -> None:
        headers = {"authorization": f"Bearer {deployment.admin_key}"}
        assert deployment.browser().get(LIST, headers=headers).status_code == 303


class TestOtherProjects:
    """A project reaches nothing of another one, whatever it asks for."""

    @pytest.mark.parametrize("action", ["", "/delete", "/completion.json", "/request.json"])
    def test_pages(self, deployment: Deployment, action: str) -> None:
        theirs, _, _ = deployment.project("theirs")
        other = put(deployment.store, theirs.id, 2)
        browser = deployment.browser(deployment.project("mine")[2])
        page = browser.get(f"{LIST}/{other.id}{action}?project={theirs.id}")
        if action == "/delete":  # asks, without looking
            assert "theirs" not in page.text
        else:
            assert page.status_code == 404

    def test_forms(self, deployment: Deployment) -> None:
        theirs, _, _ = deployment.project("theirs")
        other = put(deployment.store, theirs.id, 2, metadata={"a": "1"})
        browser = deployment.browser(deployment.project("mine")[2])
        page = f"{LIST}/{other.id}/delete"
        path = f"{page}?project={theirs.id}"
        assert browser.post(path, token_of=page).status_code == 404
        form = {"name": ["a"], "value": ["2"]}
        path = f"{LIST}/{other.id}/metadata?project={theirs.id}"
        assert browser.post(path, form, token_of=page).status_code == 404
        assert deployment.store.get(theirs.id, "chat", other.id) == other


def forms(completion_id: str) -> list[str]:
    """Where forms are sent to."""
    one = f"{LIST}/{completion_id}"
    return ["/dashboard/sign-in", "/dashboard/sign-out", f"{one}/delete", f"{one}/metadata"]


class TestCrossSiteForms:
    """Forms that another site's page sends, with whatever a browser lets it send."""

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"origin": "https://evil.test"},
            {"origin": "null"},
            {"origin": "https://pilot.test.evil.test"},
            {"origin": "https://pilot.test:444"},
            {"origin": "https://evil.test", "sec-fetch-site": "cross-site"},
            {"origin": "https://pilot.test", "sec-fetch-site": "cross-site"},
            {"origin": "https://pilot.test", "sec-fetch-site": "same-site"},
            {"sec-fetch-site": "none"},
            {"referer": "https://pilot.test/dashboard"},
        ],
    )
    def test_origins(self, deployment: Deployment, headers: dict[str, str]) -> None:
        project, _, secret = deployment.project()
        completion = put(deployment.store, project.id)
        browser = deployment.browser(secret)
        token = browser.token(f"{LIST}/{completion.id}/delete")
        for path in forms(completion.id):
            sent = {"csrf_token": token, "key": deployment.admin_key}
            answer = browser.client.post(path, data=sent, headers=headers)
            assert answer.status_code == 403
            assert "set-cookie" not in answer.headers
        assert deployment.store.get(project.id, "chat", completion.id) is not None

    @pytest.mark.parametrize("token", [None, "", "0" * 64, "é", "no session"])
    def test_tokens(self, deployment: Deployment, token: str | None) -> None:
        project, _, secret = deployment.project()
        completion = put(deployment.store, project.id)
        browser = deployment.browser(secret)
        headers = {"origin": browser.origin, "sec-fetch-site": "same-origin"}
        for path in forms(completion.id):
            sent = {"x": ""} if token is None else {"csrf_token": token}
            answer = browser.client.post(path, data=sent, headers=headers)
            assert answer.status_code == 403
        assert deployment.store.get(project.id, "chat", completion.id) is not None

    def test_a_token_from_before_sign_in_is_of_no_session(self, deployment: Deployment) -> None:
        browser = deployment.browser()
        before = browser.token("/dashboard/sign-in")
        project, _, secret = deployment.project()
        browser.sign_in(secret)
        completion = put(deployment.store, project.id)
        headers = {"origin": browser.origin}
        path = f"{LIST}/{completion.id}/delete"
        answer = browser.client.post(path, data={"csrf_token": before}, headers=headers)
        assert answer.status_code == 403

    def test_browsers_that_know_no_fetch_metadata_send_the_origin(
        self, deployment: Deployment
    ) -> None:
        browser = deployment.browser()
        form = {"key": deployment.admin_key, "csrf_token": browser.token("/dashboard/sign-in")}
        headers = {"origin": browser.origin}
        answer = browser.client.post("/dashboard/sign-in", data=form, headers=headers)
        assert answer.status_code == 303

    @pytest.mark.parametrize(
        ("media_type", "body", "status"),
        [
            ("text/plain", b"csrf_token=x", 415),
            ("application/json", b"{}", 415),
            ("multipart/form-data; boundary=x", b"--x--", 415),
            ("application/x-www-form-urlencoded", b"a=" + b"x" * 200_000, 413),
            ("application/x-www-form-urlencoded", b"&".join([b"a=b"] * 500), 400),
            ("application/x-www-form-urlencoded", b"\xff\xfe", 400),
        ],
    )
    def test_what_is_no_form(
        self, deployment: Deployment, media_type: str, body: bytes, status: int
    ) -> None:
        browser = deployment.browser(deployment.admin_key)
        headers = {"origin": browser.origin, "content-type": media_type}
        path = f"{LIST}/chatcmpl-1/delete"
        assert browser.client.post(path, content=body, headers=headers).status_code == status


def test_every_answer_has_the_headers_that_protect_it(deployment: Deployment) -> None:
    project, _, secret = deployment.project()
    completion = put(deployment.store, project.id)
    browser = deployment.browser(secret)
    static = re.findall(r'(?:href|src)="\.\.(/dashboard/static/[^"]+)"', browser.get(LIST).text)
    assert len(set(static)) >= 4
    paths = [LIST, f"{LIST}/{completion.id}", f"{LIST}/{completion.id}/completion.json", *static]
    paths += ["/dashboard", "/dashboard/sign-in", "/dashboard/no", "/dashboard/static/no.css"]
    for path in paths:
        for answer in (browser.get(path), browser.client.post(path)):
            if answer.status_code == 405:
                continue
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert answer.headers["x-frame-options"] == "DENY"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "same-origin"
            assert "access-control-allow-origin" not in answer.headers
            is_static = path in static and answer.request.method == "GET"
            cached = "public, max-age=31536000, immutable" if is_static else "no-store"
            assert answer.headers["cache-control"] == cached


@pytest.mark.parametrize(
    "path",
    [
        "/dashboard/static/..%2f..%2fsession.py",
        "/dashboard/static/../session.py",
        "/dashboard/static/%2e%2e/session.py",
        "/dashboard/static//etc/passwd",
        "/dashboard/static/style.css",
        "/dashboard/static/htmx.min.js.LICENSE",
        "/dashboard/static/",
        "/dashboard/static",
        "/dashboard/completions/..%2f..%2fv1%2fmodels",
        "/dashboard/../v1/chat/completions",
        "/dashboard/%2e%2e/v1/chat/completions",
        "/dashboard//v1/models",
        "//dashboard/completions",
        "/dashboard\\..\\v1",
        "/dashboardx/completions",
        "/DASHBOARD/completions",
    ],
)
def test_path_tricks_lead_nowhere(deployment: Deployment, path: str) -> None:
    """Neither to files nor past the authentication of the API."""
    browser = deployment.browser()
    answer = browser.client.get(f"{browser.origin}{path}", headers={"accept": "text/html"})
    assert answer.status_code in (303, 401, 404)
    assert "import" not in answer.text
    signed_in = deployment.browser(deployment.project()[2])
    answer = signed_in.client.get(f"{browser.origin}{path}")
    assert answer.status_code in (401, 404)


def test_static_files_are_what_their_names_say(deployment: Deployment) -> None:
    browser = deployment.browser()
    page = browser.get("/dashboard/sign-in").text
    for path in set(re.findall(r'(?:href|src)="\.\.(/dashboard/static/[^"]+)"', page)):
        answer = browser.get(path)
        assert answer.status_code == 200
        kind = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
        assert answer.headers["content-type"].startswith(kind[path.rpartition(".")[2]])


def test_pages_name_no_other_server(deployment: Deployment) -> None:
    """What pages load comes from here, the style sheet included; scripts have no code of theirs."""
    browser = deployment.browser()
    page = browser.get("/dashboard/sign-in").text
    for path in re.findall(r'(?:href|src)="\.\.(/dashboard/static/[^"]+css)"', page):
        assert "url(" not in browser.get(path).text
    assert re.findall(r"<script(?![^>]*\bsrc=)", page) == []
    assert re.findall(r"https?://", page) == []


@pytest.mark.parametrize("role", ["admin", "project"])
def test_cors_does_not_open_pages(deployment: Deployment, role: str) -> None:
    from functions.http.api_app import create_api_app

    settings = deployment.settings.model_copy(update={"cors_origins": ["*"]})
    app = create_api_app(settings)
    browser = Browser(app)
    browser.sign_in(deployment.admin_key if role == "admin" else deployment.project()[2])
    page = browser.get(LIST, headers={"origin": "https://evil.test"})
    assert page.status_code == 200
    assert "access-control-allow-origin" not in page.headers
    headers = {"origin": "https://evil.test", "access-control-request-method": "POST"}
    preflight = browser.client.options("/dashboard/sign-in", headers=headers)
    assert "access-control-allow-origin" not in preflight.headers
    app.state.server.close()
