"""Texts of a stored completion, whatever shape it has: what was asked, and what was answered.

A store may hold what other releases or hands have written, so that nothing is taken for granted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shared.storage.types import StoredCompletion

Object = Mapping[str, Any]


def objects(value: Any) -> list[Object]:
    """The objects of a list; none of what is no list."""
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def mapping(value: Any) -> Object:
    """An object, empty for what is none."""
    return value if isinstance(value, Mapping) else {}


def number(value: Any) -> float | None:
    """A number, None for what is none."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number else None


def text_of(content: Any) -> str:
    """A message's content as text; its parts one after the other."""
    if isinstance(content, str):
        return content
    parts = objects(content)
    return " ".join(str(part.get("text") or part.get("refusal") or "") for part in parts)


def prompts(request: Object) -> Sequence[Any]:
    """The prompts of a text completion: texts, or token ids."""
    prompt = request.get("prompt")
    if isinstance(prompt, list) and prompt and isinstance(prompt[0], str | list):
        return prompt
    return [prompt]


def question(completion: StoredCompletion) -> str:
    """What was asked last."""
    if completion.kind == "text":
        first = prompts(completion.request)[0]
        return first if isinstance(first, str) else f"{len(first or ())} token ids"
    messages = objects(completion.request.get("messages"))
    asked = [message for message in messages if message.get("role") == "user"] or messages
    return text_of(asked[-1].get("content")) if asked else ""


def answer(completion: StoredCompletion) -> str:
    """The first choice: its text, or the calls that it makes."""
    choices = objects(completion.response.get("choices"))
    if not choices:
        return ""
    if "text" in choices[0]:
        return str(choices[0]["text"])
    message = mapping(choices[0].get("message"))
    said = text_of(message.get("content")) or str(message.get("refusal") or "")
    called = [str(mapping(call.get("function")).get("name")) for call in calls(message)]
    return said or (f"calls {', '.join(called)}" if called else "")


def calls(message: Object) -> list[Object]:
    """The tool calls of a message, in the newer form."""
    found = objects(message.get("tool_calls"))
    if isinstance(message.get("function_call"), Mapping):
        found = [*found, {"id": None, "function": message["function_call"]}]
    return found
