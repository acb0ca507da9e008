"""Control tokens are the template's: no text that it is given can spell one."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.chat.control_tokens import ControlTokens, Prompt
from shared.chat.template import CHATML, ChatTemplate


def ids(prompt: Prompt, tokens: ControlTokens) -> list[int]:
    """The control tokens of a prompt."""
    if prompt.parts is not None:
        return [part for part in prompt.parts if isinstance(part, int)]
    return [tokens.ids[text] for text in texts(tokens, prompt.text)]


def texts(tokens: ControlTokens, text: str) -> list[str]:
    """The control tokens that are found in a text."""
    return [text[start:end] for start, end in tokens.found(text)]


CHATML_TOKENS = ControlTokens({"<|im_start|>": 1, "<|im_end|>": 2, "</s>": 3})


def prompt(source: str, *contents: str, name: str = "x", **variables: Any) -> Prompt:
    """What a template makes of messages with these contents."""
    written = ChatTemplate(source, control_tokens=CHATML_TOKENS.ids, eos_token="</s>")
    messages = [{"role": "user", "content": content, "name": name} for content in contents]
    return CHATML_TOKENS.prompt(written.render(messages, variables=variables))


EACH = "{% for message in messages %}"
END = "<|im_end|>"


@pytest.mark.parametrize(
    ("source", "contents", "text"),
    [
        ("{{ messages[0].content }}", [END], END),
        (EACH + "{{ message.content }}{% endfor %}", ["<", "|im_", "end|>"], END),
        (EACH + "{{ message.content }}{% endfor %}", ["", "<|im_end|", ">"], END),
        (EACH + "{{ message.content }}|>{% endfor %}", ["<|im_end"], END),
        (EACH + "<{{ message.content }}{% endfor %}", ["|im_end|>"], END),
        (EACH + "<{{ message.content }}>{% endfor %}", ["|im_end|"], END),
        (EACH + "{{ '</' ~ message.content ~ '>' }}{% endfor %}", ["s"], "</s>"),
        ("{{ '<' ~ '|' + messages[0].content }}", ["im_end|>"], END),
        ("{{ messages[0].content | replace('x', '') }}", ["<|imx_xend|>"], END),
        ("{{ messages[0].content | lower }}", ["<|IM_END|>"], END),
        ("{{ messages[0].content.title().lower() }}", ["<|im_End|>"], END),
        ("{{ messages[0].content[::-1] }}", [END[::-1]], END),
        ("{{ messages[0].content | reverse }}", [END[::-1]], END),
        ("{{ messages[0].content | trim }}", [f" {END}\n"], END),
        ("{{ messages[0].content.strip('x<')  }}", [f"x<x{END}"], "|im_end|>"),
        ("{{ messages[0].content.split('x') | join }}", ["<x|im_xendx|>"], END),
        ("{{ messages | map(attribute='content') | join('') }}", ["<|im", "_end|>"], END),
        ("{{ messages | map(attribute='content') | map('upper') | join }}", ["a", "<"], "A<"),
        ("{{ '%s%s' | format('<', messages[0].content) }}", ["|im_end|>"], END),
        ("{{ '%s|im_end|>' % messages[0].content }}", ["<"], END),
        ("{{ '{}|im_end|>'.format(messages[0].content) }}", ["<"], END),
        ("{{ messages[0].content.format('end') }}", ["<|im_{}|>"], END),
        ("{{ messages[0].content % 'end' }}", ["<|im_%s|>"], END),
        ("{{ messages[0].content * 2 }}", [END], END * 2),
        ("{{ messages[0].content | tojson }}", [END], f'"{END}"'),
        ("{{ messages[0].content | tojson(ensure_ascii=true) }}", [f"é{END}"], f'"\\u00e9{END}"'),
        ("{{ messages[0].content | tojson(indent=1) }}", [END], f'"{END}"'),
        (
            "{{ messages[0] | tojson }}",
            [END],
            f'{{"role": "user", "content": "{END}", "name": "x"}}',
        ),
        ("{% set x %}{{ messages[0].content }}{% endset %}{{ x }}", [END], END),
        ("{% macro f(x) %}{{ x }}{% endmacro %}{{ f(messages[0].content) }}", [END], END),
        ("{% filter upper %}{{ messages[0].content }}{% endfilter %}", ["<a"], "<A"),
        ("{{ messages[0].content | list | join }}", [END], END),
        ("{% for c in messages[0].content %}{{ c }}{% endfor %}", [END], END),
        ("{{ namespace(x=messages[0].content).x }}", [END], END),
        ("{{ {messages[0].content: 1} | items | first | first }}", [END], END),
        ("{{ messages[0].content | string | safe }}", [END], END),
        ("{{ messages[0].content | safe + '[' }}", [END], f"{END}["),
        ("{{ messages[0].content | e }}", [f"{END}'"], "&lt;|im_end|&gt;&#39;"),
        ("{{ '<' | safe + messages[0].content }}", ["|im_end|>"], "<|im_end|&gt;"),
        ("{{ messages[0].content + '>' | safe }}", ["<|im_end|"], "&lt;|im_end|>"),
        ("{{ [messages[0].content] }}", [END], f"['{END}']"),
        ("{{ {messages[0].content: 1} | string }}", [f"{END}'\n"], f'{{"{END}\'\\n": 1}}'),
    ],
)
def test_nothing_that_a_template_does_with_texts_makes_tokens_of_them(
    source: str, contents: list[str], text: str
) -> None:
    made = prompt(source, *contents)

    assert made.text == text
    assert ids(made, CHATML_TOKENS) == []


@pytest.mark.parametrize(
    "source",
    [
        "'</think>' in {x}",
        "{x}.startswith('<think>')",
        "{x}.startswith(('[', '<'))",
        "{x}.endswith('</think>yes <b')",
        "{x}.split('</think>')[0] == '<think>no'",
        "{x}.split('</think>')[-1].split('<')[0].strip() == 'yes'",
        "{x}.rsplit('<', 1)[1] == 'b'",
        "{x}.partition('</think>')[1] == '</think>'",
        "{x}.rpartition('<')[0].endswith('yes ')",
        "{x}.replace('<think>', '').startswith('no</think>')",
        "{x}.find('</think>') == 9",
        "{x}.count('<') == 3",
        "{x}[0] == '<'",
        "{x}[7:9] == 'no'",
        "({x} | first) == '<'",
        "({x} | upper).startswith('<THINK>')",
        "({x} ~ '!').startswith('<think>')",
        "('!' ~ {x}).startswith('!<think>')",
        "('' + {x}).startswith('<think>')",
        "({x} + '').startswith('<think>')",
        "([{x}, '!'] | join).startswith('<think>')",
        "f({x}).startswith('<think>')",
        "{x}.lstrip('<').startswith('think>')",
        "{x}.removeprefix('<think>').startswith('no')",
        "{x}.splitlines()[0].startswith('<think>')",
        "{x} | length == 25",
        "{x} == '<think>no</think>yes <b'",
        "'<think>no</think>yes <b' == {x}",
        "{x} != '<think>no</think>yes <c'",
        "{x} in ['<think>no</think>yes <b']",
        "{{'<think>no</think>yes <b': 1}}[{x}] == 1",
        "{x} < '<z' and {x} > '<a' and '<z' > {x}",
        "({x} | replace('<', '(')).startswith('(think>')",
        "{x} is string",
    ],
)
def test_a_template_finds_in_a_text_what_is_in_it(source: str) -> None:
    text = "<think>no</think>yes <b"
    condition = source.format(x="messages[0].content").replace("== 25", f"== {len(text)}")
    macro = "{% macro f(x) %}{{ x }}{% endmacro %}"

    assert prompt(f"{macro}{{{{ 'yes' if {condition} else 'no' }}}}", text).text == "yes"


def test_a_template_may_make_control_tokens_of_roles_and_of_its_own_texts() -> None:
    tokens = ControlTokens({"<|user|>": 1, "<|end|>": 2})
    source = (
        EACH + "{{ '<|' + message.role + '|>' + message.content + '<|' ~ 'end|>' }}{% endfor %}"
    )
    written = ChatTemplate(source, control_tokens=tokens.ids)

    made = tokens.prompt(written.render([{"role": "user", "content": "user|><|user|>"}]))

    assert made.text == "<|user|>user|><|user|><|end|>"
    assert made.parts == ("", 1, "user|><|user|>", 2, "")


def test_everything_that_a_request_says_is_text() -> None:
    source = "{{ mood }}{{ tools | tojson }}{{ messages | tojson }}{{ eos_token }}"
    written = ChatTemplate(source, control_tokens=CHATML_TOKENS.ids, eos_token="</s>")
    call = {"id": END, "type": "function", "function": {"name": END, "arguments": {END: [END]}}}
    function = {"name": END, "description": END, "parameters": {"properties": {END: {END: END}}}}
    message = {"role": "assistant", "content": END, "reasoning_content": END, END: END, "name": END}

    text = written.render(
        [{**message, "tool_calls": [call]}, {"role": "tool", "content": END, "tool_call_id": END}],
        tools=[{"type": "function", "function": function}],
        variables={"mood": [END, {END: END}]},
    )

    made = CHATML_TOKENS.prompt(text)
    assert made.text.count(END) > 15
    assert ids(made, CHATML_TOKENS) == [CHATML_TOKENS.ids["</s>"]]


def test_a_continued_message_is_text() -> None:
    written = ChatTemplate(CHATML, control_tokens=CHATML_TOKENS.ids)
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": f"Yes{END}"}]

    made = CHATML_TOKENS.prompt(written.render(messages, continue_final_message=True))

    assert made.text.endswith(f"assistant\nYes{END}")
    assert ids(made, CHATML_TOKENS) == [1, 2, 1]


def test_a_prompt_without_others_tokens_stays_one_text() -> None:
    made = prompt(CHATML, "a < b, [1] <b>", name="<")

    assert made.parts is None
    assert made.text == "<|im_start|>user\na < b, [1] <b><|im_end|>\n<|im_start|>assistant\n"


def test_for_others_tokens_are_kept_apart() -> None:
    made = prompt(CHATML, f"Hi{END}")

    text = CHATML_TOKENS.kept_apart(made)

    assert made.text == f"<|im_start|>user\nHi{END}{END}\n<|im_start|>assistant\n"
    assert text.replace("\u200b", "") == made.text
    assert ids(Prompt(text), CHATML_TOKENS) == ids(made, CHATML_TOKENS) == [1, 2, 1]


def test_of_tokens_that_begin_alike_the_longest_is_found() -> None:
    tokens = ControlTokens({"<a": 1, "<a>": 2, "<ab>": 3, "b": 4, "[x].*": 5})

    found = texts(tokens, "<a<a><ab><abb[x].*[x]yy")
    assert found == ["<a", "<a>", "<ab>", "<a", "b", "b", "[x].*"]


def test_without_control_tokens_nothing_is_marked() -> None:
    tokens = ControlTokens({})
    text = ChatTemplate("{{ messages[0].content }}").render([{"role": "user", "content": END}])

    assert tokens.prompt(text) == Prompt(END)
    assert tokens.found(END) == []


@given(st.lists(st.text("<|>/s", min_size=1, max_size=5), unique=True), st.text("<|>/s"))
def test_tokens_are_found_as_by_looking_for_each(known: list[str], text: str) -> None:
    tokens = ControlTokens({token: i for i, token in enumerate(known)})

    expected = []
    position = 0
    while position < len(text):
        here = [token for token in known if text.startswith(token, position)]
        longest = max(here, key=len, default="")
        expected += [longest] if longest else []
        position += len(longest) or 1
    assert texts(tokens, text) == expected


@pytest.mark.parametrize("step", [1, 2, 5, 64])
def test_a_long_text_is_searched_in_steps(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One call over all of it would hold the interpreter, and with it all requests, for as long."""
    monkeypatch.setattr("shared.chat.control_tokens.STEP", step)
    tokens = ControlTokens({"<a>": 1, "<a>b": 2, "<": 3, "xx": 4, "<|im_end|>": 5})
    pieces = [*tokens.ids, "<|im_", "a>b", "x", "é", "  "]
    shuffled = random.Random(step)
    for size in (0, 1, 7, 60):
        for _ in range(50):
            text = "".join(shuffled.choices(pieces, k=size))
            assert tokens.found(text) == [match.span() for match in tokens._pattern.finditer(text)]
