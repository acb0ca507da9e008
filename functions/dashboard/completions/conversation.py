"""Conversation of a stored completion: what was said, as pages show it.

Messages become turns of parts. Whatever shape they have, something is shown, and never more than a
page should have: the raw JSON has it all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from functions.dashboard.completions.texts import Object, calls, mapping, objects, prompts
from functions.dashboard.completions.token_probabilities import Token, tokens_of
from shared.storage.types import StoredCompletion

MAX_TURNS = 200
MAX_PARTS = 100
"""Of a message."""
MAX_CHARACTERS = 20_000
"""Of a text."""
_MAX_TOTAL = 400_000
"""Characters of all texts."""
_MAX_IMAGE = 4_000_000
_IMAGES = tuple(f"data:image/{kind};base64," for kind in ("png", "jpeg", "gif", "webp"))
"""Pictures that a page may show: no SVG, which is a document."""

PartKind = Literal["text", "reasoning", "refusal", "image", "call", "other"]


@dataclass(frozen=True, slots=True)
class Part:
    """Part of a message. ``name``: of a call's function, or what kind of thing it is.

    ``n_hidden``: characters that are left out behind the text.
    """

    kind: PartKind
    text: str
    name: str = ""
    call_id: str = ""
    n_hidden: int = 0


@dataclass(frozen=True, slots=True)
class Turn:
    """A message: who says it, and what. ``about``: a name, or the call that a result is of."""

    role: str
    parts: Sequence[Part]
    about: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """A choice of the response. ``tokens`` have their probabilities, where those were asked for."""

    index: int
    parts: Sequence[Part]
    finish_reason: str
    tokens: Sequence[Token] = ()


@dataclass(slots=True)
class Conversation:
    """What was asked and answered. ``n_left_out``: messages that are too many to show."""

    turns: list[Turn] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    n_left_out: int = 0


def conversation_of(completion: StoredCompletion) -> Conversation:
    """Of a stored completion, whatever shape it has."""
    room = _Room(_MAX_TOTAL)
    shown = Conversation()
    if completion.kind == "text":
        asked: Sequence[Any] = [
            {"role": "prompt", "content": each if isinstance(each, str) else _token_ids(each)}
            for each in prompts(completion.request)
        ]
    else:
        asked = objects(completion.request.get("messages"))
    # The last ones say most, and the first one often how to behave.
    kept = asked if len(asked) <= MAX_TURNS else [asked[0], *asked[1 - MAX_TURNS :]]
    shown.n_left_out = len(asked) - len(kept)
    choices = objects(completion.response.get("choices"))[:MAX_TURNS]
    shown.answers = [_answer(choice, index, room) for index, choice in enumerate(choices)]
    named: dict[str, str] = {}
    for message in kept:
        for call in calls(message):
            named[str(call.get("id"))] = str(mapping(call.get("function")).get("name", ""))
        shown.turns.append(_turn(message, named, room))
    return shown


class _Room:
    """How many characters a page may still show."""

    def __init__(self, left: int) -> None:
        self._left = left

    def part(self, kind: PartKind, text: Any, name: str = "", call_id: str = "") -> Part:
        """A part with as much of its text as there is room for."""
        whole = text if isinstance(text, str) else _json(text)
        shown = whole[: max(min(MAX_CHARACTERS, self._left), 0)]
        self._left -= len(shown)
        return Part(kind, shown, name, call_id, len(whole) - len(shown))


def _turn(message: Object, named: Mapping[str, str], room: _Room) -> Turn:
    role = str(message.get("role", "unknown"))
    about = str(message.get("name") or "")
    if message.get("tool_call_id") is not None:
        call_id = str(message["tool_call_id"])
        about = named.get(call_id) or call_id
    return Turn(role, _parts(message, room), about)


def _answer(choice: Object, position: int, room: _Room) -> Answer:
    index = choice.get("index")
    if "text" in choice:
        parts = [room.part("text", choice["text"])]
    else:
        parts = _parts(mapping(choice.get("message")), room)
    return Answer(
        index if isinstance(index, int) else position,
        parts,
        str(choice.get("finish_reason") or ""),
        tokens_of(choice.get("logprobs")),
    )


def _parts(message: Object, room: _Room) -> list[Part]:
    parts: list[Part] = []
    for name in ("reasoning_content", "reasoning"):
        if message.get(name):
            parts.append(room.part("reasoning", message[name]))
            break
    content = message.get("content")
    if isinstance(content, list):
        parts += [_content_part(part, room) for part in content[:MAX_PARTS]]
        if len(content) > MAX_PARTS:
            parts.append(room.part("other", "", f"{len(content) - MAX_PARTS} more parts"))
    elif content is not None and content != "":
        parts.append(room.part("text", content))
    if message.get("refusal"):
        parts.append(room.part("refusal", message["refusal"]))
    for call in calls(message)[:MAX_PARTS]:
        function = mapping(call.get("function"))
        arguments = _pretty(function.get("arguments"))
        call_id = str(call.get("id") or "")
        parts.append(room.part("call", arguments, str(function.get("name", "")), call_id))
    return parts


def _content_part(part: Any, room: _Room) -> Part:
    shown = mapping(part)
    kind = shown.get("type")
    if isinstance(part, str) or kind == "text":
        return room.part("text", part if isinstance(part, str) else shown.get("text", ""))
    if kind == "refusal":
        return room.part("refusal", shown.get("refusal", ""))
    if kind == "image_url":
        return _image(str(mapping(shown.get("image_url")).get("url", "")), room)
    if kind in ("input_audio", "file"):
        size = len(_json(shown))
        return room.part("other", "", f"{str(kind).removeprefix('input_')}, {size:,} characters")
    return room.part("other", shown or part, str(kind or "part"))


def _image(url: str, room: _Room) -> Part:
    """A picture, if it is in the message; another site's address is shown, and never loaded."""
    if url.startswith(_IMAGES) and len(url) <= _MAX_IMAGE:
        return Part("image", url)
    if url.startswith("data:"):
        return room.part("other", "", f"image, {len(url):,} characters")
    return room.part("other", url, "image")


def _pretty(arguments: Any) -> str:
    """A call's arguments, indented if they are JSON."""
    if not isinstance(arguments, str):
        return "" if arguments is None else _json(arguments)
    if len(arguments) > MAX_CHARACTERS:
        return arguments
    try:
        return _json(orjson.loads(arguments))
    except orjson.JSONDecodeError:
        return arguments


def _token_ids(prompt: Any) -> str:
    if prompt is None:
        return ""
    return f"{len(prompt):,} token ids: {str(prompt[:200]).strip('[]')}"


def _json(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2, default=str).decode()
