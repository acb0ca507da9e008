"""The list of completions: rows, filters, pages in both directions, on each store."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest

from functions.dashboard.completions.listing import MAX_READ, PAGE_SIZE
from functions.http.api_app import create_api_app
from shared.accounts.audit_log import Actor
from shared.config.settings import Settings
from shared.storage.sqlite.store import SQLiteStore
from tests.dashboard.content import put, response
from tests.dashboard.deployment import Browser, Deployment, text_of

LIST = "/dashboard/completions"


def ids(browser: Browser, path: str) -> list[str]:
    """Ids of the rows of a list."""
    page = browser.get(path)
    assert page.status_code == 200, page.text
    return re.findall(
        r'<th scope="row"[^>]*><a href="\.\./dashboard/completions/([^"?]+)', page.text
    )


def link(browser: Browser, path: str, relation: str) -> str | None:
    """Where a list's link to the page beside it leads."""
    found = re.search(rf'rel="{relation}" href="\.\.(/dashboard/[^"]*)"', browser.get(path).text)
    return unescape(found[1]) if found else None


def test_rows_say_what_a_completion_was(each_deployment: Deployment) -> None:
    project, key, secret = each_deployment.project()
    put(
        each_deployment.store,
        project.id,
        response=response("It is fine.", "length"),
        metadata={"task": "praise", "a": "1", "b": "2", "c": "3", "d": "4"},
        timings={"total_seconds": 1.25},
        key_id=key.id,
        is_incomplete=True,
    )
    page = each_deployment.browser(secret).get(LIST)
    shown = " ".join(text_of(page).split())
    for text in ("Praise 0", "It is fine.", "2025-01-01 00:00:00", "builtin", "1,045", "1.2 s"):
        assert text in shown
    for text in ("$0.0013", "task=praise", "+1", "length", "incomplete"):
        assert text in shown


@pytest.mark.slow
def test_pages_go_back_and_forth(each_deployment: Deployment) -> None:
    project, _, secret = each_deployment.project()
    n = 2 * PAGE_SIZE + 3
    expected = [put(each_deployment.store, project.id, number).id for number in range(n)][::-1]
    browser = each_deployment.browser(secret)
    path: str | None = LIST
    visited = []
    while path is not None:
        visited.append((path, ids(browser, path)))
        path = link(browser, path, "next")
    assert [each for _, page in visited for each in page] == expected
    assert link(browser, LIST, "prev") is None
    back = link(browser, visited[-1][0], "prev")
    assert back is not None
    assert ids(browser, back) == visited[1][1]
    onward = link(browser, back, "next")
    assert onward is not None
    assert ids(browser, onward) == visited[2][1]
    first = link(browser, back, "prev")
    assert first is not None
    # It is the newest page, and shows so by its address.
    redirected = browser.get(first)
    if redirected.status_code == 303:
        first = browser.follow(LIST, redirected)
    assert ids(browser, first) == visited[0][1]


def test_the_newest_page_is_full_whichever_way_one_comes(deployment: Deployment) -> None:
    project, _, secret = deployment.project()
    stored = [put(deployment.store, project.id, number).id for number in range(PAGE_SIZE + 5)]
    browser = deployment.browser(secret)
    response = browser.get(f"{LIST}?before={stored[-3]}")
    assert browser.follow(LIST, response) == LIST
    assert len(ids(browser, LIST)) == PAGE_SIZE


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("", [5, 4, 3, 2, 1, 0]),
        ("kind=text", [7]),
        ("model=big", [1]),
        ("metadata=task%3Dtitles", [3, 2]),
        ("metadata=task%3Dtitles&metadata=rating%3Da%3Db%26c", [3]),
        ("metadata=&metadata=task%3Dtitles", [3, 2]),
        ("model=big&metadata=task%3Dtitles", []),
        ("finish=length", [4]),
        ("finish=incomplete", [5]),
        ("key=key_2", [0]),
        ("since=2025-01-01T00:01&until=2025-01-01T00:02", [5]),
        ("model=builtin&finish=stop&key=", [5, 3, 2, 0]),
    ],
)
def test_filters(each_deployment: Deployment, query: str, numbers: list[int]) -> None:
    project, _, secret = each_deployment.project()
    changes = {
        0: {"key_id": "key_2"},
        1: {"model": "big"},
        2: {"metadata": {"task": "titles"}},
        3: {"metadata": {"task": "titles", "rating": "a=b&c"}},
        4: {"response": response(finish_reason="length")},
        5: {"is_incomplete": True},
    }
    made = {}
    for number in range(6):
        at = 60_000 if number == 5 else number
        made[number] = put(each_deployment.store, project.id, at, **changes[number]).id  # type: ignore[arg-type]
    made[7] = put(each_deployment.store, project.id, 7, "text").id
    browser = each_deployment.browser(secret)
    assert ids(browser, f"{LIST}?{query}") == [made[number] for number in numbers]


