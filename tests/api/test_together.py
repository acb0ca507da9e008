"""docs/api.md, "Together": what fields do to each other."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.api.conformance import OSLO, THINK, TIME_TOOL, WEATHER, WEATHER_TOOL
from tests.api.openai_types import chat_chunks, chat_completion, text_completion
from tests.server import Server, user

COLOUR: dict[str, Any] = {
    "type": "json_schema",
    "json_schema": {
        "name": "colour",
        "schema": {
            "type": "object",
            "properties": {"colour": {"enum": ["red", "blue"]}},
            "required": ["colour"],
            "additionalProperties": False,
        },
    },
}
FORCED: dict[str, Any] = {"tools": [WEATHER_TOOL], "tool_choice": "required"}


def choices(server: Server, **fields: Any) -> list[Any]:
    """The choices of a body, parsed strictly."""
    response = server.chat(**{"temperature": 0, "max_tokens": 100, **fields})
    return list(chat_completion(response.raise_for_status().content).choices)


def choice(server: Server, **fields: Any) -> Any:
    (only,) = choices(server, **fields)
    return only


def streamed(server: Server, **fields: Any) -> list[Any]:
    """All that the chunks say of a choice, parsed strictly."""
    response = server.chat(**{"temperature": 0, "max_tokens": 100, **fields}, stream=True)
    chunks = chat_chunks(response.raise_for_status().text)
    return [part for chunk in chunks for part in chunk.choices]


class TestToolsAndForms:
    """Where there are both, the answer is either."""

    def test_the_model_may_call(self, server: Server) -> None:
        answer = choice(server, messages=OSLO, tools=[WEATHER_TOOL], response_format=COLOUR)
        assert answer.finish_reason == "tool_calls"
        assert answer.message.tool_calls[0].function.arguments == '{"city": "Oslo"}'

    def test_or_answer_in_the_form(self, server: Server) -> None:
        answer = choice(server, tools=[WEATHER_TOOL], response_format=COLOUR)
        assert answer.finish_reason == "stop"
        assert json.loads(answer.message.content)["colour"] in ("red", "blue")

    def test_without_a_choice_it_is_the_form(self, server: Server) -> None:
        fields = {"tools": [WEATHER_TOOL], "tool_choice": "none", "response_format": COLOUR}
        answer = choice(server, messages=OSLO, **fields)
        assert json.loads(answer.message.content)["colour"] in ("red", "blue")

    @pytest.mark.parametrize("form", [{"response_format": COLOUR}, {"regex": "a+"}])
    def test_a_forced_call_leaves_the_form_out(self, server: Server, form: dict[str, Any]) -> None:
        answer = choice(server, **FORCED, **form)
        assert answer.finish_reason == "tool_calls"
        assert answer.message.content is None


class TestLogprobs:
    """They are of all that is sampled, whatever becomes of it."""

    def test_calls_are_covered_with_their_marks(self, server: Server) -> None:
        answer = choice(server, messages=OSLO, tools=[WEATHER_TOOL], logprobs=True)
        sampled = "".join(entry.token for entry in answer.logprobs.content)
        assert sampled == (
            '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Oslo"}}\n</tool_call>'
        )

    def test_reasoning_is_covered(self, server: Server) -> None:
        answer = choice(server, **THINK, logprobs=True)
        sampled = "".join(entry.token for entry in answer.logprobs.content)
        reasoning = answer.message.reasoning_content
        assert sampled == f"{reasoning}\n</think>\n\n{answer.message.content}"

    @pytest.mark.parametrize("fields", [{"messages": OSLO, "tools": [WEATHER_TOOL]}, THINK])
    def test_chunks_add_up_to_the_body(self, server: Server, fields: dict[str, Any]) -> None:
        whole = choice(server, **fields, logprobs=True, top_logprobs=2)
        parts = streamed(server, **fields, logprobs=True, top_logprobs=2)
        tokens = [entry.token for part in parts if part.logprobs for entry in part.logprobs.content]
        assert tokens == [entry.token for entry in whole.logprobs.content]

    def test_they_are_the_models_own(self, server: Server) -> None:
        fields = {"logprobs": True, "max_tokens": 5, "regex": "[a-z]{9}"}
        answer = choice(server, **fields, logit_bias={"66": 5}, temperature=0.5)
        assert all(entry.logprob < -1 for entry in answer.logprobs.content[:1]), "not likely at all"


class TestReasoning:
    """It comes first, free of any form."""

    def test_the_form_begins_behind_it(self, server: Server) -> None:
        answer = choice(server, **THINK, response_format=COLOUR)
        assert "2" in answer.message.reasoning_content
        assert json.loads(answer.message.content)["colour"] in ("red", "blue")

    def test_a_forced_call_comes_behind_it(self, server: Server) -> None:
        answer = choice(server, **{**THINK, "messages": OSLO}, **FORCED)
        assert answer.message.reasoning_content
        assert answer.message.tool_calls[0].function.name == "get_weather"

    def test_it_may_take_all_tokens(self, server: Server) -> None:
        answer = choice(server, **THINK, max_completion_tokens=5)
        assert (answer.message.content, answer.finish_reason) == ("", "length")
        assert answer.message.reasoning_content


class TestStop:
    """A stop string is looked for in everything that is generated behind the reasoning."""

    def test_it_may_cut_json(self, server: Server) -> None:
        answer = choice(server, response_format=COLOUR, stop=['":'])
        assert (answer.message.content, answer.finish_reason) == ('{"colour', "stop")

    def test_it_does_not_end_reasoning(self, server: Server) -> None:
        whole, answer = choice(server, **THINK), choice(server, **THINK, stop=["asks", "="])
        assert "asks" in answer.message.reasoning_content
        assert answer.message.reasoning_content == whole.message.reasoning_content
        content = whole.message.content.partition("=")[0]
        assert (answer.message.content, answer.finish_reason) == (content, "stop")

    @pytest.mark.sweep(1)
    @pytest.mark.parametrize("stop", ["Oslo", "{", "}\n</", "tool_call"])
    def test_it_cuts_no_call(self, server: Server, stop: str) -> None:
        fields: dict[str, Any] = {"messages": OSLO, "tools": [WEATHER_TOOL], "stop": [stop]}
        answer, parts = choice(server, **fields), streamed(server, **fields)
        assert json.loads(answer.message.tool_calls[0].function.arguments) == {"city": "Oslo"}
        assert answer.finish_reason == parts[-1].finish_reason == "tool_calls"

    def test_a_limit_cuts_a_call_too(self, server: Server) -> None:
        answer = choice(server, messages=OSLO, **FORCED, max_tokens=20)
        assert answer.finish_reason == "length"
        assert answer.message.tool_calls[0].function.name == "get_weather"

    def test_a_call_without_a_name_is_text(self, server: Server) -> None:
        answer = choice(server, messages=OSLO, **FORCED, max_tokens=3)
        assert (answer.message.tool_calls, answer.finish_reason) == (None, "length")
        assert answer.message.content.startswith("<tool_call>")


class TestForms:
    """The form decides which tokens there are, and when it is whole."""

    @pytest.mark.parametrize("field", [{"ignore_eos": True}, {"min_tokens": 60}])
    def test_a_whole_form_ends_the_answer(self, server: Server, field: dict[str, Any]) -> None:
        answer = choice(server, response_format=COLOUR, **field)
        assert answer.finish_reason == "stop"
        assert json.loads(answer.message.content)

    def test_a_bias_does_not_break_it(self, server: Server) -> None:
        banned = {str(token): -100 for token in range(1280)}
        response = server.text(regex="lamp|stove", logit_bias=banned).raise_for_status()
        assert text_completion(response.content).choices[0].text in ("lamp", "stove")

    def test_an_echoed_prompt_is_no_part_of_it(self, server: Server) -> None:
        response = server.text(prompt="The answer: ", echo=True, regex="[0-9]{3}", temperature=0)
        text = text_completion(response.raise_for_status().content).choices[0].text
        assert re.fullmatch("The answer: [0-9]{3}", text)


class TestSeveralChoices:
    """Each is a generation of its own."""

    def test_calls_have_ids_of_their_own(self, server: Server) -> None:
        found = choices(server, messages=OSLO, tools=[WEATHER_TOOL], n=3)
        ids = {call.id for each in found for call in each.message.tool_calls}
        assert len(ids) == 3

    def test_each_has_the_form(self, server: Server) -> None:
        found = choices(server, response_format=COLOUR, n=3, temperature=1, seed=2)
        assert all(json.loads(each.message.content) for each in found)

    def test_each_reasons(self, server: Server) -> None:
        found = choices(server, **THINK, n=2)
        assert all(each.message.reasoning_content for each in found)


def test_a_continued_text_may_call(server: Server) -> None:
    messages = [*OSLO, {"role": "assistant", "content": "I will look."}]
    answer = choice(server, messages=messages, continue_final_message=True, **FORCED)
    assert answer.message.tool_calls[0].function.name == "get_weather"


def test_the_scores_of_a_prompt_take_no_part_in_the_ranking(server: Server) -> None:
    fields = {"prompt": "Once upon a time", "best_of": 4, "seed": 9, "temperature": 1.5}

    def best(**more: Any) -> str:
        response = server.text(**fields, **more).raise_for_status()
        return str(response.json()["choices"][0]["text"])

    assert best(echo=True, logprobs=0) == "Once upon a time" + best()


def test_functions_of_two_spellings_do_not_mix(server: Server) -> None:
    answer = choice(
        server, messages=OSLO, functions=[WEATHER], function_call={"name": "get_weather"}
    )
    assert answer.finish_reason == "function_call"
    assert (answer.message.tool_calls, answer.message.content) == (None, None)


def test_a_subset_of_tools_is_still_all_that_the_model_is_told_of(server: Server) -> None:
    subset = {"mode": "required", "tools": [{"type": "function", "function": {"name": "get_time"}}]}
    fields: dict[str, Any] = {"messages": user("Hi"), "tools": [WEATHER_TOOL, TIME_TOOL]}
    some = server.chat(**fields, tool_choice={"type": "allowed_tools", "allowed_tools": subset})
    everything = server.chat(**fields, max_tokens=1)
    assert some.json()["usage"]["prompt_tokens"] == everything.json()["usage"]["prompt_tokens"]
    assert some.json()["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "get_time"
