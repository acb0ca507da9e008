"""Keys pages: make, limit, budget, revoke, rename; who may, and where a new key is to be found."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest

from functions.dashboard.page_table import PAGES
from shared.accounts.api_keys import Holder
from shared.accounts.audit_log import Actor, AuditQuery
from shared.accounts.key_format import hash_of
from shared.accounts.limits import RateLimits
from tests.dashboard.deployment import Browser, Deployment, text_of

_SECRET = re.compile(r"sk-pilot-(?:proj|admin)-[A-Za-z0-9]{20,}")


def holder(deployment: Deployment, secret: str) -> Holder | None:
    """Whose key it is."""
    return deployment.accounts.keys.holder(hash_of(secret.encode()))


def events(deployment: Deployment) -> list[tuple[str, str | None]]:
    """Types of events in the audit log and whose key made the change, the newest first."""
    page = deployment.accounts.audit_log.list(AuditQuery(limit=10))
    return [(event.type, event.actor.key_id) for event in page.events]


def make(browser: Browser, path: str, **form: str) -> tuple[Any, str]:
    """The page after a key was made, and the key."""
    page = browser.post(path, form)
    assert page.status_code == 200
    (secret,) = set(_SECRET.findall(page.text))
    return page, secret


def admin_id(deployment: Deployment) -> str:
    """Id of the administrator's key."""
    found = holder(deployment, deployment.admin_key)
    assert found is not None
    return found.key.id


