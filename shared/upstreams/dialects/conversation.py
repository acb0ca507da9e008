"""Conversation as APIs other than OpenAI's have it: instructions apart, and turns that alternate.

What tools return belongs to the user's turn, calls to the assistant's. Texts that are blank are
left out: these APIs refuse them, and a message that consists of nothing else says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from shared.protocol.errors import invalid
from shared.protocol.unsupported_fields import refuse
from shared.upstreams.dialects.request_fields import unsupported_value

Role = Literal["user", "assistant"]


@dataclass(frozen=True, slots=True)
class Text:
    """A text; ``ends_prefix`` where the request marks the end of a prefix to be cached."""

    text: str
    ends_prefix: bool = False


@dataclass(frozen=True, slots=True)
class Media:
    """An image, a file or a sound, by its bytes in base64 or by its URL.

    ``where`` is the request's field that it comes from.
    """

    kind: Literal["image", "file", "audio"]
    where: str
    media_type: str = ""
    data: str | None = None
    url: str | None = None
    name: str | None = None
    ends_prefix: bool = False


@dataclass(frozen=True, slots=True)
class ToolUse:
    """A call that the assistant made."""

    id: str
    name: str
    input: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool returned."""

    id: str
    texts: list[Text]


Block = Text | Media | ToolUse | ToolResult


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side says before the other does."""

    role: Role
    blocks: list[Block]


@dataclass(slots=True)
class Conversation:
    """``messages`` of a request; those of ``system`` and ``developer`` are ``instructions``."""

    instructions: list[Text] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)

    def has_tools(self) -> bool:
        """Whether there are calls in it or what tools returned."""
        return any(
            isinstance(block, ToolUse | ToolResult) for turn in self.turns for block in turn.blocks
        )

    def add(self, role: Role, blocks: list[Block]) -> None:
        """Add to the turn of ``role``."""
        if not blocks:
            return
        if self.turns and self.turns[-1].role == role:
            self.turns[-1].blocks.extend(blocks)
        else:
            self.turns.append(Turn(role, blocks))


def conversation_of(fields: Mapping[str, Any]) -> Conversation:
    """The conversation of a request's ``fields``.

    Raises `APIError` 400 for what has no equal, and for a last message of the assistant's that the
    request does not ask to continue: continuing is all that these APIs do with it.
    """
    found = Conversation()
    messages = fields["messages"]
    for i, message in enumerate(messages):
        where, role = f"messages[{i}]", message["role"]
        if role in ("system", "developer"):
            found.instructions += _texts(message.get("content"), f"{where}.content")
        elif role == "user":
            found.add("user", list(_parts(message.get("content"), f"{where}.content")))
        elif role == "assistant":
            found.add("assistant", list(_answer(message, where)))
        elif role == "tool":
            texts = _texts(message.get("content"), f"{where}.content")
            found.add("user", [ToolResult(message["tool_call_id"], texts)])
        else:
            refuse(f"{where}.role", "use messages of the role 'tool'")
    if not any(turn.role == "user" for turn in found.turns):
        raise invalid("This model needs a message of the user's.", "messages")
    _check_end(fields, messages[-1]["role"] == "assistant")
    return found


def _check_end(fields: Mapping[str, Any], is_answer: bool) -> None:
    continues = bool(fields.get("continue_final_message"))
    if is_answer and not continues:
        raise unsupported_value(
            "The last message is the assistant's, which this model could only continue: say so "
            "with 'continue_final_message', or add a message of the user's.",
            "messages",
        )
    if continues and not is_answer:
        raise invalid(
            "Only a message of the assistant's can be continued, and the last one is not.",
            "continue_final_message",
        )
    if fields.get("add_generation_prompt", not continues) is continues:
        refuse("add_generation_prompt", "it follows from 'continue_final_message'")


def _answer(message: Mapping[str, Any], where: str) -> Iterable[Block]:
    for name in ("function_call", "audio"):
        if message.get(name) is not None:
            refuse(f"{where}.{name}", "use 'tool_calls'" if name != "audio" else "send its text")
    yield from _texts(message.get("content"), f"{where}.content")
    yield from _texts(message.get("refusal"), f"{where}.refusal")
    for i, call in enumerate(message.get("tool_calls") or ()):
        function = call["function"]
        at = f"{where}.tool_calls[{i}].function.arguments"
        yield ToolUse(call["id"], function["name"], _arguments(function["arguments"], at))


def _arguments(text: str, where: str) -> Mapping[str, Any]:
    try:
        arguments = orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        arguments = None
    if not isinstance(arguments, dict):
        raise unsupported_value(f"'{where}' has to be a JSON object for this model.", where)
    return arguments


def _texts(content: Any, where: str) -> list[Text]:
    texts = []
    for i, part in enumerate(_parts(content, where)):
        if not isinstance(part, Text):
            raise unsupported_value(f"'{where}[{i}]' has to be text in this message.", where)
        texts.append(part)
    return texts


def _parts(content: Any, where: str) -> Iterable[Text | Media]:
    if isinstance(content, str) or content is None:
        if content and not content.isspace():
            yield Text(content)
        return
    for i, part in enumerate(content):
        at = f"{where}[{i}]"
        kind = part["type"]
        ends_prefix = part.get("prompt_cache_breakpoint") is not None
        if kind in ("text", "refusal"):
            text = _string(part.get(kind), f"{at}.{kind}")
            if text and not text.isspace():
                yield Text(text, ends_prefix)
        elif kind in _MEDIA:
            media = part.get(kind)
            if not isinstance(media, dict):
                raise invalid(f"'{at}.{kind}' has to be an object.", f"{at}.{kind}")
            yield _MEDIA[kind](media, f"{at}.{kind}", ends_prefix)
        else:
            raise unsupported_value(f"'{at}.type' is none that this model can read.", f"{at}.type")


def _string(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise invalid(f"'{where}' has to be a string.", where)
    return value


def _image(image: Mapping[str, Any], where: str, ends_prefix: bool) -> Media:
    at = f"{where}.url"
    url = _string(image.get("url"), at)
    if url.startswith("data:"):
        media_type, data = _data_url(url, at)
        return Media("image", at, media_type, data, ends_prefix=ends_prefix)
    return Media("image", at, url=url, ends_prefix=ends_prefix)


def _file(file: Mapping[str, Any], where: str, ends_prefix: bool) -> Media:
    if file.get("file_data") is None:
        refuse(f"{where}.file_id", "send the file's bytes as 'file_data'")
    at = f"{where}.file_data"
    media_type, data = _data_url(_string(file["file_data"], at), at)
    name = file.get("filename")
    if name is not None:
        name = _string(name, f"{where}.filename")
    return Media("file", at, media_type, data, name=name, ends_prefix=ends_prefix)


def _audio(audio: Mapping[str, Any], where: str, ends_prefix: bool) -> Media:
    form = _string(audio.get("format"), f"{where}.format")
    data = _string(audio.get("data"), f"{where}.data")
    return Media("audio", where, form, data, ends_prefix=ends_prefix)


_MEDIA = {"image_url": _image, "file": _file, "input_audio": _audio}


def _data_url(url: str, where: str) -> tuple[str, str]:
    """Media type and base64 of a URL such as ``data:image/png;base64,...`` (RFC 2397)."""
    head, comma, data = url.partition(",")
    media_type, *parameters = head.removeprefix("data:").split(";")
    if not comma or not head.startswith("data:") or "base64" not in parameters or not data:
        raise unsupported_value(
            f"'{where}' has to be a URL such as data:image/png;base64,... for this model.", where
        )
    return media_type.strip().lower(), data
