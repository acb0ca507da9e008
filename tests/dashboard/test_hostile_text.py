"""Hostile text in each stored field: nothing of it becomes markup, moves other text, or fills a page."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode

import pytest

from functions.dashboard.formats import HIDDEN, visible
from shared.accounts.audit_log import Actor
from tests.dashboard.content import put
from tests.dashboard.deployment import Browser, Deployment

LIST = "/dashboard/completions"
MARK = "zqx"
"""Begins what is hostile; no page has it by itself."""
MARKUP = (
    f"{MARK}\"'><script src=//evil.test/>alert(1)</script><img src=x onerror=alert(1)>"
    "<svg/onload=alert(1)>{{7*7}}{% raw %}</textarea></pre></title><!--<a hx-get=//evil.test "
    "hx-trigger=load hx-on:click=alert(1) style=position:fixed href=javascript:alert(1)>"
)
CONTROLS = f"{MARK}\0\x01\x1b[31m\x7f\x85\u202eevil\u2066\u2067\u200f\u2028\ufeff\U000e0041 end"
LONG = MARK + "x" * 200_000
TEXTS = {"markup": MARKUP, "controls": CONTROLS, "long": LONG}
_ALLOWED = {"a", "abbr", "article", "aside", "bdi", "body", "button", "caption", "code", "datalist"}
_ALLOWED |= {"dd", "details", "div", "dl", "dt", "fieldset", "form", "h1", "h2", "h3", "head"}
_ALLOWED |= {
    "header",
    "html",
    "img",
    "input",
    "label",
    "legend",
    "li",
    "link",
    "main",
    "meta",
    "nav",
}
_ALLOWED |= {"option", "p", "pre", "script", "section", "select", "span", "strong", "summary"}
_ALLOWED |= {"table", "tbody", "td", "textarea", "th", "thead", "time", "title", "tr", "ul"}


class Document(HTMLParser):
    """What a browser would make of a page: elements with attributes, and texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Note a text."""
        self.texts.append(data)


def check(text: str) -> None:
    """That a page has nothing of what it shows as markup."""
    document = Document(text)
    for tag, attributes in document.elements:
        assert tag in _ALLOWED, tag
        for name, value in attributes.items():
            assert not name.startswith(("on", "hx-on")), (tag, name)
            assert name != "style"
            assert MARK not in name
            if name in ("href", "src", "action", "hx-get", "hx-post", "formaction"):
                assert value is not None
                own = ("../", "dashboard/", "#", "completions", "data:image/png;base64,")
                assert value.startswith(own), (name, value[:80])
        if tag == "script":
            assert str(attributes.get("src")).startswith("../")
    scripts = text.count("<script ")
    assert scripts == sum(tag == "script" for tag, _ in document.elements) == 2
    shown = "".join(document.texts)
    assert HIDDEN.search(shown.replace("\r", "")) is None, "hidden characters are shown"


def everywhere(text: str) -> dict[str, Any]:
    """Changes that put ``text`` into each field of a completion."""
    call = {"id": text, "type": text, "function": {"name": text, "arguments": text}}
    parts = [
        {"type": "text", "text": text},
        {"type": "image_url", "image_url": {"url": text}},
        {"type": "image_url", "image_url": {"url": f"javascript:{text}"}},
        {"type": text, text: text},
    ]
    messages = [
        {"role": text, "content": text, "name": text},
        {"role": "user", "content": parts, "name": text},
        {"role": "assistant", "content": None, "tool_calls": [call], "function_call": call},
        {"role": "tool", "tool_call_id": text, "content": text},
    ]
    token = {"token": text, "logprob": -1.0, "top_logprobs": [{"token": text, "logprob": -2.0}]}
    message = {"role": text, "content": text, "refusal": text, "reasoning_content": text}
    choice = {
        "index": 0,
        "finish_reason": text,
        "message": {**message, "tool_calls": [call]},
        "logprobs": {"content": [token] * 3},
    }
    return {
        "model": text[:200],
        "request": {
            "messages": messages,
            "model": text,
            text[:300]: text,
            "tools": [{"type": text, "function": {"name": text, "description": text}}],
            "response_format": {"type": text},
        },
        "response": {
            "choices": [choice],
            "usage": {"total_tokens": 3, "prompt_tokens_details": {text: 5}},
        },
        "used": {text[:300]: text},
        "metadata": {text[:64]: text[:512], f"b{text[:60]}": "x"},
        "user": text,
        "served_by": text,
        "request_id": text,
        "key_id": text,
        "timings": {text[:20]: 1.0},
    }


@pytest.fixture(params=TEXTS)
def hostile(request: pytest.FixtureRequest) -> str:
    """Each hostile text in turn."""
    return TEXTS[request.param]


@pytest.fixture
def browser(deployment: Deployment, hostile: str) -> Browser:
    """An administrator's browser, where all that others name and store is hostile."""
    project, _, _ = deployment.project(hostile[:500])
    deployment.accounts.projects.rename(Actor(), project.id, hostile[:500])
    for number in range(3):
        put(deployment.store, project.id, number, **everywhere(hostile))
    request = {"prompt": [hostile, [1, 2]], "suffix": hostile}
    choice = {"text": hostile, "logprobs": {"tokens": [hostile], "token_logprobs": [hostile]}}
    put(
        deployment.store,
        project.id,
        4,
        "text",
        request=request,
        response={"choices": [choice]},
    )
    return deployment.browser(deployment.admin_key)