def test_a_key_is_made_and_shown_once(
    each_deployment: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    project, _, _ = each_deployment.project("shop")
    browser = each_deployment.browser(each_deployment.admin_key)
    path = f"/dashboard/keys/{project.id}"

    with caplog.at_level(logging.DEBUG):
        page, secret = make(browser, path, name="till <b>", days="30")

    assert page.headers["cache-control"] == "no-store"
    assert "location" not in page.headers
    assert "set-cookie" not in page.headers
    assert secret not in caplog.text
    found = holder(each_deployment, secret)
    assert found is not None
    assert found.project is not None
    assert (found.key.name, found.project.id) == ("till <b>", project.id)
    assert found.key.expires_at == found.key.created_at + 30 * 86400
    assert events(each_deployment)[0] == ("api_key.created", admin_id(each_deployment))
    again = browser.get(path).text
    assert secret not in again
    assert "till &lt;b&gt;" in again


def test_an_admin_key_is_made_and_revoked(deployment: Deployment) -> None:
    browser = deployment.browser(deployment.admin_key)

    _, secret = make(browser, "/dashboard/keys/admin-keys", name="colleague")

    found = holder(deployment, secret)
    assert found is not None
    assert found.project is None
    path = f"/dashboard/keys/admin-keys/{found.key.id}/revoke"
    assert "colleague" in text_of(browser.get(path))
    response = browser.post(path)
    assert browser.follow(path, response) == "/dashboard/keys/admin-keys?done=revoked"
    assert holder(deployment, secret) is None
    own = browser.get(f"/dashboard/keys/admin-keys/{admin_id(deployment)}/revoke")
    assert "signs you out" in text_of(own)


def test_a_key_is_revoked_once_that_is_confirmed(each_deployment: Deployment) -> None:
    project, key, secret = each_deployment.project()
    browser = each_deployment.browser(each_deployment.admin_key)
    path = f"/dashboard/keys/{project.id}/{key.id}/revoke"

    assert "Revoke “web”?" in text_of(browser.get(path))
    assert holder(each_deployment, secret) is not None
    response = browser.post(path)

    assert response.status_code == 303
    assert holder(each_deployment, secret) is None
    after = browser.get(browser.follow(path, response))
    assert "The key is revoked" in text_of(after)
    assert "No keys yet" in text_of(after)
    assert events(each_deployment)[0] == ("api_key.deleted", admin_id(each_deployment))
    assert browser.get(path).status_code == 404


def test_budget_and_limits_are_set_and_removed(deployment: Deployment) -> None:
    project, _, _ = deployment.project()
    browser = deployment.browser(deployment.admin_key)
    path = f"/dashboard/keys/{project.id}"
    model = next(iter(deployment.settings.own))

    def current() -> Any:
        return deployment.accounts.projects.get(project.id)

    browser.post(f"{path}/budget", {"dollars": "12.50"}, token_of=path)
    assert current().spend_limit == 1250
    assert "$0.00 of $12.50 spent this month, $12.50 left" in text_of(browser.get(path))
    browser.post(f"{path}/limits", {"model": model, "tokens_per_minute": "9000"}, token_of=path)
    assert current().rate_limits == {model: RateLimits(tokens_per_minute=9000)}
    assert 'value="9000"' in browser.get(path).text
    types = [type for type, _ in events(deployment)]
    assert types[:2] == ["rate_limit.updated", "project.updated"]

    browser.post(f"{path}/budget", {"dollars": ""}, token_of=path)
    browser.post(f"{path}/limits", {"model": model}, token_of=path)
    assert current().spend_limit is None
    assert current().rate_limits == {}


@pytest.mark.parametrize(
    ("form", "fields"),
    [
        ("budget", {"dollars": "much"}),
        ("budget", {"dollars": "-1"}),
        ("budget", {"dollars": "1.001"}),
        ("budget", {"dollars": "NaN"}),
        ("budget", {"dollars": "1e999999"}),
        ("limits", {"model": "small", "tokens_per_minute": "0"}),
        ("limits", {"model": "small", "tokens_per_minute": "1e3"}),
        ("limits", {"model": "<script>"}),
        ("name", {"name": " "}),
        ("", {"name": ""}),
        ("", {"name": "x" * 257}),
        ("", {"name": "ok", "days": "0"}),
    ],
)
def test_what_makes_no_sense_is_refused(
    deployment: Deployment, form: str, fields: dict[str, str]
) -> None:
    project, _, _ = deployment.project()
    browser = deployment.browser(deployment.admin_key)
    path = f"/dashboard/keys/{project.id}"
    before = len(events(deployment))

    response = browser.post(f"{path}/{form}" if form else path, fields, token_of=path)

    assert response.status_code == 400
    assert len(events(deployment)) == before


def test_projects_are_made_listed_and_renamed(deployment: Deployment) -> None:
    browser = deployment.browser(deployment.admin_key)
    assert "No projects yet" in text_of(browser.get("/dashboard/keys"))

    response = browser.post("/dashboard/keys", {"name": "<img src=x>"})

    path = browser.follow("/dashboard/keys", response).partition("?")[0]
    assert "&lt;img src=x&gt;" in browser.get("/dashboard/keys").text
    browser.post(f"{path}/name", {"name": "shop"}, token_of=path)
    assert "shop" in text_of(browser.get("/dashboard/keys"))
    assert events(deployment)[1][0] == "project.created"


def test_an_archived_projects_page_has_no_forms(deployment: Deployment) -> None:
    project, _, _ = deployment.project()
    deployment.accounts.projects.archive(Actor(), project.id)
    browser = deployment.browser(deployment.admin_key)

    page = browser.get(f"/dashboard/keys/{project.id}")

    assert "This project is archived" in text_of(page)
    assert "inactive" in text_of(page)
    assert "Make key" not in page.text


def test_a_projects_key_sees_itself_and_changes_nothing(each_deployment: Deployment) -> None:
    project, key, secret = each_deployment.project("mine")
    other, _, _ = each_deployment.project("other")
    each_deployment.accounts.limit_spending(Actor(), project.id, 500)
    browser = each_deployment.browser(secret)
    before = len(events(each_deployment))

    page = browser.get("/dashboard/keys")

    assert "mine" in text_of(page)
    assert "$5.00 left" in text_of(page)
    assert key.redacted in page.text
    for place in (project.id, other.id, "admin-keys"):
        assert browser.get(f"/dashboard/keys/{place}").status_code == 403
        for form in ("", "/budget", "/limits", "/name", f"/{key.id}/revoke"):
            path = f"/dashboard/keys/{place}{form}"
            response = browser.post(path, {"name": "x"}, token_of="/dashboard/keys")
            assert response.status_code == 403
    response = browser.post("/dashboard/keys", {"name": "x"}, token_of="/dashboard/keys")
    assert response.status_code == 403
    assert len(events(each_deployment)) == before


_POSTED = [page.path for page in PAGES if page.method == "POST" and page.access != "anybody"]


@pytest.mark.parametrize("path", _POSTED)
def test_no_form_is_taken_without_its_token_or_from_another_site(
    deployment: Deployment, path: str
) -> None:
    project, key, _ = deployment.project()
    browser = deployment.browser(deployment.admin_key)
    place = {"project_id": project.id, "key_id": key.id, "completion_id": "chatcmpl-1"}
    path = f"/dashboard{path.format(**place)}"
    form = {"name": "mine", "dollars": "1", "csrf_token": browser.token("/dashboard/keys")}
    before = events(deployment)

    own = {"origin": browser.origin, "sec-fetch-site": "same-origin"}
    cross = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
    responses = [
        browser.client.post(path, data={**form, "csrf_token": "0" * 64}, headers=own),
        browser.client.post(path, data={**form, "csrf_token": ""}, headers=own),
        browser.client.post(path, data=form, headers=cross),
    ]

    assert [response.status_code for response in responses] == [403, 403, 403]
    assert events(deployment) == before
