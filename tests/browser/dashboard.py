"""Dashboard in a browser: a server with sample content, and a page that watches what it does."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fill_sample_store import fill
from sample_store.organization import CONFIGURATION

from tests.server import ServerProcess

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request

Who = Literal["admin", "shop", "support desk", "research"]
Scheme = Literal["light", "dark"]

TIMEOUT = 120_000.0
"""Milliseconds, far more than anything takes: only a hang should reach it."""
NARROW, WIDE = 375, 1440
N_COMPLETIONS = 150


@dataclass(frozen=True, slots=True)
class SampleServer:
    """A server with sample content; ``keys``: secrets by whose they are."""

    process: ServerProcess
    keys: dict[str, str]

    @property
    def url(self) -> str:
        """Its origin."""
        return self.process.url


@contextmanager
def sample_server(directory: Path, n_completions: int = N_COMPLETIONS) -> Iterator[SampleServer]:
    """A server on a store that was filled in ``directory``."""
    data = directory / "data"
    data.mkdir()
    keys = fill(data, n_completions)
    (directory / "pilotlight.toml").write_text(CONFIGURATION, encoding="utf-8")
    options = ("--accounts", "true", "--data-dir", str(data), "--alias", "small")
    process = ServerProcess(directory / "server.log", *options, directory=directory)
    try:
        yield SampleServer(process, keys)
    finally:
        process.stop()


@dataclass
class Visit:
    """A browser's page, and what went wrong in it or left the server's address."""

    server: SampleServer
    page: Page
    troubles: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(TIMEOUT)
        self.page.on("console", self._note_message)
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.context.on("request", self._note_request)

    def _note_message(self, message: ConsoleMessage) -> None:
        """Violations of the content security policy are errors of the console, too."""
        if message.type in ("error", "warning"):
            self.troubles.append(f"{message.type}: {message.text} {self.page.url}")

    def _note_request(self, request: Request) -> None:
        if not request.url.startswith((f"{self.server.url}/dashboard", "data:", "blob:")):
            self.troubles.append(f"a request to {request.url}")

    def open(self, path: str) -> None:
        """Open a page of the dashboard."""
        self.page.goto(f"{self.server.url}/dashboard/{path}")

    def sign_in(self, who: Who = "admin", path: str = "completions") -> None:
        """Sign in with a key, and be led to a page."""
        self.open(path)
        self.page.get_by_label("API key").fill(self.server.keys[who])
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url(re.compile(re.escape(f"{self.server.url}/dashboard/{path}")))

    def overflow(self) -> int:
        """Pixels by which the page is wider than its window."""
        found: int = self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        return max(found, 0)


@contextmanager
def visit(
    browser: Browser, server: SampleServer, *, width: int = WIDE, scheme: Scheme = "light"
) -> Iterator[Visit]:
    """A visit with cookies of its own, in which nothing may go wrong."""
    context: BrowserContext = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, locale="en-GB"
    )
    try:
        visited = Visit(server, context.new_page())
        yield visited
        assert visited.troubles == []
    finally:
        context.close()


def violations(page: Page) -> list[str]:
    """What axe-core finds that is serious or critical, each with the elements."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [
        f"{each['impact']} {each['id']}: {json.dumps([node['html'] for node in each['nodes']])}"
        for each in found
        if each["impact"] in ("serious", "critical")
    ]
