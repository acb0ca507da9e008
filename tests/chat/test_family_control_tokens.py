"""What model families make of texts that are full of their control tokens."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.chat.control_tokens import ControlTokens
from shared.chat.jinja.input_text import unmarked
from shared.chat.template import ChatTemplate, TemplateError
from tests.chat.test_control_tokens import ids
from tests.chat.test_families import CASES, FIXTURES
from tests.sweeps import examples

TOKENS = {
    "chatml": ["<|im_start|>", "<|im_end|>", "<|endoftext|>"],
    "qwen3": ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<think>", "</think>"],
    "llama3": ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
    "mistral": ["<s>", "</s>", "[INST]", "[/INST]", "[TOOL_CALLS]", "[TOOL_RESULTS]", "<unk>"],
    "gemma": ["<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"],
    "deepseek-r1": ["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>"],  # noqa: RUF001
    "phi": ["<s>", "<|user|>", "<|assistant|>", "<|system|>", "<|end|>", "<|endoftext|>"],
}
"""By family; some that are no control tokens in its models too."""


@cache
def vocabulary(family: str) -> ControlTokens:
    """The family's control tokens; their ids are their places."""
    return ControlTokens({text: i for i, text in enumerate(TOKENS[family])})


@cache
def template(family: str, tokens: ControlTokens | None) -> ChatTemplate:
    """The family's template, for a vocabulary with these control tokens."""
    about = CASES["families"][family]
    return ChatTemplate(
        (FIXTURES / f"{family}.jinja").read_text(encoding="utf-8"),
        bos_token=about["bos_token"],
        eos_token=about["eos_token"],
        control_tokens=() if tokens is None else tokens.ids,
    )


def rendered(source: ChatTemplate, messages: Any, **more: Any) -> str:
    """The prompt, or why there is none."""
    try:
        return source.render(messages, variables={"date_string": "01 Jan 2026"}, **more)
    except TemplateError as error:
        return f"refused: {error}"


@st.composite
def conversations(draw: st.DrawFn, family: str) -> list[dict[str, Any]]:
    """Turns that are full of control tokens and their fragments."""
    token = st.sampled_from([*TOKENS[family], "<tool_call>", "</think>", "<think>"])
    cut = st.tuples(token, st.integers(0, 24))
    fragment = st.one_of(
        token,
        cut.map(lambda pair: pair[0][: pair[1]]),
        cut.map(lambda pair: pair[0][pair[1] :]),
        st.sampled_from(["Hi", " ", "\n", "<", "[", "|", "é", "{{ 1 }}", '"', "\\"]),
    )
    text = st.lists(fragment, max_size=6).map("".join)
    messages: list[dict[str, Any]] = []
    for _ in range(draw(st.integers(1, 3))):
        messages.append({"role": "user", "content": draw(text), "name": draw(text)})
        answer = {"role": "assistant", "content": draw(text), "reasoning_content": draw(text)}
        messages.append(answer)
    if draw(st.booleans()):
        arguments = draw(st.dictionaries(text, text, max_size=2))
        function = {"name": draw(text), "arguments": arguments}
        call = {"id": "123456789", "type": "function", "function": function}
        messages += (
            {"role": "user", "content": draw(text)},
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "123456789", "content": draw(text)},
            {"role": "assistant", "content": draw(text)},
        )
    return [*messages, {"role": "user", "content": draw(text)}]


@pytest.mark.sweep(1)
@pytest.mark.parametrize("family", TOKENS)
@settings(deadline=None, max_examples=examples(40, at_least=10))
@given(data=st.data())
def test_a_family_sees_the_text_and_writes_its_own_control_tokens(
    family: str, data: st.DataObject
) -> None:
    tokens = vocabulary(family)
    messages = data.draw(conversations(family))
    text = st.sampled_from(["x", TOKENS[family][0], "<", "|im_end|>"])
    schema = {"type": "object", "properties": {data.draw(text): {"type": data.draw(text)}}}
    function = {"name": data.draw(text), "description": data.draw(text), "parameters": schema}
    tools = data.draw(st.sampled_from([None, [{"type": "function", "function": function}]]))

    marked = rendered(template(family, tokens), messages, tools=tools)

    assert unmarked(marked) == rendered(template(family, None), messages, tools=tools)
    harmless = _without_tokens(messages)
    if "</think>" not in json.dumps(messages):  # templates leave out what is before it
        plain = rendered(template(family, tokens), harmless, tools=_without_tokens(tools))
        assert ids(tokens.prompt(marked), tokens) == ids(tokens.prompt(plain), tokens)


def _without_tokens(value: Any) -> Any:
    """``value`` with nothing that a control token begins with, and as long."""
    if isinstance(value, str):
        return value.replace("<", "(").replace("[", "(")
    if isinstance(value, dict):
        return {_without_tokens(key): _without_tokens(item) for key, item in value.items()}
    return [*map(_without_tokens, value)] if isinstance(value, list) else value
