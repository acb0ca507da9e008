"""Usage in a browser: keys as series, tables beside the charts, CSV, links that are views."""

from __future__ import annotations

import csv
import re

from playwright.sync_api import expect

from tests.browser.dashboard import Visit


def test_keys_are_series_with_a_table_and_csv(visit: Visit) -> None:
    page = visit.page
    visit.sign_in("admin", "usage")
    page.get_by_label("By", exact=True).select_option("key")
    page.get_by_label("Project").select_option("shop")
    page.get_by_role("button", name="Show").click()

    expect(page).to_have_url(re.compile(r"by=key&project=proj_"))
    tokens = page.get_by_role("region", name="Tokens", exact=True)
    chart = tokens.get_by_role("img", name=re.compile("^Tokens"))
    expect(chart.locator("rect.series-0").first).to_be_visible()
    expect(chart.locator("rect.series-2").first).to_be_visible()
    legend = tokens.get_by_role("table", name="Tokens: totals")
    names = legend.locator("tbody th").all_inner_texts()
    assert sorted(names) == ["review classifier", "staging", "web site"]
    assert page.evaluate(
        "getComputedStyle(document.querySelector('rect.series-0')).fill"
    ) != page.evaluate("getComputedStyle(document.querySelector('rect.series-1')).fill")

    tokens.get_by_text("Tokens by day, as a table").click()
    days = tokens.get_by_role("region", name="Tokens by day").locator("tbody tr")
    expect(days).to_have_count(30)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download CSV").click()
    assert download.value.suggested_filename.startswith("usage-by-key-")
    with download.value.path().open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["name"] for row in rows} == set(names)
    total = sum(int(row["input_tokens"]) + int(row["output_tokens"]) for row in rows)
    expect(tokens.locator(".chart-total")).to_have_text(f"{total:,}")


def test_a_view_is_a_link(visit: Visit) -> None:
    page = visit.page
    visit.sign_in("research", "usage")
    page.get_by_role("link", name="7 days").click()
    expect(page.get_by_role("link", name="7 days")).to_have_attribute("aria-current", "true")
    spent = page.locator(".tiles dd").first.inner_text()

    page.goto(page.url)

    expect(page.locator(".tiles dd").first).to_have_text(spent)
    expect(page.get_by_label("Project")).to_have_count(0)
