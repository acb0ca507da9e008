"""Chat templates: what they may do, what they may not, and what they are given."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from shared.chat.template import CHATML, ChatTemplate, TemplateError

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


class TestSandbox:
    """A model's file is not to be trusted."""

    @pytest.mark.parametrize(
        "source",
        [
            "{{ ''.__class__.__mro__[1].__subclasses__() }}",
            "{{ messages.__class__.__base__.__subclasses__() }}",
            "{{ raise_exception.__globals__['__builtins__'] }}",
            "{{ strftime_now.__code__.co_consts }}",
            "{{ self.__init__.__globals__.os }}",
            "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
            "{{ (''|attr('__class__')).__mro__ }}",
            "{{ '{0.__class__.__mro__}'.format('') }}",
        ],
    )
    def test_attributes_that_lead_out_are_refused(self, source: str) -> None:
        try:
            rendered = render(source)
        except TemplateError:
            return
        assert "class" not in rendered
        assert "uid" not in rendered

    def test_an_escape_raises_a_template_error(self) -> None:
        with pytest.raises(TemplateError, match="unsafe"):
            render("{{ ''.__class__.__mro__[1].__subclasses__() }}")

    @pytest.mark.parametrize(
        "source",
        [
            "{% set _ = messages.append(1) %}",
            "{% set _ = messages[0].update({'role': 'x'}) %}",
            "{% set _ = messages.pop() %}",
        ],
    )
    def test_the_callers_messages_can_not_be_changed(self, source: str) -> None:
        messages = [dict(HELLO[0])]
        with pytest.raises(TemplateError):
            render(source, messages=messages)
        assert messages == HELLO

    def test_files_can_not_be_included(self) -> None:
        with pytest.raises(TemplateError):
            render("{% include '/etc/passwd' %}")

    @pytest.mark.parametrize(
        "source",
        [
            "{% for i in range(1000000000) %}{% endfor %}",
            "{{ 1 // 0 }}",
            "{{ messages[0].content + 1 }}",
            "{{ unknown_function() }}",
            "{{ messages[99].role.upper() }}",
            "{{ messages | sum }}",
            "{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}",
            "{{ '%d' % 'x' }}",
            "{{ 'x'.encode('no-such-codec') }}",
            "{{ [1, 2, 3].index(4) }}",
            "{{ {}.missing.deeper }}",
            "{{ 2.0 ** 10000 }}",
            "{{ strftime_now(5) }}",
        ],
    )
    def test_whatever_goes_wrong_inside_is_a_template_error(self, source: str) -> None:
        with pytest.raises(TemplateError):
            render(source)


class TestErrors:
    """The template's own words reach the caller."""

    def test_raise_exception_gives_its_message(self) -> None:
        source = "{{ raise_exception('Roles must alternate: ' + messages[0].role) }}"
        with pytest.raises(TemplateError, match=r"^Roles must alternate: user$"):
            render(source)

    @pytest.mark.parametrize(
        "source", ["{% if %}", "{{ messages", "{% endfor %}", "{{ 1 | nope }}"]
    )
    def test_a_broken_template_is_refused_when_it_is_compiled(self, source: str) -> None:
        with pytest.raises(TemplateError, match="can't be compiled"):
            ChatTemplate(source)


class TestEnvironment:
    """The same helpers as in `transformers`."""

    def test_tojson_keeps_order_and_characters(self) -> None:
        value = {"z": "<é & 'x'>", "a": [1, None, True]}
        rendered = render("{{ value | tojson }}", variables={"value": value})
        assert rendered == '{"z": "<é & \'x\'>", "a": [1, null, true]}'

    def test_tojson_takes_the_arguments_that_templates_use(self) -> None:
        variables = {"value": {"b": "é", "a": 1}}
        assert render("{{ value | tojson(indent=2) }}", variables=variables) == (
            '{\n  "b": "é",\n  "a": 1\n}'
        )
        assert render("{{ value | tojson(sort_keys=true) }}", variables=variables) == (
            '{"a": 1, "b": "é"}'
        )
        assert render("{{ value | tojson(ensure_ascii=true) }}", variables=variables) == (
            '{"b": "\\u00e9", "a": 1}'
        )
        assert render("{{ value | tojson(separators=(',', ':')) }}", variables=variables) == (
            '{"b":"é","a":1}'
        )

    def test_strftime_now_formats_the_present(self) -> None:
        before = datetime.now().strftime("%Y-%m-%d")
        rendered = render("{{ strftime_now('%Y-%m-%d') }}")
        assert before <= rendered <= datetime.now().strftime("%Y-%m-%d")

    def test_loop_controls(self) -> None:
        source = (
            "{% for i in range(9) %}{% if i == 1 %}{% continue %}{% endif %}"
            "{% if i == 4 %}{% break %}{% endif %}{{ i }}{% endfor %}"
        )
        assert render(source) == "023"

    def test_blocks_leave_no_blank_lines(self) -> None:
        source = "{% for m in messages %}\n    {% if true %}\n{{ m.content }}\n    {% endif %}\n{% endfor %}"
        assert render(source) == "Hello\n"

    def test_nothing_is_escaped(self) -> None:
        messages = [{"role": "user", "content": "<b>'\"&</b>{{ 1 }}"}]
        assert render("{{ messages[0].content }}", messages=messages) == "<b>'\"&</b>{{ 1 }}"


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
