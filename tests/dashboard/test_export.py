"""Export of a view: the lines that the terminal makes, streamed, on each store."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any

import pytest

from functions.dashboard.pages import export
from shared.storage.export.lines import PAGE_SIZE
from tests.dashboard.content import put, response
from tests.dashboard.deployment import Browser, Deployment, text_of

EXPORT = "/dashboard/export"
FILE = f"{EXPORT}/completions.jsonl"


def lines(browser: Browser, query: str) -> list[Any]:
    """The lines of a file."""
    answer = browser.get(f"{FILE}?{query}")
    assert answer.status_code == 200
    return [json.loads(line) for line in answer.text.splitlines()]


def test_a_view_becomes_examples(each_deployment: Deployment) -> None:
    project, _, secret = each_deployment.project()
    for number in range(3):
        put(each_deployment.store, project.id, number, metadata={"odd": str(number % 2)})
    cut = response("Cut", "length")
    put(each_deployment.store, project.id, 3, response=cut, metadata={"odd": "1"})
    browser = each_deployment.browser(secret)
    page = browser.get(f"{EXPORT}?metadata=odd%3D0")
    assert "The newest 2 completions give 2 lines" in " ".join(text_of(page).split())
    found = re.search(r'class="button primary" href="\.\.(/dashboard/export/[^"]*)"', page.text)
    assert found is not None
    answer = browser.get(unescape(found[1]))
    messages = [json.loads(line)["messages"] for line in answer.text.splitlines()]
    assert [each[0]["content"] for each in messages] == ["Praise 2", "Praise 0"]
    assert messages[0][-1]["role"] == "assistant"
    disposition = answer.headers["content-disposition"]
    assert re.fullmatch(r'attachment; filename="messages-chat-[\d-]+\.jsonl"', disposition)
    assert len(lines(browser, "metadata=odd%3D1")) == 1
    assert len(lines(browser, "metadata=odd%3D1&include=length")) == 2
    assert len(lines(browser, "finish=length&include=length")) == 1
    assert "left out: 1 cut by length" in text_of(browser.get(f"{EXPORT}?finish=length"))


def test_forms_of_lines(deployment: Deployment) -> None:
    project, _, secret = deployment.project()
    answer = response("Fine", reasoning_content="Hm")
    answer["choices"] += response("Good")["choices"]
    put(deployment.store, project.id, response=answer)
    put(deployment.store, project.id, 1, "text")
    browser = deployment.browser(secret)
    assert lines(browser, "format=openai-evals")[0]["item"]["ideal"] == "Fine"
    assert lines(browser, "format=raw")[0]["tenant"] == project.id
    assert len(lines(browser, "choices=all")) == 2
    assert "reasoning_content" not in lines(browser, "")[0]["messages"][-1]
    assert lines(browser, "reasoning=on")[0]["messages"][-1]["reasoning_content"] == "Hm"
    assert set(lines(browser, "kind=text")[0]) == {"prompt", "completion"}


@pytest.mark.slow
def test_a_file_has_a_bounded_number_of_completions(deployment: Deployment) -> None:
    project, _, secret = deployment.project()
    n = PAGE_SIZE + 20
    for number in range(n):
        reason = "stop" if number % 2 else "length"
        put(deployment.store, project.id, number, response=response(str(number), reason))
    browser = deployment.browser(secret)
    assert len(lines(browser, "limit=100&include=length")) == 100
    assert len(lines(browser, "limit=10000&include=length")) == n
    assert len(lines(browser, "limit=9&include=length")) == n  # no choice of the form's
    assert len(lines(browser, "limit=100&finish=stop")) == n // 2


@pytest.mark.slow
def test_a_download_that_takes_too_long_fails(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The connection ends before the body does, which browsers tell as a failed download."""
    project, _, secret = deployment.project()
    for number in range(PAGE_SIZE + 1):
        put(deployment.store, project.id, number)
    browser = deployment.browser(secret)
    monkeypatch.setattr(export, "SECONDS", -1.0)
    assert len(browser.get(FILE).text.splitlines()) == PAGE_SIZE
    assert "an export took too long" in caplog.text


def test_projects_export_their_own(deployment: Deployment) -> None:
    theirs, _, _ = deployment.project("theirs")
    put(deployment.store, theirs.id, 1)
    mine, _, secret = deployment.project("mine")
    put(deployment.store, mine.id, 2)
    browser = deployment.browser(secret)
    assert [line["tenant"] for line in lines(browser, f"format=raw&project={theirs.id}")] == [
        mine.id
    ]
    admin = deployment.browser(deployment.admin_key)
    found = lines(admin, f"format=raw&project={theirs.id}")
    assert [line["tenant"] for line in found] == [theirs.id]


def test_what_can_not_be_exported_is_said(deployment: Deployment) -> None:
    admin = deployment.browser(deployment.admin_key)
    assert admin.get(FILE).status_code == 400
    _, _, secret = deployment.project()
    browser = deployment.browser(secret)
    assert browser.get(f"{FILE}?since=never").status_code == 400
    assert "No completion matches" in text_of(browser.get(EXPORT))
    assert lines(browser, "") == []
