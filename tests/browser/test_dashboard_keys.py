"""Keys in a browser: make, limit, revoke, the budget's bar."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.dashboard import Visit


def test_a_key_is_made_limited_and_revoked(visit: Visit) -> None:
    page = visit.page
    visit.sign_in("admin", "keys")
    page.get_by_label("Name").fill("pop-up <store>")
    page.get_by_role("button", name="Make project").click()
    expect(page.get_by_role("heading", name="pop-up <store>")).to_be_visible()
    expect(page.get_by_text("No keys yet")).to_be_visible()

    make = page.get_by_role("region", name="New key")
    make.get_by_label("Name").fill("till")
    make.get_by_label("Ends after, in days").fill("7")
    make.get_by_role("button", name="Make key").click()
    secret = page.locator("#secret").inner_text()
    assert re.fullmatch(r"sk-pilot-proj-\w+", secret)
    assert secret not in page.url
    with visit.server.process.openai(api_key=secret) as client:
        messages = [{"role": "user", "content": "What is the capital of France?"}]
        answer = client.chat.completions.create(model="small", messages=messages)  # type: ignore[arg-type]
        assert answer.choices[0].message.content

        limits = page.get_by_role("form", name="Rate limits of small")
        limits.get_by_label("Tokens a minute").fill("5000")
        limits.get_by_role("button").click()
        expect(page.get_by_role("status")).to_contain_text("The rate limits are set")
        expect(limits.get_by_label("Tokens a minute")).to_have_value("5000")
        expect(page.locator("#secret")).to_have_count(0)

    page.get_by_role("link", name="Revoke till").click()
    page.get_by_role("button", name="Revoke the key").click()
    expect(page.get_by_role("status")).to_contain_text("The key is revoked")
    expect(page.get_by_text("No keys yet")).to_be_visible()
    assert secret not in visit.server.process.log_text()


def test_the_bar_shows_how_much_of_a_budget_is_left(visit: Visit) -> None:
    page = visit.page
    visit.sign_in("admin", "keys")

    bar = page.get_by_role("img", name=re.compile("^support desk: 9[0-9] % of the budget spent"))
    box = bar.bounding_box()
    filled = bar.locator("rect").bounding_box()
    assert box is not None
    assert filled is not None
    assert 0.9 <= filled["width"] / box["width"] <= 1
    row = page.get_by_role("row", name=re.compile("research"))
    expect(row.get_by_role("img")).to_have_count(0)
