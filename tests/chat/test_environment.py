"""The environment of chat templates: what they may do, what they may not, and for how long."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytest

from shared.chat.template import ChatTemplate, TemplateError

HELLO = [{"role": "user", "content": "Hello"}]


def render(
    source: str,
    variables: Mapping[str, Any] | None = None,
    *,
    messages: list[dict[str, Any]] | None = None,
    time_limit_s: float = 2.0,
) -> str:
    """``source`` with a message, or with those given."""
    template = ChatTemplate(source, time_limit_s=time_limit_s)
    return template.render(HELLO if messages is None else messages, variables=variables)


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
            "{% set _ = dict.update(messages[0], {'role': 'x'}) %}",
            "{% set _ = dict.clear(messages[0]) %}",
        ],
    )
    def test_the_callers_messages_can_not_be_changed(self, source: str) -> None:
        messages = [dict(HELLO[0])]
        with pytest.raises(TemplateError):
            render(source, messages=messages)
        assert messages == HELLO

    @pytest.mark.parametrize(
        "source",
        [
            "{% set box = namespace(__html__=messages) %}",
            "{% set box = namespace({'_name': 1}) %}",
            "{% set box = namespace() %}{% set box.__class__ = 1 %}",
        ],
    )
    def test_namespaces_can_not_pose_as_other_objects(self, source: str) -> None:
        with pytest.raises(TemplateError, match="can't have an attribute '_"):
            render(source)

    def test_files_can_not_be_included(self) -> None:
        with pytest.raises(TemplateError):
            render("{% include '/etc/passwd' %}")

    @pytest.mark.parametrize(
        "source",
        [
            "{% for i in range(1000000000) %}{% endfor %}",
            "{% for i in none %}{% endfor %}",
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


class TestEnvironment:
    """The same helpers as in `transformers`."""

    def test_tojson_keeps_order_and_characters(self) -> None:
        value = {"z": "<é & 'x'>", "a": [1, None, True]}
        rendered = render("{{ value | tojson }}", {"value": value})
        assert rendered == '{"z": "<é & \'x\'>", "a": [1, null, true]}'

    def test_tojson_takes_the_arguments_that_templates_use(self) -> None:
        variables = {"value": {"b": "é", "a": 1}}
        assert render("{{ value | tojson(indent=2) }}", variables) == (
            '{\n  "b": "é",\n  "a": 1\n}'
        )
        assert render("{{ value | tojson(sort_keys=true) }}", variables) == ('{"a": 1, "b": "é"}')
        assert render("{{ value | tojson(ensure_ascii=true) }}", variables) == (
            '{"b": "\\u00e9", "a": 1}'
        )
        assert render("{{ value | tojson(separators=(',', ':')) }}", variables) == (
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

    def test_namespaces_and_dictionaries(self) -> None:
        source = (
            "{% set box = namespace(self=1, n=2) %}{% set box.n = box.n + 1 %}{{ box.self }}{{ box.n }}"
            "{{ dict(a=4).a }}{{ dict.fromkeys(['b'], 5).b }}"
        )
        assert render(source) == "1345"

    def test_what_is_marked_for_training_is_printed(self) -> None:
        source = "{% generation %}{% set x = 'in' %}{{ x }}{% endgeneration %}{{ x is defined }}"
        assert render(source) == "inFalse"


class TestLoops:
    """They are timed, and otherwise Jinja's."""

    def test_what_a_loop_knows_about_itself(self) -> None:
        source = (
            "{% for m in x %}{{ loop.index }}/{{ loop.length }}/{{ loop.revindex }}"
            "{{ ':' ~ loop.nextitem if not loop.last }}{{ ';' }}{% endfor %}"
        )
        assert render(source, {"x": ["a", "b"]}) == "1/2/2:b;2/2/1;"

    def test_filtered_recursive_and_empty_loops(self) -> None:
        assert render("{% for i in [1, 2, 3] if i > 1 %}{{ i }}{% endfor %}") == "23"
        assert render("{% for i in unknown %}{% else %}none{% endfor %}") == "none"
        tree = [{"n": 1, "of": [{"n": 2, "of": []}]}]
        source = "{% for i in tree recursive %}{{ i.n }}{{ loop(i.of) }}{% endfor %}"
        assert render(source, {"tree": tree}) == "12"


class TestBudget:
    """A request can't keep the server busy, or fill its memory, by way of a template."""

    @pytest.mark.parametrize(
        "source",
        [
            "{% for a in messages %}{% for b in messages %}{% for c in messages %}"
            "{% endfor %}{% endfor %}{% endfor %}",
            "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}"
            "{{ f(messages | length) }}",
            "{% set ns = namespace(n=0) %}{% macro f(m) %}{% for a in m %}{{ f(m[1:]) }}{% endfor %}"
            "{% endmacro %}{{ f(messages) }}",
        ],
    )
    def test_a_rendering_that_takes_too_long_ends(self, source: str) -> None:
        messages = HELLO * 500 if "macro" not in source else HELLO * 60
        start = time.thread_time()
        with pytest.raises(TemplateError, match=r"more than 0\.05 s of processor time"):
            render(source, messages=messages, time_limit_s=0.05)
        assert time.thread_time() - start < 1

    @pytest.mark.parametrize("source", ["{{ '  ' * n }}", "{{ n * '  ' }}", "{{ [1] * n }}"])
    def test_a_number_in_a_request_can_not_ask_for_gigabytes(self, source: str) -> None:
        with pytest.raises(TemplateError, match="too much text"):
            render(source, {"n": 2**40})
        assert len(render(source, {"n": 3})) > 5
        assert render("{{ 6 * n }}", {"n": 2**40}) == str(6 * 2**40)

    def test_repeating_less_than_nothing_gives_nothing_back(self) -> None:
        with pytest.raises(TemplateError, match="too much text"):
            render("{{ '  ' * -n }}{{ '  ' * n }}", {"n": 2**40})

    @pytest.mark.slow
    def test_indentation_can_not_multiply_a_request(self) -> None:
        value: list[Any] = [0] * 50_000
        for _ in range(190):
            value = [value]
        with pytest.raises(TemplateError, match="too much text"):
            render("{{ value | tojson(indent=4) }}", {"value": value})

    @pytest.mark.sweep(1)
    @pytest.mark.parametrize(
        "source", ["{{ x | tojson }}", "{{ x | tojson(indent=2) }}", "{{ x }}"]
    )
    def test_no_nesting_is_too_deep_to_be_refused(self, source: str) -> None:
        deep: list[Any] = []
        for _ in range(100_000):
            deep = [deep]
        with pytest.raises(TemplateError):
            render(source, {"x": deep})
