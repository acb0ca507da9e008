"""Render conversations exactly as a server does, and mark what the model must learn to say."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Template
from jinja2.sandbox import ImmutableSandboxedEnvironment

from .samples import Sample

TEMPLATE_FILE = Path(__file__).parent.parent / "builtin_chat_template.jinja"

IM_START, IM_END, END_OF_TEXT = "<|im_start|>", "<|im_end|>", "<|endoftext|>"
CONTROL_TOKENS = (END_OF_TEXT, IM_START, IM_END)
TEXT_TOKENS = (
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
    "<think>",
    "</think>",
)

SPECIAL_TOKEN = re.compile("|".join(map(re.escape, CONTROL_TOKENS + TEXT_TOKENS)))
_ANSWER = re.compile(r"(<\|im_start\|>assistant\n)(.*?<\|im_end\|>)", re.DOTALL)


def _tojson(value: Any) -> str:
    """`tojson` as chat templates expect it: key order kept, no HTML escapes, no ASCII escapes."""
    return json.dumps(value, ensure_ascii=False)


@cache
def template() -> Template:
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = _tojson
    return environment.from_string(TEMPLATE_FILE.read_text(encoding="utf-8"))


def render(sample: Sample, prompt_only: bool = False) -> str:
    """The sample's text; with `prompt_only`, up to where the last answer begins."""
    messages = sample.messages[:-1] if prompt_only else sample.messages
    return template().render(
        messages=messages,
        tools=list(sample.tools) or None,
        add_generation_prompt=prompt_only,
        enable_thinking=sample.thinking,
    )


def segments(sample: Sample) -> list[tuple[str, bool]]:
    """The sample's text in pieces, each with whether the model is trained to produce it.

    Documents are trained on throughout. In a conversation, the assistant's turns are, up to and
    with their `<|im_end|>`; a `<think>` that opens the last turn belongs to the prompt.
    """
    if sample.document is not None:
        return [(sample.document + END_OF_TEXT, True)]
    text = render(sample)
    pieces: list[tuple[str, bool]] = []
    position = 0
    for match in _ANSWER.finditer(text):
        start = match.start(2)
        if match[2].startswith("<think>\n"):
            start += len("<think>\n")
        pieces += [(text[position:start], False), (text[start : match.end()], True)]
        position = match.end()
    return pieces
