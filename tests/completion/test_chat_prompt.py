"""What a chat template is given of a request's messages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from shared.completion.chat_prompt import begun_text, check_size, prompt_of
from shared.config.settings import Settings
from shared.models.sources import model_files
from shared.protocol.errors import APIError
from shared.protocol.openai.chat_completions import ChatCompletionRequest
from shared.protocol.openai.tool_use import tool_use
from shared.runtime.model_loading import load_own_model
from shared.runtime.served_model import ServedModel
from tests.server import CAPITAL, user

DUMP = (
    '{#- {% if tools %}<tool_call>{"name": ... -#}'
    "{{ {'messages': messages, 'tools': tools, 'generation': add_generation_prompt,"
    " 'effort': reasoning_effort | default(none), 'lamp': lamp | default(none)} | tojson }}"
)
"""Shows what it is given, and looks like one that knows Hermes' calls."""
WEATHER = {"name": "get_weather", "arguments": '{"city": "Oslo"}'}
CALL = {"id": "call_1", "type": "function", "function": WEATHER}
READ_CALL = {**CALL, "function": {"name": "get_weather", "arguments": {"city": "Oslo"}}}
MAX_SIZE = 100_000


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedModel]:
    template = tmp_path_factory.mktemp("template") / "dump.jinja"
    template.write_text(DUMP, encoding="utf-8")
    settings = Settings(chat_template_file=template)
    files = model_files(settings.model)
    model = ServedModel(settings, files, load_own_model(settings, files, lambda _fraction: None))
    yield model
    model.close()


def request(messages: list[dict[str, Any]], **fields: Any) -> ChatCompletionRequest:
    return ChatCompletionRequest.model_validate_json(json.dumps({"messages": messages, **fields}))


