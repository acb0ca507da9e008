"""Usage tap: token counts read from an answer in OpenAI's dialect while it passes.

The bytes are passed on as they are. Where the upstream tells no usage, as in streams without
``stream_options.include_usage``, tokens are estimated: nothing is for free because nobody counted.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any

import orjson

_BYTES_PER_TOKEN = 4
"""OpenAI's rule of thumb for English. https://help.openai.com/en/articles/4936856"""
_LONGEST_JSON = 2**16
"""Bytes that are parsed at once, which takes 3 ms of the most awkward ones."""
_LONGEST_USAGE = 2**12
_SLICE = 2**13
"""Bytes of a stream that are read at once, which takes 7 ms of the most awkward ones."""
_USAGE = b'"usage"'
_MEMBER = re.compile(rb"\s{0,16}:\s{0,16}(?=\{)")
_DECODER = json.JSONDecoder()
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
        self._line = b""
        """A line that has not ended; of a long one its end."""
        self._line_size = 0
        self._n_bytes = 0
        self._n_events = 0

    @property
    def estimate(self) -> int:
        """Completion tokens by the text that has passed: of four bytes, and one an event."""
        pending = self._line_size if self._line_size > _LONGEST_JSON else 0
        return max(self._n_events, -(-(self._n_bytes + pending) // _BYTES_PER_TOKEN))

    def whole(self, body: bytes) -> None:
        """Read an answer of one JSON value."""
        if len(body) <= _LONGEST_JSON:
            self._read(body)
        else:
            self._search(body, len(body))

    async def pass_on(self, part: bytes) -> None:
        """`feed`, while others have their turns: a part may have thousands of events."""
        for start in range(0, len(part), _SLICE):
            self.feed(part[start : start + _SLICE])
            if start:
                await asyncio.sleep(0)

    def feed(self, part: bytes) -> None:
        """Read the next bytes of an event stream."""
        first, *rest = part.replace(b"\r", b"\n").split(b"\n")
        self._add(first)
        if rest:
            self._end_line()
            *lines, last = rest
            for line in filter(None, lines):
                self._add(line)
                self._end_line()
            self._add(last)

    def _add(self, piece: bytes) -> None:
        self._line_size += len(piece)
        self._line = self._line + piece if self._line else piece
        if self._line_size > _LONGEST_JSON:
            self._line = self._line[-_LONGEST_USAGE:]

    def _end_line(self) -> None:
        line, self._line = self._line, b""
        size, self._line_size = self._line_size, 0
        if size > _LONGEST_JSON:
            self._search(line, size)
        elif line.startswith(b"data:"):
            data = line[5:].strip()
            if data == b"[DONE]":
                self.is_done = True
            elif data:
                self._read(data)

    def _read(self, text: bytes) -> None:
        """Read a JSON value."""
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

    def _search(self, text: bytes, size: int) -> None:
        """Read of a JSON value of ``size``, whose end is ``text``, what its usage may be.

        Parsing all of it would hold up everybody for its whole time. Within JSON's strings the name
        can't stand like that, since its quotes are escaped there.
        """
        self._n_bytes += size
        start = text.rfind(_USAGE)
        found = _MEMBER.match(text, start + len(_USAGE)) if start >= 0 else None
        if found is not None:
            try:
                end = text[found.end() : found.end() + _LONGEST_USAGE].decode("utf-8", "replace")
                self.usage = _usage(_DECODER.raw_decode(end)[0]) or self.usage
            except (ValueError, RecursionError):
                return


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
