"""Usage page: by model, key and project, in a range of days, as CSV, and whose it is."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime

import pytest

from shared.accounts.audit_log import Actor
from shared.accounts.ledger.reservation import Reservation
from shared.accounts.ledger.usage import Group, Usage
from tests.dashboard.deployment import Browser, Deployment, text_of

TODAY = datetime.now(UTC).date().isoformat()


def use(deployment: Deployment, project: str, key: str | None, model: str, cost: int = 0) -> None:
    """Count a request."""
    asked = Reservation(id=f"{project}{key}{model}", model=model, tokens=0, cost=0, expires_at=0)
    group = Group(key_id=key, model=model, tier="default")
    deployment.accounts.ledger.settle(project, asked, group, Usage(1, 100, 40, 20, cost, 0, 0))


def rows(browser: Browser, query: str) -> list[dict[str, str]]:
    """The rows of a CSV."""
    response = browser.get(f"/dashboard/usage.csv?{query}")
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert response.headers["cache-control"] == "no-store"
    return list(csv.DictReader(io.StringIO(response.text)))


def test_several_keys_are_several_series(each_deployment: Deployment) -> None:
    project, first, key = each_deployment.project("shop")
    owner = each_deployment.accounts.service_accounts.create(Actor(), project.id, "second")
    second, _ = each_deployment.accounts.keys.issue(Actor(), "second <b>", owner)
    use(each_deployment, project.id, first.id, "small", 3_000_000_000)
    use(each_deployment, project.id, second.id, "large", 1_500_000_000)
    browser = each_deployment.browser(key)

    page = browser.get("/dashboard/usage?by=key")

    assert 'class="series-0"' in page.text
    assert 'class="series-1"' in page.text
    assert "second &lt;b&gt;" in page.text
    assert "$4.50" in text_of(page)
    found = rows(browser, "by=key")
    assert [(row["day"], row["key"], row["name"], row["dollars"]) for row in found] == [
        (TODAY, first.id, "web", "3"),
        (TODAY, second.id, "second <b>", "1.5"),
    ]
    assert found[0]["input_tokens"] == "100"
    assert found[0]["cached_input_tokens"] == "40"
    assert found[0]["output_tokens"] == "20"


def test_a_projects_key_sees_its_own_project_only(deployment: Deployment) -> None:
    mine, key, secret = deployment.project("mine")
    other, other_key, _ = deployment.project("other <i>")
    use(deployment, mine.id, key.id, "small")
    use(deployment, other.id, other_key.id, "secret-model")
    browser = deployment.browser(secret)

    for query in (f"project={other.id}", "by=project", f"by=key&project={other.id}"):
        page = browser.get(f"/dashboard/usage?{query}")
        assert page.status_code == 200
        assert "secret-model" not in page.text
        assert other.id not in page.text
        assert "other" not in {row["name"] for row in rows(browser, query)}
        assert len(rows(browser, query)) == 1


def test_an_administrator_sees_all_projects_or_one(deployment: Deployment) -> None:
    mine, key, _ = deployment.project("mine")
    other, other_key, _ = deployment.project("=other()")
    use(deployment, mine.id, key.id, "small")
    use(deployment, other.id, other_key.id, "large", 1)
    browser = deployment.browser(deployment.admin_key)

    assert {row["name"] for row in rows(browser, "by=project")} == {"mine", "'=other()"}
    assert [row["model"] for row in rows(browser, f"project={mine.id}")] == ["small"]
    page = browser.get(f"/dashboard/usage?by=project&project={other.id}")
    assert f'<option value="{other.id}" selected>' in page.text
    assert f"by=project&amp;project={other.id}" in page.text  # links keep the view


@pytest.mark.parametrize(
    "query",
    [
        *("by=user&from=nonsense&until=2026-13-01", "from=2030-01-01&until=2020-01-01", "by="),
        *("until=0001-01-01", "from=0001-01-01&until=1970-01-01", "from=9999-12-31"),
    ],
)
def test_a_view_that_makes_no_sense_is_the_default(deployment: Deployment, query: str) -> None:
    project, key, secret = deployment.project()
    use(deployment, project.id, key.id, "small")

    page = deployment.browser(secret).get(f"/dashboard/usage?{query}")

    assert page.status_code == 200


def test_days_without_usage_say_so(deployment: Deployment) -> None:
    project, key, secret = deployment.project()
    use(deployment, project.id, key.id, "small")
    browser = deployment.browser(secret)

    query = "from=2026-01-01&until=2026-01-31"

    assert "No usage in this time" in text_of(browser.get(f"/dashboard/usage?{query}"))
    assert rows(browser, query) == []


def test_a_revoked_keys_usage_stays(deployment: Deployment) -> None:
    project, key, _ = deployment.project()
    use(deployment, project.id, key.id, "small")
    deployment.accounts.keys.revoke(Actor(), project.id, key.id)
    browser = deployment.browser(deployment.admin_key)

    (row,) = rows(browser, "by=key")

    assert row["name"] == f"{key.id} (revoked)"
