"""One completion: the conversation in all its forms, metadata, deletion, files, code."""

from __future__ import annotations

import json
import shlex
from html import unescape
from typing import Any

import pytest

from functions.dashboard.completions.client_code import curl_code, python_code
from functions.dashboard.completions.conversation import MAX_CHARACTERS, MAX_TURNS, conversation_of
from shared.storage.types import StoredCompletion
from tests.dashboard.content import put, response
from tests.dashboard.deployment import Browser, Deployment, text_of
from tests.storage.completions import sample

LIST = "/dashboard/completions"
CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "get_weather", "arguments": '{"city": "Lisbon"}'},
}


def page_of(deployment: Deployment, **changes: Any) -> tuple[Browser, str, StoredCompletion]:
    """A project's browser, and the path of a completion that it has stored."""
    project, key, secret = deployment.project()
    completion = put(deployment.store, project.id, key_id=key.id, **changes)
    return deployment.browser(secret), f"{LIST}/{completion.id}", completion


def shown(deployment: Deployment, **changes: Any) -> str:
    """What a completion's page shows."""
    browser, path, _ = page_of(deployment, **changes)
    page = browser.get(path)
    assert page.status_code == 200
    return " ".join(text_of(page).split())


def test_facts(each_deployment: Deployment) -> None:
    text = shown(
        each_deployment,
        response=response("It is fine."),
        timings={"total_seconds": 1.25, "decode_seconds": 0.5, "queue_seconds": "x"},
        served_by="api.example.com",
        model="small",
        request={"model": "s", "messages": [{"role": "user", "content": "Hi"}], "top_k": 7},
        user="visitor-1",
        request_id="req_1",
    )
    for expected in (
        *("11 tokens", "34 tokens", "$0.0013", "1.2 s", "68.0 tokens/s", "api.example.com"),
        *("Asked for s", "Key web", "visitor-1", "req_1", "top_k 7", "It is fine."),
    ):
        assert expected in text


def test_a_conversation_with_tools_and_reasoning(deployment: Deployment) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Umbrella?"}], "name": "ada"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": '{"rain": 0.8}'},
    ]
    text = shown(
        deployment,
        request={"model": "m", "messages": messages},
        response=response("Yes.", reasoning_content="0.8 is much."),
    )
    order = ["Be brief.", "User ada Umbrella?", "get_weather call_1", "Tool get_weather", "0.8 is"]
    places = [text.index(each) for each in [*order, "Yes."]]
    assert places == sorted(places)
    assert '"city": "Lisbon"' in text


