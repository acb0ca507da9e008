"""What a stored completion becomes as an example, and what becomes none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shared.storage.export.examples import NoExample, Selection
from shared.storage.types import StoredCompletion
from tests.storage.conversations import TOOLS, assistant, call, chat, result, text, user
from tests.storage.formats import check_evaluation, check_training

FIRST = Selection()
ALL = Selection(choices="all")
PARIS = chat([user("Capital of France?")], "Paris.")
FUNCTIONS = [{"name": "get_weather", "parameters": {"type": "object"}}]
LEGACY_CALL = {"name": "get_weather", "arguments": "{}"}


def training(completion: StoredCompletion, selection: Selection = FIRST) -> list[dict[str, Any]]:
    """The valid training lines of all chosen choices."""
    lines = [
        selection.example(completion, choice).training() for choice in selection.chosen(completion)
    ]
    for line in lines:
        check_training(line)
    return lines


def evaluation(completion: StoredCompletion) -> dict[str, Any]:
    """The valid evaluation line of the first choice."""
    line = FIRST.example(completion, FIRST.chosen(completion)[0]).evaluation()
    check_evaluation(line)
    return line


def reason(completion: StoredCompletion, selection: Selection = FIRST) -> str:
    """Why the first choice is no example."""
    with pytest.raises(NoExample) as refused:
        selection.example(completion, selection.chosen(completion)[0])
    return str(refused.value)


def test_the_answer_follows_the_requests_messages() -> None:
    system = {"role": "system", "content": "Be brief."}
    completion = chat([system, user("Capital of France?")], "Paris.")

    assert training(completion) == [
        {
            "messages": [
                system,
                user("Capital of France?"),
                {"role": "assistant", "content": "Paris."},
            ]
        }
    ]


def test_a_developers_message_is_the_systems() -> None:
    (line,) = training(chat([{"role": "developer", "content": "Be brief."}, user("Hi")], "Hello."))

    assert line["messages"][0] == {"role": "system", "content": "Be brief."}


def test_text_parts_become_one_text() -> None:
    parts = [{"type": "text", "text": "Capital "}, {"type": "text", "text": "of France?"}]

    (line,) = training(chat([user(parts)], "Paris."))

    assert line["messages"][0] == user("Capital of France?")


def test_other_parts_stay_parts() -> None:
    parts = [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
    ]
    completion = chat([user(parts)], "A lamp.")

    line = FIRST.example(completion, FIRST.chosen(completion)[0]).training()

    assert line["messages"][0] == user(parts)


def test_a_refusal_is_what_was_said() -> None:
    earlier = {"role": "assistant", "content": None, "refusal": "No."}

    (line,) = training(chat([user("Hi"), earlier, user("Please")], "Hello."))

    assert line["messages"][1] == {"role": "assistant", "content": "No."}


def test_calls_of_nothing_are_none() -> None:
    (line,) = training(chat([user("Hi"), {**assistant("Hi."), "tool_calls": []}], "Well?"))

    assert line["messages"][1] == {"role": "assistant", "content": "Hi."}


def test_names_stay_and_unknown_or_null_fields_go() -> None:
    asked = {**user("Hi"), "name": "ada", "colour": "red", "audio": None}

    (line,) = training(chat([asked], assistant("Hello.", annotations=[])))

    assert line["messages"] == [
        {**user("Hi"), "name": "ada"},
        {"role": "assistant", "content": "Hello."},
    ]


def test_reasoning_is_kept_only_if_asked_for() -> None:
    earlier = assistant("Two.", reasoning_content="1 + 1")
    completion = chat(
        [user("1 + 1?"), earlier, user("2 + 2?")], assistant("Four.", reasoning_content="2 + 2")
    )

    (plain,) = training(completion)
    choice = FIRST.chosen(completion)[0]
    reasoned = Selection(reasoning=True).example(completion, choice).training()

    assert "reasoning_content" not in str(plain)
    assert [m.get("reasoning_content") for m in reasoned["messages"]] == [
        *(None, "1 + 1", None, "2 + 2")
    ]


def test_a_tool_call_comes_with_the_tools_and_without_content() -> None:
    completion = chat(
        [user("Weather in Oslo?")],
        assistant(None, tool_calls=[call()]),
        finish="tool_calls",
        tools=TOOLS,
        parallel_tool_calls=False,
    )

    assert training(completion) == [
        {
            "messages": [user("Weather in Oslo?"), {"role": "assistant", "tool_calls": [call()]}],
            "tools": TOOLS,
            "parallel_tool_calls": False,
        }
    ]


def test_a_conversation_with_tools_keeps_calls_and_results() -> None:
    untyped = {key: value for key, value in call("b").items() if key != "type"}
    calls = assistant(None, tool_calls=[call("a"), untyped])
    completion = chat(
        [user("Weather?"), calls, result("b"), result("a", "")], "18 degrees.", tools=TOOLS
    )

    (line,) = training(completion)

    assert line["messages"][1:] == [
        {"role": "assistant", "tool_calls": [call("a"), call("b")]},
        result("b"),
        result("a", ""),
        {"role": "assistant", "content": "18 degrees."},
    ]


def test_tools_that_the_model_was_not_told_of_are_left_out() -> None:
    (line,) = training(chat([user("Hi")], "Hello.", tools=TOOLS, tool_choice="none"))

    assert line.keys() == {"messages"}


def test_the_older_form_of_tools_stays_as_it_is() -> None:
    function_result = {"role": "function", "name": "get_weather", "content": "18"}
    first = chat(
        [user("Weather?")],
        assistant(None, function_call=LEGACY_CALL),
        finish="function_call",
        functions=FUNCTIONS,
    )
    second = chat(
        [user("Weather?"), assistant(None, function_call=LEGACY_CALL), function_result],
        "18 degrees.",
        functions=FUNCTIONS,
    )

    (called,) = training(first)
    (answered,) = training(second)

    assert called["functions"] == answered["functions"] == FUNCTIONS
    assert called["messages"][-1] == {"role": "assistant", "function_call": LEGACY_CALL}
    assert answered["messages"][-2] == function_result


def test_of_several_choices_the_first_or_all_are_taken() -> None:
    completion = chat([user("A colour?")], "Red.", "Blue.", "Red.", n=3)

    assert [line["messages"][-1]["content"] for line in training(completion)] == ["Red."]
    assert [line["messages"][-1]["content"] for line in training(completion, ALL)] == [
        *("Red.", "Blue.", "Red.")
    ]


def test_a_continued_message_is_one_message() -> None:
    completion = chat(
        [user("A story"), assistant("Once upon ")], "a time.", continue_final_message=True
    )

    assert training(completion) == [
        {
            "messages": [
                user("A story"),
                {"role": "assistant", "content": "Once upon a time."},
            ]
        }
    ]
    assert evaluation(completion)["item"] == {
        "input": [user("A story")],
        "ideal": "Once upon a time.",
    }


@pytest.mark.parametrize(
    ("completion", "name", "why"),
    [
        (replace(PARIS, is_incomplete=True), "incomplete", "incomplete"),
        (chat([user("Hi")], "Hel", finish="length"), "length", "cut by length"),
        (
            replace(chat([user("Hi")], "Hel", finish="length"), is_incomplete=True),
            *("incomplete", "incomplete"),
        ),
        (text("Once", " upon", finish="length"), "length", "cut by length"),
    ],
)
def test_what_did_not_end_by_itself_is_taken_only_if_asked_for(
    completion: StoredCompletion, name: Any, why: str
) -> None:
    others: Any = frozenset({"incomplete", "length"}) - {name}

    assert reason(completion) == why
    assert reason(completion, Selection(include=others)) == why
    assert training(completion, Selection(include=frozenset({name})))


@pytest.mark.parametrize(
    ("completion", "why"),
    [
        (chat([user("Hi")], ""), "empty answer"),
        (chat([user("Hi")], assistant(None, tool_calls=[])), "empty answer"),
        *(
            (chat([user("Hi"), message, user("Hi?")], "Hi."), "empty message")
            for message in (
                user(""),
                user([]),
                {"role": "developer", "content": ""},
                {"role": "assistant"},
                assistant(None, tool_calls=[]),
            )
        ),
        (
            chat([user("Hi")], assistant(None, function_call={"name": "a b", "arguments": "{}"})),
            "a call of no tool's name",
        ),
        (chat([user("Hi"), result()], "18."), "a tool's result without its call"),
        (
            chat([user("Hi"), assistant(None, tool_calls=[call()]), user("Well?")], "18."),
            "a tool call without its result",
        ),
        (
            chat(
                [user("Hi"), assistant(None, tool_calls=[call("a"), call("b")]), result("a")], "18."
            ),
            "a tool call without its result",
        ),
        (
            chat([user("Hi")], assistant(None, tool_calls=[call(arguments='{"city": ')])),
            "arguments that are no JSON object",
        ),
        (
            chat([user("Hi")], assistant(None, tool_calls=[call(arguments="[1]")])),
            "arguments that are no JSON object",
        ),
        (
            chat([user("Hi")], assistant(None, function_call={"name": "f", "arguments": "x"})),
            "arguments that are no JSON object",
        ),
        (text("Once", ""), "empty answer"),
        (text([1, 2], " upon"), "token ids as the prompt"),
        (text([[1], [2]], " upon", " a"), "token ids as the prompt"),
        (text("def f(", "x", suffix="):"), "fill-in-the-middle"),
        (text("Once", "once upon", echo=True), "echo unlike the prompt"),
    ],
)
def test_what_no_trainer_takes_is_left_out_for_a_reason(
    completion: StoredCompletion, why: str
) -> None:
    assert reason(completion) == why


def test_a_text_is_a_prompt_and_its_completion() -> None:
    assert training(text("Once", " upon")) == [{"prompt": "Once", "completion": " upon"}]
    assert training(text(None, "Once")) == [{"prompt": "", "completion": "Once"}]


def test_an_echoed_prompt_is_no_part_of_the_completion() -> None:
    assert training(text("Once", "Once upon", echo=True)) == [
        {"prompt": "Once", "completion": " upon"}
    ]


def test_each_of_several_prompts_has_its_choices() -> None:
    completion = text(["One", "Two"], " a", " b", " c", " d", n=2)

    assert training(completion) == [
        {"prompt": "One", "completion": " a"},
        {"prompt": "Two", "completion": " c"},
    ]
    assert [line["prompt"] for line in training(completion, ALL)] == ["One", "One", "Two", "Two"]


def test_an_evaluation_has_the_question_and_the_ideal_answer() -> None:
    assert evaluation(PARIS) == {"item": {"input": [user("Capital of France?")], "ideal": "Paris."}}
    assert evaluation(text("Once", " upon")) == {"item": {"input": "Once", "ideal": " upon"}}


@pytest.mark.parametrize("field", ["tool_calls", "function_call"])
def test_a_call_is_no_text_to_compare_with(field: str) -> None:
    made: Any = [call()] if field == "tool_calls" else LEGACY_CALL
    completion = chat([user("Weather?")], assistant("Let me see.", **{field: made}))
    example = FIRST.example(completion, FIRST.chosen(completion)[0])

    with pytest.raises(NoExample, match="tool calls"):
        example.evaluation()
