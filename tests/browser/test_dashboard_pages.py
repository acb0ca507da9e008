"""All pages, narrow and wide, light and dark: accessible, no wider than the window, no errors."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser

from tests.browser.dashboard import NARROW, WIDE, SampleServer, Scheme, Who, violations, visit

PAGES: tuple[tuple[str, Who], ...] = (
    ("completions", "shop"),
    ("usage", "admin"),
    ("usage?by=key", "shop"),
    ("keys", "admin"),
    ("keys", "support desk"),
    ("keys/admin-keys", "admin"),
    ("models", "admin"),
    ("playground", "shop"),
    ("playground", "admin"),
    ("export", "shop"),
)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_pages_are_accessible_and_fit(
    browser: Browser, sample: SampleServer, width: int, scheme: Scheme
) -> None:
    whose: dict[Who, list[str]] = {}
    for path, who in PAGES:
        whose.setdefault(who, []).append(path)
    found = []
    for who, paths in whose.items():
        with visit(browser, sample, width=width, scheme=scheme) as visited:
            visited.open("sign-in")
            found += [f"sign-in: {each}" for each in violations(visited.page)]
            visited.sign_in(who)
            for path in paths:
                visited.open(path)
                found += [f"{path} of {who}: {each}" for each in violations(visited.page)]
                if overflow := visited.overflow():
                    found.append(f"{path} of {who} is {overflow} pixels too wide")
    assert found == []


@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_a_projects_page_and_its_confirmation(
    browser: Browser, sample: SampleServer, width: int
) -> None:
    with visit(browser, sample, width=width) as visited:
        visited.sign_in("admin", "keys")
        visited.page.get_by_role("link", name="shop").click()
        visited.page.get_by_role("heading", name="Rate limits").wait_for()
        assert violations(visited.page) == []
        assert visited.overflow() == 0
        visited.page.get_by_role("link", name="Revoke staging").click()
        visited.page.get_by_role("button", name="Revoke the key").wait_for()
        assert violations(visited.page) == []
        assert visited.overflow() == 0
