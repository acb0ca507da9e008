"""Log probabilities in OpenAI's dialect: of an upstream's, what OpenAI's types have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from shared.upstreams.dialects import json_values
from shared.upstreams.dialects.json_values import MalformedAnswerError

ValueT = TypeVar("ValueT")


def chat_logprobs(value: object) -> dict[str, Any] | None:
    """``choices[].logprobs`` of chat; None where there are none."""
    if value is None:
        return None
    columns = json_values.as_object(value)
    return {
        name: None if columns.get(name) is None else _tokens(columns, name)
        for name in ("content", "refusal")
    }


def text_logprobs(value: object) -> dict[str, Any] | None:
    """``choices[].logprobs`` of text; None where there are none, or where they are a chat's."""
    if value is None:
        return None
    columns = json_values.as_object(value)
    if columns.get("tokens") is None:
        return None
    return {
        "tokens": _column(columns, "tokens", _text),
        "token_logprobs": _column(columns, "token_logprobs", _optional(_number)),
        "top_logprobs": _column(columns, "top_logprobs", _optional(_likely)),
        "text_offset": _column(columns, "text_offset", _integer),
    }


def _tokens(columns: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [
        {
            **_token(item),
            "top_logprobs": [_token(each) for each in json_values.items(item, "top_logprobs")]
            if item.get("top_logprobs") is not None
            else [],
        }
        for item in json_values.items(columns, name)
    ]


def _token(item: dict[str, Any]) -> dict[str, Any]:
    spelled = item.get("bytes")
    return {
        "token": json_values.text(item, "token"),
        "logprob": _number(item.get("logprob")),
        "bytes": None if spelled is None else _column(item, "bytes", _integer),
    }


def _column(columns: dict[str, Any], name: str, read: Callable[[object], ValueT]) -> list[ValueT]:
    values = columns.get(name)
    if values is None:
        return []
    if not isinstance(values, list):
        raise MalformedAnswerError(f"'{name}' is no array")
    return [read(value) for value in values]


def _optional(read: Callable[[object], ValueT]) -> Callable[[object], ValueT | None]:
    return lambda value: None if value is None else read(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise MalformedAnswerError("a token is no text")
    return value


def _number(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise MalformedAnswerError("a log probability is no number")
    return value


def _integer(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise MalformedAnswerError("a byte or an offset is no number")
    return value


def _likely(value: object) -> dict[str, float]:
    return {token: _number(logprob) for token, logprob in json_values.as_object(value).items()}
