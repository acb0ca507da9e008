"""Browser: Chromium driven by Playwright. Without them these tests are skipped."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.browser.site import Site

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_PROGRAM = "CHROMIUM"

collect_ignore_glob: list[str] = [] if os.environ.get(_PROGRAM) else ["test_*.py"]
"""They import Playwright, which only `make test-browser` installs."""


@pytest.fixture(scope="session")
def browser(processes: None) -> Iterator[Browser]:
    """Chromium, without a window: the program that the variable ``CHROMIUM`` names."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Its own sandbox can't be had by root, nor in containers; the pages are the tests' own.
        browser = playwright.chromium.launch(executable_path=os.environ[_PROGRAM])
        yield browser
        browser.close()


@pytest.fixture
def site() -> Iterator[Site]:
    """A site of an origin of its own, without a page yet."""
    site = Site()
    yield site
    site.close()