def given(served: ServedModel, messages: list[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    parsed = request(messages, **fields)
    prompt = prompt_of(parsed, served, tool_use(parsed))
    seen: dict[str, Any] = json.loads(prompt.text)
    return seen


@pytest.mark.parametrize(
    ("message", "seen"),
    [
        ({"role": "user", "content": "Hi"}, {"role": "user", "content": "Hi"}),
        (
            {
                "role": "user",
                "content": [{"type": "text", "text": "H"}, {"type": "text", "text": "i"}],
            },
            {"role": "user", "content": "Hi"},
        ),
        ({"role": "developer", "content": "Hi"}, {"role": "system", "content": "Hi"}),
        (
            {"role": "user", "content": "Hi", "name": "Ada", "mood": 1},
            {"role": "user", "content": "Hi", "name": "Ada", "mood": 1},
        ),
        (
            {"role": "assistant", "refusal": "No."},
            {"role": "assistant", "content": "No.", "refusal": "No."},
        ),
        (
            {"role": "assistant", "tool_calls": [CALL]},
            {"role": "assistant", "tool_calls": [READ_CALL]},
        ),
        (
            {"role": "assistant", "content": "I look.", "tool_calls": [{**CALL, "index": 0}]},
            {"role": "assistant", "content": "I look.", "tool_calls": [READ_CALL]},
        ),
        (
            {"role": "tool", "tool_call_id": "call_1", "content": "18"},
            {"role": "tool", "tool_call_id": "call_1", "content": "18"},
        ),
    ],
    ids=lambda value: str(value)[:60],
)
def test_messages_are_what_templates_expect(
    served: ServedModel, message: dict[str, Any], seen: dict[str, Any]
) -> None:
    assert given(served, [*CAPITAL, message])["messages"][1] == seen


def test_functions_become_tools_with_ids_that_fit_together(served: ServedModel) -> None:
    called = {"role": "assistant", "content": None, "function_call": WEATHER}
    result = {"role": "function", "name": "get_weather", "content": "18"}

    messages = given(served, [*CAPITAL, called, result, called, result])["messages"]

    ids = [call["id"] for message in messages for call in message.get("tool_calls", ())]
    assert [message["role"] for message in messages[1:]] == ["assistant", "tool"] * 2
    assert [message["tool_call_id"] for message in messages if message["role"] == "tool"] == ids
    assert len(set(ids)) == 2
    assert all(len(call_id) == 9 for call_id in ids), "Mistral's templates take no others"
    assert not any("function_call" in message for message in messages)


def given_arguments(served: ServedModel, arguments: str) -> Any:
    call = {**CALL, "function": {"name": "get_weather", "arguments": arguments}}
    messages = given(served, [*CAPITAL, {"role": "assistant", "tool_calls": [call]}])["messages"]
    function = {"name": "get_weather", "arguments": arguments}
    (older,) = given(served, [*CAPITAL, {"role": "assistant", "function_call": function}])[
        "messages"
    ][1]["tool_calls"]
    seen = messages[1]["tool_calls"][0]["function"]["arguments"]
    assert older["function"]["arguments"] == seen
    return seen


@pytest.mark.parametrize(
    "arguments",
    [
        *("no JSON", '{"city": ', "[1, 2]", "5", "true", '"Oslo"', "{} {}", "\ufeff{}"),
        *("NaN", '{"a": NaN}', '{"a": -Infinity}', '{"a": 1e400}', f'{{"a": {"9" * 5000}}}'),
        *("[" * 90_000, '{"a": ' * 1000 + "1" + "}" * 1000, '{"a": "\\x"}'),
    ],
    ids=lambda text: text[:20],
)
def test_arguments_that_are_no_json_object_stay_as_they_are(
    served: ServedModel, arguments: str
) -> None:
    assert given_arguments(served, arguments) == arguments


@pytest.mark.parametrize(
    ("arguments", "seen"),
    [
        ("", {}),
        (" \n", {}),
        ("null", {}),
        ("{}", {}),
        (' {"a": 1, "a": [2.5]}\n', {"a": [2.5]}),
        (r'"{\"a\": 1}"', {"a": 1}),
        (r'{"q": "\ud83d"}', {"q": "\ufffd"}),
        (r'{"\ude00q": ["\uD83D\ude00", "\ud83dx", "\\ud83d"]}', {"�q": ["😀", "�x", r"\ud83d"]}),
        (r'"{\"q\": \"\\ud83d\"}"', {"q": "\ufffd"}),
        (r'"{\"q\": \"\ud83d\"}"', {"q": "\ufffd"}),
    ],
)
def test_arguments_are_an_object_of_text_that_can_be_written(
    served: ServedModel, arguments: str, seen: dict[str, Any]
) -> None:
    assert given_arguments(served, arguments) == seen


def test_tools_are_those_offered_whatever_may_be_called(served: ServedModel) -> None:
    tools = [{"type": "function", "function": {"name": name}} for name in ("a", "b")]
    named = {"type": "function", "function": {"name": "b"}}

    assert given(served, CAPITAL, tools=tools, tool_choice=named)["tools"] == tools
    assert given(served, CAPITAL, tools=tools, tool_choice="none")["tools"] is None
    assert given(served, CAPITAL)["tools"] is None


def test_variables_reach_the_template(served: ServedModel) -> None:
    seen = given(served, CAPITAL, reasoning_effort="high", chat_template_kwargs={"lamp": ["on"]})

    assert (seen["effort"], seen["lamp"]) == ("high", ["on"])


def test_an_answer_is_begun_unless_that_is_ruled_out(served: ServedModel) -> None:
    assert given(served, CAPITAL)["generation"] is True
    assert given(served, CAPITAL, add_generation_prompt=False)["generation"] is False


@pytest.mark.parametrize(
    ("continues", "content", "begun"),
    [
        (True, "The capital", "The capital"),
        (
            True,
            [{"type": "text", "text": "The "}, {"type": "text", "text": "capital"}],
            "The capital",
        ),
        (False, "The capital", ""),
        (None, "The capital", ""),
    ],
)
def test_what_is_begun_is_the_message_that_is_continued(
    continues: bool | None, content: Any, begun: str
) -> None:
    messages = [*CAPITAL, {"role": "assistant", "content": content}]

    assert begun_text(request(messages, continue_final_message=continues)) == begun


def test_content_has_a_limit_in_bytes(served: ServedModel) -> None:
    parsed = request(user("é" * (MAX_SIZE // 2 + 1)))

    with pytest.raises(APIError) as caught:
        check_size(parsed, MAX_SIZE)

    assert (caught.value.status, caught.value.code) == (400, "content_too_large")
    assert str(MAX_SIZE + 2) in caught.value.message


LONG = "é" * (MAX_SIZE // 2)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"role": "user", "content": "x", "name": LONG}, "messages"),
        ({"role": "user", "content": "x", "unknown": [{LONG: 1}]}, "messages"),
        ({"role": "tool", "content": "x", "tool_call_id": LONG}, "messages"),
        ({"role": "assistant", "content": "x", "reasoning_content": LONG}, "messages"),
        ({"role": "assistant", "refusal": LONG}, "messages"),
        ({"role": "assistant", "function_call": {"name": "f", "arguments": LONG}}, "messages"),
        (
            {
                "role": "assistant",
                "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": LONG}}],
            },
            "messages",
        ),
        ({"chat_template_kwargs": {"a": [{"b": LONG}]}}, "chat_template_kwargs"),
        ({"chat_template_kwargs": {"a": [123456789] * (MAX_SIZE // 9)}}, "chat_template_kwargs"),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "description": LONG}}]},
            "tools",
        ),
        (
            {
                "tools": [
                    {"type": "function", "function": {"name": "f", "parameters": {"title": LONG}}}
                ]
            },
            "tools",
        ),
        ({"functions": [{"name": "f", "description": LONG}]}, "functions"),
    ],
)
def test_what_the_template_is_given_beside_content_has_a_limit_of_its_own(
    served: ServedModel, fields: dict[str, Any], param: str
) -> None:
    messages, others = ([fields], {}) if "role" in fields else ([], fields)
    parsed = request([*user("x"), *messages], **others)

    with pytest.raises(APIError, match=f"limit of {MAX_SIZE}") as caught:
        check_size(parsed, MAX_SIZE)

    assert (caught.value.param, caught.value.code) == (param, "content_too_large")


def test_content_takes_nothing_from_the_rest(served: ServedModel) -> None:
    content = [{"type": "text", "text": "x" * (MAX_SIZE // 2)}] * 2
    parsed = request([{"role": "user", "content": content, "name": "y" * (MAX_SIZE - 1000)}])

    check_size(parsed, MAX_SIZE)
    assert len(prompt_of(parsed, served, None).text) > MAX_SIZE