@pytest.mark.slow
def test_a_filter_without_an_index_reads_a_bounded_number(deployment: Deployment) -> None:
    project, _, secret = deployment.project()
    wanted = put(deployment.store, project.id, 0, response=response(finish_reason="length")).id
    for number in range(1, MAX_READ + 20):
        put(deployment.store, project.id, number)
    browser = deployment.browser(secret)
    path = f"{LIST}?finish=length"
    assert ids(browser, path) == []
    assert f"None of the {MAX_READ} completions" in text_of(browser.get(path))
    further = link(browser, path, "next")
    assert further is not None
    assert ids(browser, further) == [wanted]
    back = link(browser, further, "prev")
    assert back is not None
    assert browser.get(back).status_code in (200, 303)


@pytest.mark.parametrize(
    "query",
    ["since=tomorrow", "until=9999-99-99", "metadata=nothing", "after=nonsense", "before=cmpl-1"],
)
def test_what_is_no_filter_is_said(deployment: Deployment, query: str) -> None:
    _, _, secret = deployment.project()
    page = deployment.browser(secret).get(f"{LIST}?{query}")
    assert page.status_code == 200
    assert 'role="alert"' in page.text


def test_a_view_without_a_filter_is_a_link(deployment: Deployment) -> None:
    _, _, secret = deployment.project()
    browser = deployment.browser(secret)
    page = browser.get(f"{LIST}?model=m%261&metadata=a%3Db&metadata=c%3Dd%3De")
    links = [unescape(each) for each in re.findall(r'class="chip" href="([^"]*)"', page.text)]
    assert links == [
        "../dashboard/completions?metadata=a%3Db&metadata=c%3Dd%3De",
        "../dashboard/completions?model=m%261&metadata=c%3Dd%3De",
        "../dashboard/completions?model=m%261&metadata=a%3Db",
    ]
    assert 'value="c=d=e"' in page.text


def test_projects_see_their_own(each_deployment: Deployment) -> None:
    mine, _, secret = each_deployment.project("mine")
    other, other_key, _ = each_deployment.project("other")
    own = put(each_deployment.store, mine.id, 1).id
    put(each_deployment.store, other.id, 2)
    browser = each_deployment.browser(secret)
    assert ids(browser, LIST) == [own]
    assert ids(browser, f"{LIST}?project={other.id}") == [own]
    page = browser.get(f"{LIST}?project={other.id}&key={other_key.id}")
    assert "other" not in text_of(page)


def test_administrators_choose_a_project(each_deployment: Deployment) -> None:
    projects = [each_deployment.project(f"project {number}")[0] for number in range(2)]
    stored = [put(each_deployment.store, each.id, n).id for n, each in enumerate(projects)]
    browser = each_deployment.browser(each_deployment.admin_key)
    for project, completion_id in zip(projects, stored, strict=True):
        path = f"{LIST}?project={project.id}"
        assert ids(browser, path) == [completion_id]
        assert f'value="{project.id}" selected' in browser.get(path).text
    each_deployment.accounts.projects.archive(Actor(), projects[0].id)
    assert "project 0 (archived)" in browser.get(LIST).text


def test_empty_lists_say_what_to_do(deployment: Deployment, tmp_path: Path) -> None:
    admin = deployment.browser(deployment.admin_key)
    assert "No projects yet" in text_of(admin.get(LIST))
    _, _, secret = deployment.project()
    browser = deployment.browser(secret)
    shown = text_of(browser.get(LIST))
    assert '"store": true' in shown
    assert "https://pilot.test/v1/chat/completions" in shown
    assert "/v1/completions" in text_of(browser.get(f"{LIST}?kind=text"))
    assert "No completion matches" in text_of(browser.get(f"{LIST}?model=x"))
    app = create_api_app(Settings(store="none", data_dir=tmp_path))
    assert "stores no completions" in text_of(Browser(app).get(LIST))
    app.state.server.close()


def test_aliases_find_what_is_stored_by_the_first_name(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, alias=["small", "s"])
    app = create_api_app(settings)
    browser = Browser(app, "http://127.0.0.1:8000")
    store = SQLiteStore(tmp_path / "completions.sqlite3")
    stored = put(store, "default", model="small").id
    assert ids(browser, f"{LIST}?model=s") == [stored]
    store.close()
    app.state.server.close()
