"""Request of another dialect as one for a chat completion, and what its fields were called.

Errors name the field that the caller sent, not the one that it was translated to.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.protocol.errors import APIError, invalid
from shared.protocol.strict import Strict

Origin = Mapping[str, str]
"""Paths of a chat's message (``.content``, or "" for the rest), and what they were made from."""

_INDEXED = re.compile(r"(messages|tools)\[(\d+)\](.*)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnField:
    """A field of chat completions that models here know, and the APIs of upstreams do not.

    - ``name``: what it was made from: as the caller knows it, or where an error is renamed, as
      chat completions do.
    - ``sent``: what the caller has sent under the field's own name, which is passed on.
    - ``dialects``: of upstreams that have an equal of it.
    - ``equal``: the fields that these are sent; None for the field itself.
    - ``refusal``: why nobody else can answer; None where others go without it.
    """

    name: str
    sent: Any = None
    dialects: frozenset[str]
    equal: Mapping[str, Any] | None = None
    refusal: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TranslatedRequest:
    """The body of a chat completion's request, and where its parts come from.

    - ``messages``, ``tools``: the origin of each of these.
    - ``names``: of other fields, those inside of them too.
    - ``ignored``: the request's own fields that have no effect, other than those in ``fields``.
    - ``own``: those of ``fields`` that upstreams are not sent, or not so.
    """

    fields: dict[str, Any]
    messages: Sequence[Origin]
    tools: Sequence[Origin]
    names: Mapping[str, str]
    ignored: Sequence[str] = field(default=())
    own: Mapping[str, OwnField] = field(default_factory=dict)

    def for_upstream(
        self, data: Mapping[str, Any], dialect: str
    ) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
        """The request as an upstream of ``dialect`` is sent it; raises `APIError` 400.

        Its fields, those that are none of chat completions, and the names of what is left out.
        """
        sent, native, left_out = dict(data), dict[str, Any](), list[str]()
        for name, own in self.own.items():
            has_equal = dialect in own.dialects
            if has_equal and own.equal is None:
                continue
            if not has_equal and own.refusal is not None:
                raise invalid(own.refusal, own.name, "unsupported_value")
            sent.pop(name, None)
            if own.sent is not None:
                sent[name] = own.sent
            if has_equal:
                native |= own.equal or {}
            else:
                left_out.append(own.name)
        return sent, native, left_out

    def name_of(self, param: str) -> str:
        """What the caller knows a field of the chat completion's request as."""
        found = _INDEXED.fullmatch(param)
        if found is None:
            return _replaced(param, self.names) or param
        where, index, rest = found[1], int(found[2]), found[3]
        origins = self.messages if where == "messages" else self.tools
        if index >= len(origins):
            return param
        origin = origins[index]
        return _replaced(rest, {path: origin[path] for path in origin if path}) or origin[""]

    def renamed(self, error: APIError) -> APIError:
        """``error`` with the caller's name of the field that it is about."""
        error.message, error.param = self.told(error.message, error.param)
        return error

    def told(self, message: str, param: str | None) -> tuple[str, str | None]:
        """An error's message and ``param`` with the caller's name of the field."""
        if param is None or (name := self.name_of(param)) == param:
            return message, param
        return message.replace(f"'{param}'", f"'{name}'"), name


def _replaced(path: str, names: Mapping[str, str]) -> str | None:
    """``path`` with its longest beginning in ``names`` replaced; None where there is none."""
    for end in sorted({len(path), *(i for i, c in enumerate(path) if c in ".[")}, reverse=True):
        if path[:end] in names:
            return names[path[:end]] + path[end:]
    return None


def nested_unknown_fields(asked: Strict) -> list[str]:
    """Unknown fields inside of others: those of the body itself stay in the request."""
    own = asked.model_extra or {}
    return [name for name in asked.unknown_fields() if name not in own]


def refuse_chat_fields(extra: Mapping[str, Any] | None, moved: Mapping[str, str]) -> None:
    """Raise `APIError` 400 for a chat completion's field that this dialect has in another place."""
    for name, value in (extra or {}).items():
        if name in moved and value is not None and not (name == "n" and value == 1):
            raise invalid(
                f"'{name}' is a field of chat completions: {moved[name]}.",
                name,
                "unsupported_parameter",
            )
