"""Sign-in and sign-out in a browser, and the main path with the keyboard alone."""

from __future__ import annotations

import re
from typing import Any

from playwright.sync_api import Page, expect

from tests.browser.dashboard import Visit


def test_sign_in_and_out(visit: Visit) -> None:
    page = visit.page
    visit.open("usage?by=key")
    expect(page).to_have_url(re.compile(r"/dashboard/sign-in\?next="))
    page.get_by_label("API key").fill("sk-pilot-proj-wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("no valid key")
    refused = [each for each in visit.troubles if "401" in each]
    assert visit.troubles == refused  # which browsers write into their console
    visit.troubles.clear()

    page.get_by_label("API key").fill(visit.server.keys["shop"])
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(re.compile(r"/dashboard/usage\?by=key$"))
    (cookie,) = page.context.cookies()
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Strict"

    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(re.compile(r"/dashboard/sign-in$"))
    visit.open("usage")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_the_main_path_takes_no_mouse(visit: Visit) -> None:
    page, keyboard = visit.page, visit.page.keyboard
    visit.open("keys")
    keyboard.type(visit.server.keys["admin"])  # the field has the focus
    keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Keys", exact=True)).to_be_visible()

    keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    tab_to(page, "link", "research")
    keyboard.press("Enter")
    expect(page.get_by_role("heading", name="research")).to_be_visible()
    tab_to(page, "spinbutton", "Dollars a month (UTC)")
    keyboard.type("75.5")
    keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("The budget is set")
    expect(page.get_by_text("of $75.50 spent this month")).to_be_visible()

    tab_to(page, "spinbutton", "Dollars a month (UTC)")
    keyboard.press("ControlOrMeta+a")
    keyboard.press("Delete")
    keyboard.press("Enter")
    expect(page.get_by_text("spent this month, no budget")).to_be_visible()


def tab_to(page: Page, role: Any, name: str) -> None:
    """Press the tabulator until an element has the focus."""
    target = page.locator("main").get_by_role(role, name=name)
    target.wait_for()
    for _ in range(100):
        if target.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"no tabulator leads to {role} '{name}'")
