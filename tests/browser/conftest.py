"""The browser. Without one these tests are skipped."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.browser.browser import Site

_COMMAND = "TEST_BROWSER"


@pytest.fixture(scope="session")
def browser(processes: None) -> str:
    """The command that shows a page, without its URL."""
    command = os.environ.get(_COMMAND, "")
    if not command:
        pytest.skip(
            "no browser: 'make test-browser' installs one, or set "
            f"{_COMMAND}='chromium --headless --no-sandbox'"
        )
    return command


@pytest.fixture
def site() -> Iterator[Site]:
    """A site of an origin of its own, without a page yet."""
    site = Site()
    yield site
    site.close()
