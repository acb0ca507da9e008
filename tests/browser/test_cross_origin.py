"""Pages of other origins in a real browser: what they may ask and read, and what they may not."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.browser.site import Site
from tests.conftest import API_KEY, StartServer
from tests.server import CAPITAL

DOCS = Path(__file__).parents[2] / "docs"

ASK = """
const report = (what) => fetch("/report", { method: "POST", body: JSON.stringify(what) });
async function ask(key, fields) {
  const response = await fetch(URL_OF_SERVER + "/v1/chat/completions", {
    method: "POST",
    headers: {
      authorization: "Bearer " + key,
      "content-type": "application/json",
      "x-stainless-lang": "js",
      "x-stainless-retry-count": "0",
    },
    body: JSON.stringify({ messages: MESSAGES, temperature: 0, ...fields }),
  });
  const parts = [];
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let part; !(part = await reader.read()).done; ) parts.push(part.value);
  const readable = Object.fromEntries(response.headers);
  return { status: response.status, headers: readable, text: parts.join("") };
}
ASKED.then(report, (error) => report({ error: error.name }));
"""


def page(server: str, asked: str) -> str:
    """A page whose script reports what the promise ``asked`` becomes."""
    script = ASK.replace("URL_OF_SERVER", json.dumps(server))
    script = script.replace("MESSAGES", json.dumps(CAPITAL)).replace("ASKED", asked)
    return f'<!doctype html><script type="module">{script}</script>'


def reported(browser: Browser, site: Site) -> Any:
    """What the site's page reports first."""
    with browser.new_page() as page:
        page.goto(site.origin)
        return site.report()


@pytest.mark.parametrize("allowed", ["its origin", "localhost", "*"])
def test_a_page_of_an_allowed_origin_streams_a_completion(
    browser: Browser, site: Site, start_server: StartServer, allowed: str
) -> None:
    origins = f"https://app.example.com,{site.origin}" if allowed == "its origin" else allowed
    server = start_server("--api-key", API_KEY, "--cors-origins", origins)
    site.page = page(server.url, f'ask("{API_KEY}", {{ stream: true }})')

    answer = reported(browser, site)

    events = [part.removeprefix("data: ") for part in answer["text"].strip().split("\n\n")]
    assert events.pop() == "[DONE]"
    deltas = [json.loads(event)["choices"][0]["delta"] for event in events]
    assert "".join(d.get("content") or "" for d in deltas) == "The capital of France is Paris."
    assert answer["headers"].keys() >= {"x-request-id", "openai-processing-ms", "content-type"}
    log = server.log_text()
    assert " OPTIONS /v1/chat/completions 200 " in log
    assert " POST /v1/chat/completions 200 " in log


def test_a_page_reads_errors(browser: Browser, site: Site, start_server: StartServer) -> None:
    server = start_server("--api-key", API_KEY, "--cors-origins", site.origin)
    site.page = page(server.url, 'ask("wrong", {})')

    answer = reported(browser, site)

    assert answer["status"] == 401
    assert json.loads(answer["text"])["error"]["code"] == "invalid_api_key"
    assert "x-request-id" in answer["headers"]


@pytest.mark.parametrize("options", [(), ("--cors-origins", "https://app.example.com")])
def test_a_page_of_another_origin_gets_nothing(
    browser: Browser, site: Site, start_server: StartServer, options: tuple[str, ...]
) -> None:
    server = start_server("--api-key", API_KEY, *options)
    site.page = page(server.url, f'ask("{API_KEY}", {{}})')

    assert reported(browser, site) == {"error": "TypeError"}

    assert " POST " not in server.log_text()


def test_the_example_of_the_documentation(
    browser: Browser, site: Site, start_server: StartServer
) -> None:
    server = start_server("--cors-origins", site.origin)
    text = (DOCS / "clients.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```html\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    observer = """
<script>
const answer = document.querySelector("#answer");
const report = () => fetch("/report", { method: "POST", body: JSON.stringify(answer.textContent) });
new MutationObserver(report).observe(answer, { childList: true, characterData: true, subtree: true });
</script>"""
    site.page = example.replace("http://127.0.0.1:8000", server.url) + observer

    with browser.new_page() as page:
        page.goto(site.origin)
        shown = site.report()
        while "Paris." not in shown:
            shown = site.report()

    assert shown == "The capital of France is Paris."
