"""Playground in a browser: streaming, stop, log probabilities, JSON schema, tools, what is kept."""

from __future__ import annotations

import json
import re

from playwright.sync_api import Page, expect

from tests.browser.dashboard import Visit


def ask(page: Page, text: str) -> None:
    """Send a message."""
    page.get_by_label("Message", exact=True).fill(text)
    page.get_by_role("button", name="Send").click()


def status(page: Page, text: str | re.Pattern[str]) -> None:
    """Await what the page says of the request."""
    expect(page.locator("#status")).to_have_text(text)


def test_an_answer_with_log_probabilities_is_kept(visit: Visit) -> None:
    page = visit.page
    visit.sign_in("shop", "playground")
    page.get_by_label("Temperature").fill("0")
    page.get_by_label("Log probabilities").check()
    page.get_by_label("Keep it").check()

    ask(page, "What is the capital of France?")

    status(page, "Done")
    answer = page.locator(".said.assistant")
    expect(answer.locator(".text")).to_have_text("The capital of France is Paris.")
    token = answer.locator(".token").first
    expect(token).to_have_attribute("title", re.compile(r"^\d+\.\d %\n"))
    expect(answer.locator(".figures")).to_contain_text("tokens per second")
    link = answer.get_by_role("link", name="kept")
    stored_id = str(link.get_attribute("href")).rpartition("/")[2]
    with visit.server.process.openai(api_key=visit.server.keys["shop"]) as client:
        stored = client.chat.completions.retrieve(stored_id)
    assert stored.metadata == {"source": "playground"}

    ask(page, "What is the capital of Italy?")
    status(page, "Done")
    expect(page.locator(".said")).to_have_count(4)
    page.get_by_role("button", name="Start over").click()
    expect(page.locator(".said")).to_have_count(0)


def test_a_stream_is_stopped(visit: Visit) -> None:
    page = visit.page
    visit.sign_in("shop", "playground")
    # A text that may not end before its 10,000th character leaves time to stop it.
    page.locator("#format summary").click()
    page.get_by_label("Answer by this schema").check()
    page.locator("#schema").fill(json.dumps({"type": "string", "minLength": 10_000}))

    ask(page, "Tell me a story")
    status(page, re.compile("^Answering: "))
    page.get_by_role("button", name="Stop").click()

    status(page, "Stopped")
    expect(page.locator(".said.assistant .figures")).to_contain_text("stopped")
    expect(page.locator(".said.assistant .text")).not_to_be_empty()
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()
    expect(page.get_by_label("Message", exact=True)).to_be_focused()


def test_an_answer_follows_a_json_schema(visit: Visit) -> None:
    page = visit.page
    visit.sign_in("shop", "playground")
    page.locator("#format summary").click()
    page.get_by_label("Answer by this schema").check()
    page.locator("#schema").fill("{")
    ask(page, "Where is Paris?")
    expect(page.get_by_role("alert")).to_contain_text("The schema is no valid JSON")
    expect(page.locator(".said")).to_have_count(0)

    schema = {
        "type": "object",
        "properties": {"capital": {"type": "boolean"}},
        "required": ["capital"],
        "additionalProperties": False,
    }
    page.locator("#schema").fill(json.dumps(schema))
    page.get_by_role("button", name="Send").click()

    status(page, "Done")
    answer = json.loads(page.locator(".said.assistant .text").inner_text())
    assert isinstance(answer["capital"], bool)


def test_a_tool_is_called_and_answered(visit: Visit) -> None:
    page = visit.page
    visit.sign_in("shop", "playground")
    page.get_by_label("Temperature").fill("0")
    page.locator("#tools-box summary").click()
    page.get_by_label("Offer these tools").check()

    ask(page, "What is the weather in Paris?")
    status(page, "Done")
    expect(page.locator(".call pre")).to_have_text('{"city": "Paris"}')
    result = page.get_by_label("Result of get_weather")
    expect(result).to_be_focused()
    result.fill('{"sky": "clear", "degrees": 21}')
    page.keyboard.press("ControlOrMeta+Enter")

    expect(page.locator(".said.assistant")).to_have_count(2)
    status(page, "Done")
    expect(result).not_to_be_editable()


def test_what_is_refused_can_be_changed_and_sent_again(visit: Visit) -> None:
    page = visit.page
    visit.sign_in("shop", "playground")
    page.get_by_label("Seed").fill("99999999999999999999999")

    ask(page, "Hello")

    expect(page.get_by_role("alert")).to_contain_text("seed")
    expect(page.get_by_label("Message", exact=True)).to_have_value("Hello")
    expect(page.locator(".said")).to_have_count(0)
    visit.troubles.clear()  # browsers write each 400 into their console
    page.get_by_label("Seed").fill("7")
    page.get_by_role("button", name="Send").click()
    status(page, "Done")
