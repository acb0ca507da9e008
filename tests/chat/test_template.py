"""Chat templates: what they are given, and what comes back."""

from __future__ import annotations

from typing import Any

import pytest

from shared.chat.template import CHATML, RESERVED, ChatTemplate, TemplateError

HELLO = [{"role": "user", "content": "Hello"}]
WEATHER = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather in <city> & 'country'",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
]


def render(source: str, **arguments: Any) -> str:
    """``source`` with a message, or with the arguments given."""
    return ChatTemplate(source).render(arguments.pop("messages", HELLO), **arguments)


class TestErrors:
    """The template's own words reach the caller."""

    def test_raise_exception_gives_its_message(self) -> None:
        source = "{{ raise_exception('Roles must alternate: ' + messages[0].role) }}"
        with pytest.raises(TemplateError, match=r"^Roles must alternate: user$"):
            render(source)

    @pytest.mark.parametrize(
        "source", ["{% if %}", "{{ messages", "{% endfor %}", "{{ 1 | nope }}", "{% break %}"]
    )
    def test_a_broken_template_is_refused_when_it_is_compiled(self, source: str) -> None:
        with pytest.raises(TemplateError, match="can't be compiled"):
            ChatTemplate(source)


class TestWhatTemplatesAreGiven:
    """Messages, tools, tokens, and what the caller adds."""

    def test_tools_reach_it(self) -> None:
        source = "{% if tools %}{{ tools[0].function.name }}{{ tools | tojson }}{% endif %}"
        rendered = render(source, tools=WEATHER)
        assert rendered.startswith("get_weather[{")
        assert "<city> & 'country'" in rendered
        assert render(source) == ""

    def test_the_generation_prompt_can_be_left_out(self) -> None:
        source = "{% if add_generation_prompt %}assistant:{% endif %}"
        assert render(source) == "assistant:"
        assert render(source, add_generation_prompt=False) == ""

    def test_the_models_tokens_have_names(self) -> None:
        template = ChatTemplate(
            "{{ bos_token }}x{{ eos_token }}", bos_token="<s>", eos_token="</s>"
        )
        assert template.render(HELLO) == "<s>x</s>"

    def test_variables_reach_it(self) -> None:
        source = "{% if enable_thinking %}think {{ reasoning_effort }}{% endif %}"
        variables = {"enable_thinking": True, "reasoning_effort": "low"}
        assert render(source, variables=variables) == "think low"
        assert render(source) == ""

    def test_a_template_may_be_rendered_again(self) -> None:
        template = ChatTemplate("{% set ns = namespace(n=0) %}{% set ns.n = ns.n + 1 %}{{ ns.n }}")
        assert [template.render(HELLO) for _ in range(3)] == ["1", "1", "1"]

    @pytest.mark.parametrize("name", sorted(RESERVED))
    def test_variables_can_not_take_the_place_of_what_a_template_relies_on(self, name: str) -> None:
        template = ChatTemplate(
            "{{ bos_token }}{{ eos_token }}{{ messages | length }}{{ add_generation_prompt }}"
            "{{ tools is none }}{{ range(2) | list }}{{ namespace(a=1).a }}{{ dict(a=2).a }}"
            "{{ joiner('') is defined }}{{ cycler(3).next() }}{{ continue_final_message is defined }}"
            "{{ strftime_now('%%') }}{% if not messages %}{{ raise_exception('no') }}{% endif %}",
            bos_token="<s>",
            eos_token="</s>",
        )
        expected = "<s></s>1TrueTrue[0, 1]12True3False%"
        assert template.render(HELLO, variables={name: "mine"}) == expected

    def test_any_other_variable_may_have_any_name(self) -> None:
        variables = {"self": 1, "context": 2, "environment": 3, "loop": 4, "": 5, "a b": 6}
        source = "{{ context }}{{ environment }}{{ messages[0].content }}"
        assert render(source, variables=variables) == "23Hello"

    def test_documents_are_none_unless_given(self) -> None:
        source = "{{ documents is none }}{{ (documents or [{}])[0].text }}"
        assert render(source) == "True"
        assert render(source, variables={"documents": [{"text": "x"}]}) == "Falsex"

    def test_a_field_that_is_null_is_absent(self) -> None:
        messages = [{"role": "assistant", "content": None, "tool_calls": None, "refusal": None}]
        assert render("{{ messages[0] | tojson }}", messages=messages) == '{"role": "assistant"}'

    @pytest.mark.parametrize("name", ["reasoning_content", "thinking", "reasoning"])
    def test_reasoning_has_the_names_that_templates_know(self, name: str) -> None:
        messages = [{"role": "assistant", "content": "2", name: "1 and 1"}]
        source = "{{ messages[0].reasoning_content }}, {{ messages[0].thinking }}"
        assert render(source, messages=messages) == "1 and 1, 1 and 1"
        assert name in messages[0]
        assert len(messages[0]) == 3


