"""Templates disagree on what a message that calls tools looks like."""

from __future__ import annotations

from typing import Any

import pytest

from shared.chat.template import ChatTemplate, TemplateError

START = "{% for m in messages %}{% if m.tool_calls %}{% set f = m.tool_calls[0].function %}"
END = "{% else %}[{{ m.content }}]{% endif %}{% endfor %}"

OBJECTS = START + "{{ f.name }}{{ f.arguments | tojson }}" + END
EITHER = (
    START + "{{ f.name }}{{ f.arguments if f.arguments is string else f.arguments | tojson }}" + END
)
TEXTS = START + "{{ f.name + f.arguments }}" + END
PRINTED = START + "{{ f.name }}{{ f.arguments }}" + END
NEEDS_CONTENT = START + "{{ m.content + f.name }}{{ f.arguments | tojson }}" + END
NEEDS_NULL = (
    "{% for m in messages %}{% if m.content is none %}{{ m.tool_calls[0].function.name }}"
    "{{ m.tool_calls[0].function.arguments }}{% else %}[{{ m.content + '' }}]{% endif %}{% endfor %}"
)
ITERATED = (
    START + "{{ f.name }}{% for k, v in f.arguments.items() %}({{ k }}={{ v }}){% endfor %}" + END
)
FILTERED = (
    START + "{{ f.name }}{% for k, v in f.arguments | items %}({{ k }}={{ v }}){% endfor %}" + END
)
MAPPINGS = (
    START + "{{ f.name }}{% if f.arguments is mapping %}{{ f.arguments | tojson }}{% endif %}" + END
)


def conversation(arguments: Any, **message: Any) -> list[dict[str, Any]]:
    """A call to ``f``, and its result."""
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": arguments}}
    return [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "tool_calls": [call], **message},
        {"role": "tool", "tool_call_id": "a", "content": "1"},
    ]


@pytest.mark.parametrize(
    "source", [OBJECTS, EITHER, TEXTS, PRINTED, NEEDS_CONTENT, NEEDS_NULL], ids=range(6)
)
@pytest.mark.parametrize("message", [{}, {"content": None}, {"content": ""}], ids=str)
def test_each_template_gets_the_form_it_can_take(source: str, message: dict[str, Any]) -> None:
    messages = conversation({"city": "Málaga"}, **message)
    rendered = ChatTemplate(source).render(messages)
    assert rendered == '[Hi]f{"city": "Málaga"}[1]'
    assert messages == conversation({"city": "Málaga"}, **message)


def test_arguments_that_are_no_json_stay_as_they_are() -> None:
    assert ChatTemplate(TEXTS).render(conversation("{broken")) == "[Hi]f{broken[1]"


@pytest.mark.parametrize("source", [ITERATED, FILTERED])
@pytest.mark.parametrize(
    ("arguments", "seen"),
    [
        ({}, ""),
        ({"a": 1, "b": [2]}, "(a=1)(b=[2])"),
        ('{"city": "Os', "(city=Os)"),  # an answer that a limit cut off
        ('{"city": "Oslo", "unit', "(city=Oslo)"),
        ('{"city": "Oslo", "days": ', "(city=Oslo)"),
        ('{"city": "\\ud83d', "(city=�)"),
        ("{", ""),
        ("[1, 2]", "(arguments=[1, 2])"),
        ('"Oslo"', "(arguments=Oslo)"),
        ("no JSON", "(arguments=no JSON)"),
        ("[" * 1000, f"(arguments={'[' * 1000})"),
    ],
    ids=str,
)
def test_arguments_become_an_object_where_a_template_goes_through_them(
    source: str, arguments: Any, seen: str
) -> None:
    assert ChatTemplate(source).render(conversation(arguments)) == f"[Hi]f{seen}[1]"


def test_arguments_become_an_object_where_nothing_else_is_shown() -> None:
    assert ChatTemplate(MAPPINGS).render(conversation('{"n": 1')) == '[Hi]f{"n": 1}[1]'


def test_what_is_said_beside_a_call_stays() -> None:
    rendered = ChatTemplate(NEEDS_CONTENT).render(conversation({"n": 1}, content="Look: "))
    assert rendered == '[Hi]Look: f{"n": 1}[1]'


def test_a_template_that_refuses_tools_says_so() -> None:
    source = "{% for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('No tools') }}{% endif %}{% endfor %}"
    with pytest.raises(TemplateError, match=r"^No tools$"):
        ChatTemplate(source).render(conversation({"n": 1}))
