"""Completions in a browser: filters, and pages back and forth."""

from __future__ import annotations

import json
import re

from playwright.sync_api import Page, expect

from tests.browser.dashboard import Visit, violations


def rows(page: Page) -> list[str]:
    """The addresses of the completions that are shown."""
    links = page.locator("table.completions tbody th a")
    return [str(link.get_attribute("href")) for link in links.all()]


def test_filter_by_metadata_and_model(visit: Visit) -> None:
    page = visit.page
    visit.sign_in("shop")
    page.get_by_text("Filters", exact=True).click()
    page.get_by_label("Metadata").fill("task=review-sentiment")
    page.get_by_label("Model").fill("small")
    page.get_by_role("button", name="Apply").click()

    expect(page).to_have_url(re.compile(r"model=small"))
    found = page.locator("table.completions tbody tr")
    expect(found.first).to_be_visible()
    for row in found.all():
        expect(row).to_contain_text("task=review-sentiment")
        expect(row).to_contain_text("small")
    filtered = len(rows(page))
    page.get_by_role("list", name="Active filters").get_by_role("link").first.click()
    expect(page.get_by_role("list", name="Active filters").get_by_role("link")).to_have_count(1)
    assert len(rows(page)) >= filtered


def test_pages_back_and_forth(visit: Visit) -> None:
    page = visit.page
    visit.sign_in("shop")
    first = rows(page)
    page.get_by_role("link", name="Older").click()
    expect(page.locator("table.completions tbody th a").first).not_to_have_attribute(
        "href", first[0]
    )
    second = rows(page)
    assert not set(first) & set(second)

    page.get_by_role("link", name="Newer").click()
    expect(page.locator("table.completions tbody th a").first).to_have_attribute("href", first[0])
    page.go_back()
    expect(page.locator("table.completions tbody th a").first).to_have_attribute("href", second[0])


def open_first(visit: Visit, query: str) -> None:
    """Open the first completion of a filtered list."""
    visit.open(f"completions?{query}")
    visit.page.locator("table.completions tbody th a").first.click()
    visit.page.get_by_role("region", name="Conversation").wait_for()


def test_a_conversation_with_tool_calls_is_read(visit: Visit) -> None:
    visit.sign_in("support desk")
    open_first(visit, "metadata=task%3Dorder-status&finish=stop")

    turns = visit.page.get_by_role("region", name="Conversation").get_by_role("article")
    expect(turns).to_have_count(5)
    expect(turns.nth(2)).to_contain_text("get_order")
    expect(turns.nth(2)).to_contain_text('"order_id": "A-')
    expect(turns.nth(3)).to_contain_text("in transit")
    expect(turns.nth(4)).to_contain_text("is on its way")
    assert violations(visit.page) == []
    visit.page.get_by_text("Ask again with curl").click()
    expect(visit.page.locator("#curl")).to_contain_text("/v1/chat/completions")


def test_log_probabilities_are_shaded_tokens(visit: Visit) -> None:
    visit.sign_in("shop")
    open_first(visit, "metadata=task%3Dproduct-question")

    shown = visit.page.get_by_role("region", name="Token probabilities")
    expect(shown.locator(".tokens .token").first).to_have_attribute("title", re.compile(r"\d %"))
    shown.get_by_text("Tokens and alternatives as a table").click()
    expect(shown.get_by_role("table")).to_be_visible()
    assert violations(visit.page) == []


def test_a_completion_is_deleted(visit: Visit) -> None:
    page = visit.page
    visit.sign_in("research")
    open_first(visit, "metadata=task%3Destimates")
    address = page.url.partition("?")[0]

    page.get_by_role("link", name="Delete").click()
    expect(page.get_by_role("heading", name="Delete this completion?")).to_be_visible()
    page.get_by_role("button", name="Delete").click()

    expect(page.get_by_role("heading", name="Completions", exact=True)).to_be_visible()
    page.goto(address)
    expect(page.get_by_text("Error 404")).to_be_visible()
    assert all("404" in each for each in visit.troubles)  # browsers write it into their console
    visit.troubles.clear()


def test_a_view_is_exported(visit: Visit) -> None:
    page = visit.page
    visit.sign_in("shop", "export")
    page.get_by_label("Metadata").fill("task=review-sentiment")
    page.get_by_role("button", name="Preview").click()
    preview = page.get_by_role("region", name="Preview")
    expect(preview.locator("pre")).to_contain_text("Classify the review.")

    with page.expect_download() as download:
        page.get_by_role("link", name="Download JSONL").click()

    lines = download.value.path().read_text(encoding="utf-8").splitlines()
    assert lines
    for line in lines:
        roles = [message["role"] for message in json.loads(line)["messages"]]
        assert roles == ["system", "user", "assistant"]
