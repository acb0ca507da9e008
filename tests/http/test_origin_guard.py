"""Requests that a keyless server takes from programs, and refuses from other sites' pages."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from functions.http.app import create_app
from functions.http.origin_guard import OriginGuard
from shared.config.settings import Settings
from shared.runtime.loader import ModelLoader

OWN_HOSTS = [
    *("localhost", "localhost:8000", "LOCALHOST:1", "localhost.", "app.localhost:80"),
    *("127.0.0.1", "127.0.0.1:65535", "127.9.9.9", "[::1]", "[::1]:8000", "[0:0:0:0:0:0:0:1]:1"),
    *("[::ffff:127.0.0.1]:8000", "lamp.example", "lamp.example:9", "LAMP.example", "10.0.0.7:80"),
]
FOREIGN_HOSTS = [
    *("evil.example", "evil.example:8000", "localhost.evil.example", "evillocalhost", "evil"),
    *("127.0.0.1.evil.example", "127.0.0.1@evil.example", "evil.example@127.0.0.1", ""),
    *("0.0.0.0:8000", "192.168.0.1", "[::]", "[fe80::1]", "[::1].evil.example", "x.lamp.example"),
    *("localhost:8000:80", "localhost:port", "127.0.0.1, evil.example", "localhost\\evil", "[::1"),
    *("localhost/", "localhost#", "128.0.0.1", "127.0.0.1.", "null", "l\xf6calhost", "*"),
]
FOREIGN_HOSTS.remove("127.0.0.1.")  # a name's final dot may stand behind an address, too


@pytest.fixture(scope="module")
def http() -> TestClient:
    """A client of a keyless app, as `pilotlight serve` guards it."""
    settings = Settings(allowed_hosts=["Lamp.Example", "10.0.0.7"])
    app = create_app(settings, ModelLoader(settings))
    app.state.server.guard = OriginGuard(settings.allowed_hosts).check
    return TestClient(app, base_url="http://127.0.0.1:8000", follow_redirects=False)


def assert_refused(http: TestClient, headers: dict[str, str], code: str) -> None:
    """Every path and method refuses requests with ``headers``."""
    raw = {name.encode(): value.encode("latin-1") for name, value in headers.items()}
    for method, path in [
        ("POST", "/v1/chat/completions"),
        ("POST", "/completion"),
        ("POST", "/nowhere"),
        ("GET", "/v1/models"),
        ("GET", "/health"),
        ("GET", "/docs"),
        ("GET", "/"),
        ("HEAD", "/metrics"),
        ("OPTIONS", "/v1/chat/completions"),
        ("DELETE", "/v1/chat/completions/x"),
    ]:
        response = http.request(method, path, headers=raw)
        assert response.status_code == 403
        assert not any(name.startswith("access-control") for name in response.headers)
        if method != "HEAD":
            error = response.json()["error"]
            assert (error["type"], error["code"]) == ("permission_error", code)
            assert "--api-key" in error["message"]
            assert "--allowed-hosts" in error["message"]


@pytest.mark.parametrize("host", OWN_HOSTS)
def test_own_hosts_are_served(http: TestClient, host: str) -> None:
    assert http.get("/metrics", headers={"host": host}).status_code == 200


@pytest.mark.sweep(3)
@pytest.mark.parametrize("host", FOREIGN_HOSTS)
def test_other_hosts_are_refused(http: TestClient, host: str) -> None:
    assert_refused(http, {"host": host}, "foreign_host")


@pytest.mark.parametrize("scheme", ["http", "https", "tauri"])
@pytest.mark.parametrize("host", OWN_HOSTS)
def test_pages_of_own_hosts_are_served(http: TestClient, scheme: str, host: str) -> None:
    headers = {"origin": f"{scheme}://{host}", "sec-fetch-site": "cross-site"}
    assert http.get("/metrics", headers=headers).status_code == 200


@pytest.mark.sweep(2)
@pytest.mark.parametrize(
    "origin",
    [
        *(f"http://{host}" for host in FOREIGN_HOSTS),
        *("null", "", "localhost", "file://", "//localhost", "http:localhost", "http://"),
        *("https://evil.example", "chrome-extension://abcdefgh", "http://localhost http://evil"),
    ],
)
def test_pages_of_other_hosts_are_refused(http: TestClient, origin: str) -> None:
    assert_refused(http, {"origin": origin}, "foreign_origin")


@pytest.mark.parametrize(
    "fetch",
    [
        {"site": "cross-site"},
        {"site": "Cross-Site"},
        {"site": "cross-site", "mode": "no-cors", "dest": "image"},
        {"site": "cross-site", "mode": "navigate", "dest": "iframe"},
    ],
)
def test_what_other_pages_embed_is_refused(http: TestClient, fetch: dict[str, str]) -> None:
    headers = {f"sec-fetch-{name}": value for name, value in fetch.items()}
    assert_refused(http, headers, "foreign_origin")


LINK = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


def test_a_link_may_be_followed_and_a_form_not_be_sent(http: TestClient) -> None:
    assert http.get("/docs", headers=LINK).status_code == 200
    assert http.post("/v1/chat/completions", headers=LINK).status_code == 403


@pytest.mark.parametrize("site", ["none", "same-origin", "same-site"])
def test_own_pages_and_typed_addresses_are_served(http: TestClient, site: str) -> None:
    assert http.get("/docs", headers={"sec-fetch-site": site}).status_code == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded"])
def test_simple_posts_of_other_pages_are_refused(http: TestClient, kind: str) -> None:
    headers = {"origin": "https://evil.example", "content-type": kind}
    body = '{"messages": [{"role": "user", "content": "Hi"}], "store": true}'
    response = http.post("/v1/chat/completions", content=body, headers=headers)
    assert response.status_code == 403
    assert "https://evil.example" in response.json()["error"]["message"]


def test_one_foreign_origin_among_several_is_enough(http: TestClient) -> None:
    headers = [("origin", "http://localhost"), ("origin", "http://evil.example")]
    assert http.get("/v1/models", headers=headers).status_code == 403


@pytest.mark.parametrize("host", ["http://lamp", "lamp:8000", "[::1]", "*", "a b", "lamp/"])
def test_allowed_hosts_are_names(host: str) -> None:
    with pytest.raises(ValueError, match="leave out scheme, port"):
        Settings(allowed_hosts=[host])


def test_allowed_hosts_may_be_ipv6_addresses(http: TestClient) -> None:
    guard = OriginGuard(Settings.model_validate({"allowed_hosts": "fd00::7, lamp"}).allowed_hosts)
    guard.check("GET", [(b"host", b"[fd00::7]:80"), (b"origin", b"https://lamp")])
