"""Answers as the dialects' readers take them: joined, cut anywhere, broken."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.protocol.errors import APIError
from shared.upstreams.dialects.dialect import AnswerPart, AnswerReader
from shared.upstreams.errors import UpstreamError

DEEP = b"[" * 100_000
ODD: Sequence[Any] = (None, True, -1, 10**30, 1.5, "", "x", [], [None], {}, {"type": "x"}, [[{}]])


@dataclass
class Joined:
    """An answer's parts in one."""

    content: str = ""
    reasoning: str = ""
    refusal: str = ""
    calls: list[list[str]] = field(default_factory=list)
    """Id, name and arguments."""
    finish_reasons: list[str] = field(default_factory=list)


def joined(parts: Iterable[AnswerPart]) -> Joined:
    """The parts in one; fails where they don't fit together."""
    found = Joined()
    for part in parts:
        assert part.choice == 0
        assert not found.finish_reasons
        found.content += part.content
        found.reasoning += part.reasoning
        found.refusal += part.refusal
        for call in part.tool_calls:
            if call.index == len(found.calls):
                assert call.id
                assert call.name
                found.calls.append([call.id, call.name, ""])
            else:
                assert (call.id, call.name) == (None, None)
            found.calls[call.index][2] += call.arguments
        if part.finish_reason is not None:
            found.finish_reasons.append(part.finish_reason)
    return found


def fed(reader: AnswerReader, pieces: Iterable[bytes]) -> list[AnswerPart]:
    """The parts of a stream that arrives in these pieces."""
    return [part for piece in pieces for part in reader.feed(piece)]


def cuts(stream: bytes) -> Iterator[list[bytes]]:
    """The stream byte by byte, and cut once at every byte."""
    yield [stream[i : i + 1] for i in range(len(stream))]
    for i in range(len(stream) + 1):
        yield [stream[:i], stream[i:]]


def variants(value: Any) -> Iterator[Any]:
    """``value`` with each of its values replaced by odd ones in turn, and each field left out."""
    for path in list(_paths(value)):
        for odd in ODD:
            yield _replaced(value, path, odd)
        if path and isinstance(path[-1], str):
            yield _replaced(value, path, None, is_left_out=True)


def _paths(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield path
    members: Any = ()
    if isinstance(value, dict):
        members = value.items()
    elif isinstance(value, list):
        members = enumerate(value)
    for key, inner in members:
        yield from _paths(inner, (*path, key))


def _replaced(
    value: Any, path: tuple[str | int, ...], odd: Any, *, is_left_out: bool = False
) -> Any:
    if not path:
        return odd
    value = copy.deepcopy(value)
    inner = value
    for key in path[:-1]:
        inner = inner[key]
    if is_left_out:
        del inner[path[-1]]
    else:
        inner[path[-1]] = odd
    return value


def error_of(reader: AnswerReader, *, whole: bytes = b"", stream: bytes = b"") -> APIError | None:
    """What is wrong with an answer, or with the part of a stream."""
    try:
        joined(reader.whole(whole) if whole else reader.feed(stream))
    except UpstreamError as error:
        return error
    return reader.error


def is_refused(reader: AnswerReader, *, whole: bytes = b"", stream: bytes = b"") -> bool:
    """Whether an answer is a bad gateway, rather than one that is complete or may become so."""
    error = error_of(reader, whole=whole, stream=stream)
    return error is not None and error.status == 502
