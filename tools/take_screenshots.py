"""Take the dashboard's screenshots for the documentation, with sample content.

    make screenshots

Needs Chromium, which the variable CHROMIUM names, and Playwright (``pip install -e '.[browser]'``).
Chromium writes WebP itself, which has a third of PNG's size.
"""

from __future__ import annotations

import base64
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
sys.path.insert(0, str(ROOT))

from tests.browser.dashboard import SampleServer, Scheme, Visit, Who, sample_server  # noqa: E402

_QUALITY = 82
_MOST_BYTES = 150_000
_N_COMPLETIONS = 500


def _nothing(page: Page) -> None:
    """Leave the page as it is."""


def _open_first(page: Page) -> None:
    """Open the first completion of a list."""
    page.locator("table.completions tbody th a").first.click()
    page.get_by_role("region", name="Conversation").wait_for()


def _chat(page: Page) -> None:
    """Have a conversation in the playground."""
    page.get_by_label("Seed").fill("7")
    page.get_by_label("Tokens at most").fill("120")
    page.get_by_label("Log probabilities").check()
    page.get_by_label("Keep it").check()
    for question in ("What is the capital of France?", "Tell me a short story."):
        page.get_by_label("Message", exact=True).fill(question)
        page.get_by_role("button", name="Send").click()
        expect(page.locator("#status")).to_have_text("Done")


def _open_project(page: Page) -> None:
    """Open a project's page."""
    page.get_by_role("link", name="support desk").click()
    page.get_by_role("heading", name="Rate limits").wait_for()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """A screenshot. ``height`` None: of the whole page."""

    name: str
    path: str
    who: Who
    scheme: Scheme = "light"
    width: Literal[375, 1440] = 1440
    height: int | None = 900
    prepare: Callable[[Page], None] = _nothing


SHOTS = (
    Shot(name="completions", path="completions", who="shop"),
    Shot(
        name="completion",
        path="completions?metadata=task%3Dorder-status&finish=stop",
        who="support desk",
        prepare=_open_first,
    ),
    Shot(name="usage", path="usage?by=key", who="admin"),
    Shot(name="usage-dark", path="usage?by=model", who="admin", scheme="dark"),
    Shot(name="project", path="keys", who="admin", prepare=_open_project),
    Shot(name="models", path="models", who="shop", height=420),
    Shot(name="playground", path="playground", who="shop", prepare=_chat),
)


def main() -> int:
    """Take those that are named as arguments, or all; returns the exit status."""
    names = sys.argv[1:]
    unknown = set(names) - {shot.name for shot in SHOTS}
    if unknown:
        print(f"There is no screenshot {', '.join(sorted(unknown))}.", file=sys.stderr)
        return 2
    IMAGES.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as directory,
        sample_server(Path(directory), _N_COMPLETIONS) as server,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=os.environ["CHROMIUM"])
        for shot in sorted(SHOTS, key=lambda each: each.name == "models"):  # which tells speeds
            if not names or shot.name in names:
                _take(browser, server, shot)
        browser.close()
    return 0


def _take(browser: Browser, server: SampleServer, shot: Shot) -> None:
    size: ViewportSize = {"width": shot.width, "height": shot.height or 900}
    context = browser.new_context(
        viewport=size, color_scheme=shot.scheme, device_scale_factor=1, locale="en-GB"
    )
    visit = Visit(server, context.new_page())
    visit.sign_in(shot.who, shot.path)
    shot.prepare(visit.page)
    visit.page.mouse.move(0, 0)
    options = {"format": "webp", "quality": _QUALITY, "captureBeyondViewport": not shot.height}
    taken = context.new_cdp_session(visit.page).send("Page.captureScreenshot", options)
    data = base64.b64decode(taken["data"])
    if len(data) > _MOST_BYTES:
        raise SystemExit(f"{shot.name} has {len(data)} bytes, more than {_MOST_BYTES}")
    path = IMAGES / f"dashboard-{shot.name}.webp"
    path.write_bytes(data)
    print(f"{path.relative_to(ROOT)}: {len(data)} bytes")
    context.close()


if __name__ == "__main__":
    sys.exit(main())