@pytest.mark.slow
def test_lists(browser: Browser, hostile: str) -> None:
    for query in ("", "?kind=text"):
        page = browser.get(f"{LIST}{query}")
        assert page.status_code == 200
        assert MARK in page.text
        check(page.text)
        assert len(page.content) < 100_000


@pytest.mark.slow
def test_completions(browser: Browser, hostile: str) -> None:
    for kind, prefix in (("chat", "chatcmpl"), ("text", "cmpl")):
        page = browser.get(f"{LIST}?kind={kind}")
        found = [
            str(attributes["href"]).removeprefix("..")
            for tag, attributes in Document(page.text).elements
            if tag == "a" and f"/{prefix}-" in str(attributes.get("href"))
        ]
        assert found
        for path in found:
            completion = browser.get(path)
            assert completion.status_code == 200
            check(completion.text)
            assert len(completion.content) < 2_000_000
            deletion = browser.get(path.replace("?", "/delete?"))
            check(deletion.text)


@pytest.mark.sweep(1)
@pytest.mark.parametrize(
    "name", ["model", "project", "key", "finish", "since", "metadata", "after"]
)
def test_what_a_url_says(deployment: Deployment, name: str) -> None:
    browser = deployment.browser(deployment.project()[2])
    lone_half = b"\xed\xa0\x80"
    texts = [text.encode() for text in (MARKUP, CONTROLS, f"{MARKUP}={MARKUP}", "x" * 5000, "%")]
    for text in (*texts, lone_half):
        for query in ({name: text}, {name: [text[:9]] * 40}):
            page = browser.get(f"{LIST}?{urlencode(query, doseq=True)}")
            assert page.status_code == 200
            check(page.text)


def test_what_is_next(deployment: Deployment) -> None:
    page = deployment.browser().get("/dashboard/sign-in", params={"next": MARKUP})
    assert MARK not in page.text


def test_errors(deployment: Deployment) -> None:
    browser = deployment.browser(deployment.admin_key)
    for path in (f"{LIST}/{MARK}%22%3E%3Cscript%3E", f"/dashboard/{MARK}%3Cb%3E", f"{LIST}/%00"):
        page = browser.get(path)
        assert page.status_code == 404
        check(page.text)


def test_direction_stays_within_a_text() -> None:
    shown = visible("\u202eabc <b>\u2069")
    assert shown.startswith("<bdi>")
    assert "U+202E" in shown
    assert 'title="right-to-left override"' in shown
    assert "&lt;b&gt;" in shown
    assert "\u202e" not in shown


def test_text_that_hides_nothing_stays_as_it_is() -> None:
    text = "Zürich\n\tمرحبا שלום 👩‍👩‍👧 한글 नमस्ते \u200b"  # noqa: RUF001
    assert visible(text).striptags() == text.replace("\n\t", " ").strip()
