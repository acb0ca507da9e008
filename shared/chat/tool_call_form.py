"""Form of tool calls that a template takes: found by what it makes of one.

The ``transformers`` library hands arguments over as objects, and leaves out content that is null.
A number of models' templates can't do with that. Qwen 3's first one needs a text, DeepSeek R1's
tells calls by a content of null, Functionary's joins the arguments to its text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from shared.chat.call_arguments import arguments_object

_NAME, _KEY, _VALUE = "trial_tool", "trial_key", "trial_value"


def _conversation(arguments: Any) -> tuple[dict[str, Any], ...]:
    """One with a call that has these arguments."""
    return (
        {"role": "user", "content": "Hello"},
        {
            "role": "assistant",
            "tool_calls": [
                {
                    "id": "trialcall",  # as long as Mistral's templates demand
                    "type": "function",
                    "function": {"name": _NAME, "arguments": arguments},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "trialcall", "name": _NAME, "content": "Done"},
    )


_TRIAL = _conversation({_KEY: _VALUE})
_TEXT_TRIAL = _conversation(_VALUE)


@dataclass(frozen=True, slots=True)
class ToolCallForm:
    """One form of messages that call tools."""

    arguments_are_text: bool = False
    arguments_are_objects: bool = False
    """Anything else has to become one: the template goes through its keys."""
    empty_content: Mapping[str, str | None] = field(default_factory=dict)
    """What stands for the content of a message that has none."""

    def applied(self, message: dict[str, Any]) -> dict[str, Any]:
        """``message`` in this form."""
        if not message.get("tool_calls"):
            return message
        formed = {**message}
        if not message.get("content"):
            formed |= self.empty_content
        if self.arguments_are_text:
            formed["tool_calls"] = [_with_text(call) for call in message["tool_calls"]]
        elif self.arguments_are_objects:
            formed["tool_calls"] = [_with_object(call) for call in message["tool_calls"]]
        return formed


_FORMS = tuple(
    ToolCallForm(arguments_are_text=arguments_are_text, empty_content=empty_content)
    for arguments_are_text in (False, True)
    for empty_content in ({}, {"content": ""}, {"content": None})
)


def find_tool_call_form(
    render: Callable[[Sequence[Mapping[str, Any]]], str | None],
) -> ToolCallForm:
    """The first form in which a call can be read in what ``render`` makes of it.

    ``render`` gives None where the template refuses. Where no form will do it is the first one: the
    error that a request gets is then the one that the template's author knows.
    """
    for form in _FORMS:
        prompt = render([form.applied(message) for message in _TRIAL]) or ""
        # Python's notation of a dictionary and JSON within JSON come from the wrong form.
        is_garbled = f"'{_KEY}'" in prompt or f'\\"{_KEY}' in prompt
        if _NAME in prompt and _VALUE in prompt and not is_garbled:
            break
    else:
        return _FORMS[0]
    with_text = render([form.applied(message) for message in _TEXT_TRIAL]) or ""
    return replace(form, arguments_are_objects=_VALUE not in with_text)


def _with_text(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call["function"]
    arguments = function["arguments"]
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments, ensure_ascii=False)
    return {**call, "function": {**function, "arguments": arguments}}


def _with_object(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call["function"]
    return {**call, "function": {**function, "arguments": arguments_object(function["arguments"])}}