class TestVariables:
    """What a template reads from outside."""

    def test_are_known_beforehand(self) -> None:
        template = ChatTemplate(
            "{% for message in messages %}{{ message.content }}{% endfor %}"
            "{% if tools is defined and enable_thinking %}{{ raise_exception(reasoning_effort) }}"
            "{% endif %}{% set mine = 1 %}{{ mine }}"
        )
        assert template.variables == {"messages", "tools", "enable_thinking", "reasoning_effort"}

    def test_a_name_in_a_text_or_in_a_message_is_none(self) -> None:
        template = ChatTemplate("enable_thinking {{ 'tools' }}{{ messages[0].thinking }}")
        assert template.variables == {"messages"}


class TestContinuingTheFinalMessage:
    """The prompt ends within the assistant's message."""

    TRIMMING = (
        "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}</{{ m.role }}>{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    KEEPING = TRIMMING.replace(" | trim", "")

    def continued(self, source: str, content: Any, **arguments: Any) -> str:
        messages = [*HELLO, {"role": "assistant", "content": content, **arguments}]
        return ChatTemplate(source).render(messages, continue_final_message=True)

    def test_ends_with_its_text(self) -> None:
        assert self.continued(self.KEEPING, "One, ") == "<user>Hello</user><assistant>One, "

    def test_ends_without_the_space_that_a_template_strips(self) -> None:
        assert self.continued(self.TRIMMING, " One, ") == "<user>Hello</user><assistant>One,"

    def test_a_text_that_occurs_before_is_no_trouble(self) -> None:
        assert self.continued(self.KEEPING, "Hello") == "<user>Hello</user><assistant>Hello"
        assert self.continued(self.KEEPING, "") == "<user>Hello</user><assistant>"

    def test_continues_the_last_part_with_text(self) -> None:
        source = "{% for p in messages[-1].content %}[{{ p.text }}]{% endfor %}"
        parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}, {"type": "image"}]
        assert self.continued(source, parts) == "[a][b"
        assert parts[1] == {"type": "text", "text": "b"}

    def test_the_callers_message_stays_as_it_is(self) -> None:
        message = {"role": "assistant", "content": "One"}
        ChatTemplate(self.KEEPING).render([message], continue_final_message=True)
        assert message == {"role": "assistant", "content": "One"}

    def test_excludes_the_generation_prompt(self) -> None:
        with pytest.raises(TemplateError, match="excludes continue_final_message"):
            ChatTemplate(self.KEEPING).render(
                [{"role": "assistant", "content": "One"}],
                continue_final_message=True,
                add_generation_prompt=True,
            )

    @pytest.mark.parametrize("messages", [HELLO, [], [{"role": "tool", "content": "x"}]])
    def test_is_for_the_assistants_message_only(self, messages: list[dict[str, Any]]) -> None:
        with pytest.raises(TemplateError, match="only an assistant's message can be continued"):
            ChatTemplate(self.KEEPING).render(messages, continue_final_message=True)

    @pytest.mark.parametrize("content", [None, [], [{"type": "image"}]])
    def test_is_refused_where_there_is_no_text(self, content: Any) -> None:
        with pytest.raises(TemplateError, match="no text that could be continued"):
            self.continued(self.KEEPING, content)

    @pytest.mark.parametrize(
        "source",
        [
            "{{ messages[0].content }}",
            "{{ messages[-1].content | upper }}",
            "{{ messages[-1].content[:3] }}",
            "{{ messages[-1].content.split('</think>')[-1] }}",
        ],
    )
    def test_is_refused_where_the_template_changes_the_text(self, source: str) -> None:
        with pytest.raises(TemplateError, match="it can't be continued"):
            self.continued(source, "<think>one</think>two")


class TestChatML:
    """The format for models whose file has no template."""

    def test_marks_each_message_and_asks_for_the_answer(self) -> None:
        messages = [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": None},
        ]
        assert render(CHATML, messages=messages) == (
            "<|im_start|>system\nBe brief.<|im_end|>\n"
            "<|im_start|>user\nHello<|im_end|>\n"
            "<|im_start|>assistant\n<|im_end|>\n"
            "<|im_start|>assistant\n"
        )

    def test_can_leave_the_generation_prompt_out(self) -> None:
        assert render(CHATML, add_generation_prompt=False) == "<|im_start|>user\nHello<|im_end|>\n"
