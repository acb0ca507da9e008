"""Request to an upstream: the body as it came, and the model's name there.

Which model a body names decides who may send it and what it costs. So it must not be understood in
two ways: a JSON parser takes the first or the last of two fields of one name, and some take
``Model`` for ``model``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from shared.config.upstreams import UpstreamModel
from shared.protocol.errors import invalid

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_TOKEN = re.compile(rb"(?P<string>" + _STRING + rb")|[{}\[\]]", re.DOTALL)
_MEMBER = re.compile(rb"\s*:\s*(?P<value>" + _STRING + rb"|null)", re.DOTALL)
_MODEL = b'"model"'
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    """A request for the upstream model ``name``: its ``body``, and the JSON value of that."""

    name: str
    upstream: UpstreamModel
    body: bytes
    data: Mapping[str, Any]
    native: Mapping[str, Any] = field(default_factory=dict)
    """Fields that chat completions lack and the upstream's dialect has."""

    @classmethod
    def of(
        cls,
        upstreams: Mapping[str, UpstreamModel],
        data: object,
        body: bytes,
        stand_in: str | None = None,
    ) -> UpstreamRequest | None:
        """The request, if ``body`` with the value ``data`` names one of ``upstreams``.

        ``stand_in`` is asked in the place of the model that the body names. In direct mode the body
        is what will be sent. Raises `APIError` 400 for one that could be understood in two ways.
        """
        sent = data.get("model") if isinstance(data, dict) else None
        name = stand_in or sent
        upstream = upstreams.get(name) if isinstance(name, str) else None
        if upstream is None or not isinstance(data, dict) or not isinstance(name, str):
            return None
        if upstream.mode == "adapter":
            return cls(name, upstream, body, data)
        body = body.removeprefix(_BYTE_ORDER_MARK)
        check_unique_fields(body)
        if (model := upstream.model or name) != sent:
            body = with_model(body, model)
        return cls(name, upstream, body, data)


def check_unique_fields(body: bytes) -> None:
    """Raise `APIError` 400 where an object's field is there twice."""
    # Numbers are of no interest: int() refuses long ones, which JSON has.
    parsed = json.loads(body, object_pairs_hook=_Names, parse_int=len, parse_float=len)
    for name in parsed.names:
        if name != "model" and name.casefold() == "model":
            raise invalid(f"The field '{name}' is to be spelled 'model'.", None)


class _Names:
    """Names of an object's fields; raises `APIError` 400 for two alike."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        self.names = {name for name, _ in pairs}
        if len(self.names) < len(pairs):
            seen: set[str] = set()
            for name, _ in pairs:
                if name in seen:
                    raise invalid(f"The body has the field '{name}' twice.", None)
                seen.add(name)


def with_model(body: bytes, model: str) -> bytes:
    """``body`` with a value of its field ``model``; all other bytes stay as they are."""
    if body.count(_MODEL) == 1:  # as nearly always; reading each text takes ten times as long
        member = _MEMBER.match(body, body.index(_MODEL) + len(_MODEL))
        if member is not None:
            replaced = _replaced(body, member, model)
            if orjson.loads(replaced).get("model") == model:  # else it is one within another object
                return replaced
    depth = 0
    for token in _TOKEN.finditer(body):
        if (string := token["string"]) is None:
            depth += 1 if token[0] in b"{[" else -1
        elif depth == 1 and orjson.loads(string) == "model":
            member = _MEMBER.match(body, token.end())
            if member is not None:  # else it is a value, as in {"user": "model"}
                return _replaced(body, member, model)
    start = body.index(b"{") + 1
    comma = b"" if body[start:].lstrip().startswith(b"}") else b","
    return b'%b"model":%b%b%b' % (body[:start], orjson.dumps(model), comma, body[start:])


def _replaced(body: bytes, member: re.Match[bytes], model: str) -> bytes:
    start, end = member.span("value")
    return body[:start] + orjson.dumps(model) + body[end:]
