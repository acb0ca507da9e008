"""Browser: Chromium driven by Playwright. Without them these tests are skipped."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.browser.site import Site

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.browser.dashboard import SampleServer, Visit

_PROGRAM = "CHROMIUM"

collect_ignore_glob: list[str] = [] if os.environ.get(_PROGRAM) else ["test_*.py"]
"""They import Playwright, which only `make test-browser` installs."""


@pytest.fixture(scope="session")
def browser(processes: None) -> Iterator[Browser]:
    """Chromium, without a window: the program that the variable ``CHROMIUM`` names."""
    from playwright.sync_api import expect, sync_playwright

    from tests.browser.dashboard import TIMEOUT

    with sync_playwright() as playwright:
        # Its own sandbox can't be had by root, nor in containers; the pages are the tests' own.
        browser = playwright.chromium.launch(executable_path=os.environ[_PROGRAM])
        expect.set_options(timeout=TIMEOUT)
        yield browser
        browser.close()


@pytest.fixture
def site() -> Iterator[Site]:
    """A site of an origin of its own, without a page yet."""
    site = Site()
    yield site
    site.close()


@pytest.fixture(scope="session")
def sample(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SampleServer]:
    """A server with sample content, which all tests of the dashboard share."""
    from tests.browser.dashboard import sample_server

    with sample_server(tmp_path_factory.mktemp("sample")) as server:
        yield server


@pytest.fixture
def visit(browser: Browser, sample: SampleServer) -> Iterator[Visit]:
    """A visit on a wide screen, in light colours, in which nothing may go wrong."""
    from tests.browser import dashboard

    with dashboard.visit(browser, sample) as visit:
        yield visit
