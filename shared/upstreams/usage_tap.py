"""Usage tap: token counts read from an answer in OpenAI's dialect while it passes.

The bytes are passed on as they are. Where the upstream tells no usage, as in streams without
``stream_options.include_usage``, tokens are estimated: nothing is for free because nobody counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

_BYTES_PER_TOKEN = 4
"""OpenAI's rule of thumb for English. https://help.openai.com/en/articles/4936856"""
_LONGEST_LINE = 2**20
_MOST_TOKENS = 10**9
_TEXTS = ("content", "reasoning_content", "reasoning", "refusal", "text")


class UsageTap:
    """Reader of one answer, by `whole` or by `feed`.

    ``usage``: prompt tokens, cached ones among them, and completion tokens, as the upstream says.
    """

    def __init__(self) -> None:
        self.usage: tuple[int, int, int] | None = None
        self.is_done = False
        """Whether a stream's ``[DONE]`` has come."""
        self._line = bytearray()
        self._is_long = False
        self._n_bytes = 0
        self._n_events = 0

    @property
    def estimate(self) -> int:
        """Completion tokens by the text that has passed: of four bytes, and one an event."""
        return max(self._n_events, -(-self._n_bytes // _BYTES_PER_TOKEN))

    def whole(self, body: bytes) -> None:
        """Read an answer of one JSON value."""
        self._read(body)

    def feed(self, part: bytes) -> None:
        """Read the next bytes of an event stream."""
        first, *rest = part.replace(b"\r", b"\n").split(b"\n")
        self._add(first)
        for piece in rest:
            self._end_line()
            self._add(piece)

    def _add(self, piece: bytes) -> None:
        if self._is_long or len(self._line) + len(piece) > _LONGEST_LINE:
            self._n_bytes += len(self._line) + len(piece)
            self._line.clear()
            self._is_long = True
        else:
            self._line += piece

    def _end_line(self) -> None:
        line, self._line = bytes(self._line), bytearray()
        is_long, self._is_long = self._is_long, False
        if is_long or not line.startswith(b"data:"):
            return
        data = line[5:].strip()
        if data == b"[DONE]":
            self.is_done = True
        else:
            self._read(data)

    def _read(self, text: bytes) -> None:
        try:
            data = orjson.loads(text)
        except orjson.JSONDecodeError:
            self._n_bytes += len(text)
            return
        if not isinstance(data, dict):
            return
        self.usage = _usage(data.get("usage")) or self.usage
        n_bytes = sum(map(_size, _texts(data)))
        self._n_bytes += n_bytes
        self._n_events += n_bytes > 0


def estimated_prompt(data: object) -> int:
    """Tokens of a request's prompt: four bytes of text each; a token's number is one."""
    fields = data if isinstance(data, dict) else {}
    names = ("messages", "prompt", "suffix", "tools", "functions", "response_format")
    values = [fields.get(name) for name in names]
    n_bytes = n_numbers = 0
    while values:
        value = values.pop()
        if isinstance(value, str):
            n_bytes += 0 if value.startswith("data:") else _size(value)  # an image's bytes
        elif isinstance(value, dict):
            values += value.values()
        elif isinstance(value, list):
            values += value
        elif isinstance(value, int):
            n_numbers += 1
    return n_numbers + -(-n_bytes // _BYTES_PER_TOKEN)


def _usage(usage: object) -> tuple[int, int, int] | None:
    if not isinstance(usage, dict):
        return None
    prompt, completion = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    if prompt is None or completion is None:
        return None
    details = usage.get("prompt_tokens_details")
    cached = _count(details, "cached_tokens") if isinstance(details, dict) else 0
    return prompt, min(cached or 0, prompt), completion


def _count(counts: dict[str, Any], name: str) -> int | None:
    count = counts.get(name)
    if not isinstance(count, int) or isinstance(count, bool):
        return None
    return count if 0 <= count <= _MOST_TOKENS else None


def _texts(data: dict[str, Any]) -> Iterator[str]:
    """What was generated: text, reasoning, and arguments of tools."""
    choices = data.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if not isinstance(choice, dict):
            continue
        for part in (choice, choice.get("delta"), choice.get("message")):
            if isinstance(part, dict):
                yield from (part[name] for name in _TEXTS if isinstance(part.get(name), str))
                yield from _arguments(part.get("tool_calls"))
                yield from _arguments([{"function": part.get("function_call")}])


def _arguments(calls: object) -> Iterator[str]:
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            yield from (text for text in function.values() if isinstance(text, str))


def _size(text: str) -> int:
    return len(text.encode("utf-8", "replace"))
