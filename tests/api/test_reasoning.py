"""Reasoning, and what requests tell the chat template."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from openai import OpenAI

from tests.api.messages import Answer, both, calls
from tests.api.schemas import PERSON
from tests.api.test_errors import error_of
from tests.api.tools import BOSTON, CALL, WEATHER
from tests.app_server import AppServer
from tests.server import CAPITAL, Server, user

SUM = user("What is 2 + 3?")
THINKING: dict[str, Any] = {"chat_template_kwargs": {"enable_thinking": True}}
FORMAT = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON}}

TEMPLATE = """\
{%- for message in messages %}
{%- if message.content == 'refuse' %}{{ raise_exception('Never say "refuse"!') }}{% endif %}
{%- if message.content == 'divide' %}{{ 1 // 0 }}{% endif %}
{{- '<|im_start|>' + message.role + '\\n' + (message.content or '') + '<|im_end|>\\n' }}
{%- endfor %}
{%- if reasoning_effort is defined %}{{ '[effort ' + reasoning_effort + ']' }}{% endif %}
{%- if verbosity is defined %}{{ '[verbosity ' + verbosity + ']' }}{% endif %}
{%- if mood is defined %}{{ '[mood ' + mood | tojson + ']' }}{% endif %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n<think>\\n' }}{% endif %}
"""
"""Opens a block of reasoning in every prompt, and shows the variables that it is given."""


@pytest.fixture(scope="module")
def thinker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a template of the tests' own."""
    directory = tmp_path_factory.mktemp("thinker")
    template = directory / "template.jinja"
    template.write_text(TEMPLATE, encoding="utf-8")
    server = AppServer(directory / "server.log", "--chat-template-file", str(template))
    yield server
    server.stop()


def ask(server: Server, **fields: Any) -> Answer:
    """The only choice, the same in body and stream."""
    (answer,) = both(server, **{"temperature": 0, "max_tokens": 120, **fields}).agree()
    return answer


def prompt(server: Server, **fields: Any) -> str:
    """What the template makes of a request."""
    response = server.post("/apply-template", {"messages": CAPITAL, **fields})
    return str(response.raise_for_status().json()["prompt"])


class TestReasoning:
    """What is between the marks comes apart from the content."""

    def test_is_apart_from_the_content(self, server: Server) -> None:
        answer = ask(server, messages=SUM, **THINKING)

        assert answer["content"] == "2 + 3 = 5"
        assert "add" in answer["reasoning_content"]
        assert "think>" not in answer["reasoning_content"]
        assert answer["reasoning_content"] == answer["reasoning_content"].strip()
        assert answer["finish_reason"] == "stop"

    def test_is_counted(self, server: Server) -> None:
        thinking, plain = (
            both(server, messages=SUM, temperature=0, **more).body.usage for more in (THINKING, {})
        )

        assert thinking is not None
        assert plain is not None
        assert thinking.completion_tokens_details is not None
        assert plain.completion_tokens_details is not None
        n_reasoning = thinking.completion_tokens_details.reasoning_tokens
        assert n_reasoning is not None
        assert 0 < n_reasoning < thinking.completion_tokens
        # The answer is "2 + 3 = 5" both times: the rest are thoughts, and space behind them.
        assert thinking.completion_tokens - n_reasoning == pytest.approx(
            plain.completion_tokens, abs=2
        )
        assert plain.completion_tokens_details.reasoning_tokens == 0

    def test_is_all_there_is_when_the_limit_comes_first(self, server: Server) -> None:
        for n_tokens in range(1, 8):
            asked = both(server, messages=SUM, temperature=0, max_tokens=n_tokens, **THINKING)
            (answer,) = asked.agree()
            assert answer["content"] is None
            assert answer["finish_reason"] == "length"
            assert asked.streamed_usage["completion_tokens_details"]["reasoning_tokens"] == n_tokens

    @pytest.mark.slow
    def test_several_choices_think_each(self, server: Server) -> None:
        answers = both(server, messages=SUM, n=3, seed=1, max_tokens=120, **THINKING).agree()

        assert all(answer["reasoning_content"] for answer in answers)

    def test_comes_in_pieces(self, server: Server) -> None:
        chunks = both(server, messages=SUM, temperature=0, **THINKING).chunks

        deltas = [chunk.choices[0].delta.model_dump() for chunk in chunks if chunk.choices]
        thoughts = [i for i, delta in enumerate(deltas) if delta.get("reasoning_content")]
        contents = [i for i, delta in enumerate(deltas) if delta.get("content")]
        assert len(thoughts) > 5
        assert max(thoughts) < min(contents)
        assert "reasoning_content" not in deltas[0]

    def test_is_nothing_that_the_openai_client_minds(self, server: Server, client: OpenAI) -> None:
        completion = client.chat.completions.create(
            model=server.model,
            messages=[{"role": "user", "content": "What is 2 + 3?"}],
            temperature=0,
            extra_body=THINKING,
        )

        message = completion.choices[0].message
        assert message.content == "2 + 3 = 5"
        assert message.model_extra is not None
        assert "add" in message.model_extra["reasoning_content"]

    @pytest.mark.sweep(1)
    @pytest.mark.parametrize("more", [{}, {"n": 3, "seed": 1}, {"logprobs": True}])
    def test_is_not_ended_by_stop_strings(self, server: Server, more: dict[str, Any]) -> None:
        fields = {"messages": CAPITAL, "temperature": 0, **THINKING, **more}
        whole = both(server, **fields).agree()
        stops = ["for", "\n", "\n\n", "think>", "is"]

        stopped = both(server, **fields, stop=stops).agree()

        for answer, uncut in zip(stopped, whole, strict=True):
            assert "for" in answer["reasoning_content"]
            assert answer["reasoning_content"] == uncut["reasoning_content"]
            assert answer["content"] == uncut["content"].partition("is")[0] != uncut["content"]
            assert answer["finish_reason"] == "stop"

    @pytest.mark.slow
    def test_comes_before_a_format(self, server: Server) -> None:
        for seed in range(6):
            answer = ask(
                server, messages=SUM, temperature=1, seed=seed, response_format=FORMAT, **THINKING
            )
            if answer["finish_reason"] == "stop":
                assert answer["reasoning_content"] is not None
                jsonschema.validate(json.loads(answer["content"]), PERSON)

    @pytest.mark.sweep(1)
    @pytest.mark.parametrize("choice", ["auto", "required"])
    def test_comes_before_a_call(self, server: Server, choice: str) -> None:
        answer = ask(server, messages=BOSTON, tools=[WEATHER], tool_choice=choice, **THINKING)

        assert answer["reasoning_content"] == "I will call get_weather."
        assert calls(answer) == [CALL]
        assert answer["finish_reason"] == "tool_calls"

    def test_sent_back_reaches_the_template(self, server: Server) -> None:
        messages = [
            *BOSTON,
            {
                "role": "assistant",
                "reasoning_content": "I will call get_weather.",
                "tool_calls": [
                    {
                        "id": "1",
                        "type": "function",
                        "function": {"name": "get_weather", "arguments": '{"location": "Boston"}'},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "1", "content": "sunny"},
        ]

        assert "<think>\nI will call get_weather.\n</think>" in prompt(server, messages=messages)

    @pytest.mark.slow
    def test_may_be_opened_by_every_prompt(self, thinker: Server) -> None:
        answer = ask(thinker, messages=SUM)

        assert answer["content"] == "2 + 3 = 5"
        assert "add" in answer["reasoning_content"]

    def test_may_have_been_done_before(self, server: Server) -> None:
        """The message that is continued is in its answer already."""
        begun = {"role": "assistant", "content": "<think>\nI add 3 to 2.\n</think>\n\n2 + 3"}

        answer = ask(server, messages=[*SUM, begun], continue_final_message=True)

        assert answer["content"].startswith(" = ")
        assert answer["reasoning_content"] is None

    def test_that_was_begun_is_continued(self, server: Server) -> None:
        begun = {"role": "assistant", "content": "<think>\nThe user asks for 2 + 3. I"}

        answer = ask(server, messages=[*SUM, begun], continue_final_message=True)

        assert answer["reasoning_content"] is not None
        assert "5" in answer["reasoning_content"]
        assert answer["content"] == "2 + 3 = 5"


class TestContinuation:
    """``continue_final_message`` and ``add_generation_prompt``."""

    def test_is_what_follows_alone(self, server: Server) -> None:
        begun = {"role": "assistant", "content": "The capital of France"}

        answer = ask(server, messages=[*CAPITAL, begun], continue_final_message=True)

        assert answer["content"] == " is Paris."

    def test_may_follow_a_format_too(self, server: Server) -> None:
        begun = {"role": "assistant", "content": '{"name":"Ada","age":'}

        answer = ask(
            server,
            messages=[*CAPITAL, begun],
            continue_final_message=True,
            regex="[1-9][0-9]?}",
        )

        jsonschema.validate(json.loads(begun["content"] + answer["content"]), PERSON)

    def test_ends_the_prompt_with_the_text(self, server: Server) -> None:
        begun = {"role": "assistant", "content": "The capital of"}

        continued = prompt(server, messages=[*CAPITAL, begun], continue_final_message=True)
        answered = prompt(server, messages=[*CAPITAL, begun])
        ended = prompt(server, messages=[*CAPITAL, begun], add_generation_prompt=False)

        assert continued.endswith("<|im_start|>assistant\nThe capital of")
        assert ended == continued + "<|im_end|>\n"
        assert answered == ended + "<|im_start|>assistant\n"


class TestTemplate:
    """What reaches the template, and what comes of its refusal."""

    @pytest.mark.parametrize(
        ("fields", "shown"),
        [
            ({}, "<|im_end|>\n<|im_start|>"),
            ({"reasoning_effort": "high"}, "[effort high]"),
            ({"verbosity": "low"}, "[verbosity low]"),
            ({"chat_template_kwargs": {"mood": ["é", {"a": 1}]}}, '[mood ["é", {"a": 1}]]'),
            (
                {"reasoning_effort": "low", "chat_template_kwargs": {"reasoning_effort": "none"}},
                "[effort none]",
            ),
        ],
        ids=str,
    )
    def test_is_given_variables(self, thinker: Server, fields: dict[str, Any], shown: str) -> None:
        assert shown in prompt(thinker, **fields)
        assert thinker.chat(max_tokens=1, **fields).status_code == 200

    @pytest.mark.parametrize("streamed", [False, True])
    def test_that_refuses_says_why(self, thinker: Server, streamed: bool) -> None:
        response = thinker.chat(messages=user("refuse"), stream=streamed)

        error = error_of(response)
        assert response.status_code == 400
        assert (error["param"], error["code"]) == ("messages", "template_error")
        assert 'Never say "refuse"!' in (error["message"] or "")

    def test_that_fails_is_no_failure_of_the_server(self, thinker: Server) -> None:
        response = thinker.chat(messages=user("divide"))

        assert response.status_code == 400
        assert error_of(response)["code"] == "template_error"

    def test_can_not_be_made_to_run_away(self, thinker: Server) -> None:
        deep: Any = "x"
        for _ in range(150):
            deep = [deep]

        for mood in (deep, "x" * 60_000, [0] * 10_000):
            response = thinker.chat(chat_template_kwargs={"mood": mood}, max_tokens=1)
            assert response.status_code in (200, 400)


@pytest.mark.slow
def test_unreadable_templates_are_found_at_the_start(tmp_path: Path) -> None:
    broken = tmp_path / "broken.jinja"
    broken.write_text("{% for %}", encoding="utf-8")

    with pytest.raises(ValueError, match="template"):
        AppServer(tmp_path / "server.log", "--chat-template-file", str(broken))