def test_pictures_refusals_and_other_parts(deployment: Deployment) -> None:
    picture = "data:image/png;base64,iVBORw0KGgo="
    parts = [
        {"type": "image_url", "image_url": {"url": picture}},
        {"type": "image_url", "image_url": {"url": "https://elsewhere.test/track.png"}},
        {"type": "image_url", "image_url": {"url": "data:image/svg+xml;base64,PHN2Zz4="}},
        {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
        {"type": "invented", "x": 1},
    ]
    browser, path, _ = page_of(
        deployment,
        request={"model": "m", "messages": [{"role": "user", "content": parts}]},
        response=response("", refusal="I can't."),
    )
    page = browser.get(path)
    assert f'src="{picture}"' in page.text
    assert 'src="https://elsewhere' not in page.text
    assert 'src="data:image/svg' not in page.text
    text = text_of(page)
    for expected in ("https://elsewhere.test/track.png", "audio, ", "invented", "I can't."):
        assert expected in text


@pytest.mark.parametrize("kind", ["chat", "text"])
def test_log_probabilities_are_a_table_as_well(deployment: Deployment, kind: Any) -> None:
    changed = sample(tenant="x", kind=kind).response
    choice = dict(changed["choices"][0])
    if kind == "chat":
        top = [{"token": "Yes", "logprob": -0.1}, {"token": "<No>", "logprob": -2.5}]
        content = [{"token": "Yes", "logprob": -0.1, "top_logprobs": top}]
        choice["logprobs"] = {"content": content}
    else:
        tops = [{"Yes": -0.1, "<No>": -2.5}]
        choice["logprobs"] = {"tokens": ["Yes"], "token_logprobs": [-0.1], "top_logprobs": tops}
    text = shown(deployment, kind=kind, response={**changed, "choices": [choice]})
    assert "1 Yes 90.5 % <No> 8.2 %" in text


@pytest.mark.parametrize(
    ("request_body", "answer"),
    [
        ({}, {}),
        ({"messages": "x"}, {"choices": "y"}),
        ({"messages": [None, 3, {"role": 3, "content": {"a": [1]}}]}, {"choices": [None, {}]}),
        (
            {"messages": [{"content": [None, 7, "text", {"type": "text"}]}], "tools": "x"},
            {"choices": [{"message": 3, "logprobs": {"content": [{"top_logprobs": 3}]}}]},
        ),
        (
            {"messages": [{"tool_calls": [{"function": 3}, {}], "function_call": {"name": 1}}]},
            {"choices": [{"text": 7, "index": "a"}], "usage": {"total_tokens": "many"}},
        ),
    ],
)
def test_whatever_is_stored_is_shown(
    deployment: Deployment, request_body: Any, answer: dict[str, Any]
) -> None:
    browser, path, _ = page_of(deployment, request=request_body, response=answer)
    assert browser.get(path).status_code == 200
    assert browser.get(LIST).status_code == 200


def test_prompts_of_text_completions(deployment: Deployment) -> None:
    text = shown(deployment, kind="text", request={"prompt": ["One", "Two"]})
    assert "Prompt One" in text
    assert "Prompt Two" in text
    assert "3 token ids: 5, 6, 7" in shown(deployment, kind="text", request={"prompt": [[5, 6, 7]]})


def test_what_is_too_much_is_in_the_file(deployment: Deployment) -> None:
    messages = [{"role": "user", "content": "x" * (MAX_CHARACTERS + 7)}]
    messages += [{"role": "user", "content": f"message {number}"} for number in range(MAX_TURNS)]
    browser, path, completion = page_of(deployment, request={"messages": messages})
    page = browser.get(path)
    text = text_of(page)
    assert "7 more characters" in text
    assert "1 messages are left out" in text
    assert f"message {MAX_TURNS - 1}" in text
    assert len(page.content) < 600_000
    saved = browser.get(f"{path}/completion.json")
    assert json.loads(saved.content)["request"]["messages"] == messages
    assert saved.headers["content-disposition"] == (f'attachment; filename="{completion.id}.json"')
    request = browser.get(f"{path}/request.json")
    assert json.loads(request.content) == {"messages": messages}


def test_a_page_has_a_bounded_number_of_characters() -> None:
    messages = [{"role": "user", "content": "x" * MAX_CHARACTERS} for _ in range(MAX_TURNS)]
    found = conversation_of(sample(tenant="x", request={"messages": messages}))
    assert sum(len(part.text) for turn in found.turns for part in turn.parts) <= 400_000
    assert sum(part.n_hidden for turn in found.turns for part in turn.parts) > 0


def test_metadata_is_replaced(each_deployment: Deployment) -> None:
    browser, path, completion = page_of(each_deployment, metadata={"a": "1", "b": "2\n3"})
    page = browser.get(path)
    assert "<textarea" in page.text
    form = {"name": ["a", "b", "", "c "], "value": ["", "2\r\n3", "", "<b>"]}
    response = browser.post(f"{path}/metadata", form, token_of=path)
    assert browser.follow(f"{path}/metadata", response) == f"{path}?saved=1"
    found = each_deployment.store.get(completion.tenant, "chat", completion.id)
    assert found is not None
    assert found.metadata == {"a": "", "b": "2\n3", "c ": "<b>"}
    assert "was saved" in text_of(browser.get(f"{path}?saved=1"))


@pytest.mark.parametrize(
    ("form", "problem"),
    [
        ({"name": ["a", "a"], "value": ["1", "2"]}, "twice"),
        ({"name": [""], "value": ["1"]}, "no name"),
        ({"name": ["n" * 65], "value": ["1"]}, "64"),
        ({"name": [f"n{number}" for number in range(17)], "value": ["v"] * 17}, "16"),
    ],
)
def test_wrong_metadata_is_said(deployment: Deployment, form: Any, problem: str) -> None:
    browser, path, completion = page_of(deployment, metadata={"kept": "yes"})
    response = browser.post(f"{path}/metadata", form, token_of=path)
    assert response.status_code == 400
    assert problem in text_of(response)
    assert form["value"][0] in response.text
    found = deployment.store.get(completion.tenant, "chat", completion.id)
    assert found is not None
    assert found.metadata == {"kept": "yes"}


def test_deletion_asks_once_more(each_deployment: Deployment) -> None:
    browser, path, completion = page_of(each_deployment)
    asked = browser.get(f"{path}/delete")
    assert "Delete this completion?" in text_of(asked)
    assert each_deployment.store.get(completion.tenant, "chat", completion.id) is not None
    response = browser.post(f"{path}/delete")
    assert browser.follow(f"{path}/delete", response) == f"{LIST}?deleted=1"
    assert each_deployment.store.get(completion.tenant, "chat", completion.id) is None
    assert "was deleted" in text_of(browser.get(f"{LIST}?deleted=1"))
    assert browser.get(path).status_code == 404
    assert browser.post(f"{path}/delete", token_of=LIST + "/x/delete").status_code == 404


def test_administrators_reach_each_projects(deployment: Deployment) -> None:
    project, _, _ = deployment.project("shop")
    completion = put(deployment.store, project.id)
    browser = deployment.browser(deployment.admin_key)
    path = f"{LIST}/{completion.id}?project={project.id}"
    page = browser.get(path)
    assert page.status_code == 200
    assert f"/delete?project={project.id}" in page.text
    assert browser.get(f"{LIST}/{completion.id}").status_code == 404
    form = {"name": ["a"], "value": ["1"]}
    changed = browser.post(
        f"{LIST}/{completion.id}/metadata?project={project.id}", form, token_of=path
    )
    assert browser.follow(f"{LIST}/{completion.id}/metadata", changed) == f"{path}&saved=1"
    gone = browser.post(f"{LIST}/{completion.id}/delete?project={project.id}")
    assert browser.follow(f"{LIST}/{completion.id}/delete", gone) == (
        f"{LIST}?project={project.id}&deleted=1"
    )


def test_a_damaged_completion_is_said_and_can_be_deleted(deployment: Deployment) -> None:
    import sqlite3

    browser, path, completion = page_of(deployment)
    put(deployment.store, completion.tenant, 5)
    assert deployment.settings.data_dir is not None
    database = sqlite3.connect(deployment.settings.data_dir / "completions.sqlite3")
    database.execute("UPDATE completions SET body = x'00' WHERE id = ?", (completion.id,))
    database.commit()
    database.close()
    assert browser.get(path).status_code == 500
    assert "damaged" in text_of(browser.get(path))
    assert "1 damaged completion can't be shown" in " ".join(text_of(browser.get(LIST)).split())
    assert browser.post(f"{path}/delete").status_code == 303
    assert browser.get(path).status_code == 404


HOSTILE = "'; rm -rf / #\"`$(id)`\\ </pre><script>\u202e\u2066\u00a0é\U000e0041\n"


@pytest.mark.parametrize("kind", ["chat", "text"])
def test_code_sends_the_same_request(kind: Any) -> None:
    request: dict[str, Any] = {"model": HOSTILE, "top_k": 3, "stream": True, "stop": [HOSTILE]}
    request |= {"messages": [{"role": "user", "content": HOSTILE}]} if kind == "chat" else {}
    request |= {"prompt": HOSTILE} if kind == "text" else {}
    completion = sample(tenant="x", kind=kind, request=request)
    expected = {name: value for name, value in request.items() if name != "stream"}
    curl = curl_code(completion, "https://h/v1")
    words = shlex.split(curl.replace("\\\n", " ", 3))
    assert json.loads(words[-1]) == expected
    assert words[1].startswith("https://h/v1/")
    assert not {"\u202e", "\u2066", "\U000e0041"} & {*curl}
    assert sent_by(python_code(completion, "https://h/v1")) == expected


def test_large_requests_are_sent_from_a_file() -> None:
    messages = [{"role": "user", "content": "x" * 70_000}]
    completion = sample(tenant="x", request={"model": "m", "messages": messages})
    assert "@request.json" in curl_code(completion, "https://h/v1")
    code = python_code(completion, "https://h/v1")
    assert "open('request.json')" in code
    compile(code, "code", "exec")


def sent_by(code: str) -> Any:
    """The body that a program sends with OpenAI's package."""
    sent: list[dict[str, Any]] = []

    class Endpoint:
        def __init__(self, **_: Any) -> None:
            self.chat = self.completions = self

        def create(self, extra_body: dict[str, Any], **fields: Any) -> Any:
            sent.append({**fields, **extra_body})
            return type("Answer", (), {"choices": [None]})

    import os

    code = code.replace("from openai import OpenAI\n", "").replace("import os\n", "")
    scope = {"OpenAI": Endpoint, "os": os, "print": lambda _: None}
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PILOTLIGHT_API_KEY", "k")
        exec(code, scope)
    return sent[0]


def test_pages_show_code_as_it_is_to_be_copied(deployment: Deployment) -> None:
    messages = [{"role": "user", "content": HOSTILE}]
    browser, path, completion = page_of(deployment, request={"model": "m", "messages": messages})
    page = browser.get(path).text
    source = page.split('id="curl">')[1].split("</pre>")[0]
    assert unescape(source) == curl_code(completion, "https://pilot.test/v1")
    source = page.split('id="python">')[1].split("</pre>")[0]
    assert unescape(source) == python_code(completion, "https://pilot.test/v1")
