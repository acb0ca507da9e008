"""Which tests show which rows of docs/api.md."""

from __future__ import annotations

import importlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import reduce
from typing import Any, TypeVar

from tests.api.openai_types import chat_chunks, chat_completion, text_chunks, text_completion
from tests.server import Server, user

TestT = TypeVar("TestT", bound=Callable[..., None])

SHOWN: defaultdict[str, list[str]] = defaultdict(list)
"""A row's key to the tests that show it."""

OSLO = user("What's the weather in Oslo?")
CITY: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}
WEATHER: dict[str, Any] = {
    "name": "get_weather",
    "description": "Get the current weather in a city",
    "parameters": CITY,
}
TIME: dict[str, Any] = {
    "name": "get_time",
    "description": "Get the current time in a city",
    "parameters": CITY,
}
WEATHER_TOOL: dict[str, Any] = {"type": "function", "function": WEATHER}
TIME_TOOL: dict[str, Any] = {"type": "function", "function": TIME}
THINK: dict[str, Any] = {
    "messages": user("What is 2 + 3?"),
    "chat_template_kwargs": {"enable_thinking": True},
}


def shows(surfaces: str, *paths: str) -> Callable[[TestT], TestT]:
    """Marks the test that shows the rows at ``paths`` of some surfaces."""

    def mark(test: TestT) -> TestT:
        _note(f"{test.__module__}::{test.__qualname__.replace('.', '::')}", surfaces, paths)
        return test

    return mark


def shown_by(test: str, surfaces: str, *paths: str) -> None:
    """As `shows`, for a test that is elsewhere: ``test_sampling::TestStop::test_x``."""
    _note(f"tests.api.{test}", surfaces, paths)


def _note(test: str, surfaces: str, paths: tuple[str, ...]) -> None:
    for surface in surfaces.split():
        for path in paths:
            SHOWN[f"{surface} {path}"].append(test)


def exists(test: str) -> bool:
    """Whether there is a test by that name."""
    module, *names = test.split("::")
    try:
        found = reduce(getattr, names, importlib.import_module(module))
    except (ImportError, AttributeError):
        return False
    return callable(found)


class Endpoint:
    """One of the two endpoints, asked in a way that is the same for both."""

    def __init__(self, server: Server, surface: str) -> None:
        """``surface`` is ``chat`` or ``text``, or a surface's whole name."""
        self.server = server
        self.is_chat = surface.startswith("chat")
        self._prompt: dict[str, Any] = {"messages": user("Tell me a story")}
        if not self.is_chat:
            self._prompt = {
                "prompt": "<|im_start|>user\nTell me a story<|im_end|>\n<|im_start|>assistant\n"
            }

    def post(self, **fields: Any) -> Any:
        """The response to a request for a story of 40 tokens."""
        path = "/v1/chat/completions" if self.is_chat else "/v1/completions"
        return self.server.post(path, {**self._prompt, "max_tokens": 40, **fields})

    def completion(self, **fields: Any) -> Any:
        """The body, parsed strictly."""
        body = self.post(**fields).raise_for_status().content
        return chat_completion(body) if self.is_chat else text_completion(body)

    def chunks(self, **fields: Any) -> list[Any]:
        """The chunks of a stream, parsed strictly."""
        body = self.post(**fields, stream=True).raise_for_status().text
        return list(chat_chunks(body) if self.is_chat else text_chunks(body))

    def texts(self, **fields: Any) -> list[str]:
        """The text of each choice."""
        choices = self.completion(**fields).choices
        return [self._text(choice) for choice in choices]

    def text(self, **fields: Any) -> str:
        """The text of the only choice."""
        (text,) = self.texts(**fields)
        return text

    def _text(self, choice: Any) -> str:
        return (choice.message.content or "") if self.is_chat else choice.text


_SEGMENT = re.compile(r"(?P<name>\w+)(?:\[(?P<kind>\w*)\])?")


def values(data: Any, path: str) -> Iterator[Any]:
    """What a body has at a row's path: nothing, one value, or those of all items."""
    head, _, rest = path.removesuffix("…").partition(".")
    segment = _SEGMENT.fullmatch(head)
    assert segment, path
    if not isinstance(data, dict) or segment["name"] not in data:
        return
    value = data[segment["name"]]
    items = [value]
    if segment["kind"] is not None:
        items = [item for item in value or () if _is_kind(item, segment["kind"])]
    for item in items:
        if rest:
            yield from values(item, rest)
        else:
            yield item


def _is_kind(item: Any, kind: str) -> bool:
    """Parts of a tool call that come later in a stream do not repeat its type."""
    return not kind or item.get("role", item.get("type", kind)) == kind
