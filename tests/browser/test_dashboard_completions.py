"""Completions in a browser: filters, and pages back and forth."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.browser.dashboard import Visit


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
