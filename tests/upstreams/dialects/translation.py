"""Requests as the dialects translate them, without a server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson
import pytest
from pydantic import SecretStr

from shared.config.upstreams import UpstreamModel
from shared.protocol.errors import APIError
from shared.upstreams.dialects.dialect import UpstreamDialect
from shared.upstreams.dialects.selection import dialect_of as selected

KEY = "sk-of-the-upstream-0123456789"
QUESTION: Mapping[str, Any] = {"role": "user", "content": "What is the capital of France?"}
CLAUDE = "us.anthropic.claude-sonnet-5-5-v1:0"
PNG = "data:image/png;base64,iVBORw0KGgo="
PDF = "data:application/pdf;base64,JVBERi0xLjQ="


def upstream_of(dialect: str, **fields: Any) -> UpstreamModel:
    """A model of an upstream, with a key unless ``key`` says another."""
    url = {
        "anthropic": "https://api.anthropic.com/v1",
        "bedrock": "https://bedrock-runtime.eu-west-1.amazonaws.com",
    }[dialect]
    key = fields.pop("key", KEY)
    model = UpstreamModel.model_validate({"upstream": url, "mode": "direct", **fields})
    secret = None if key is None else SecretStr(key)
    return model.model_copy(update={"dialect": dialect, "mode": "adapter", "key": secret})


def dialect_of(kind: str, **fields: Any) -> UpstreamDialect:
    """The dialect of a model named ``big``, which the upstream calls a Claude's name."""
    return selected("big", upstream_of(kind, **{"model": CLAUDE, **fields}))


def body_of(kind: str, **fields: Any) -> dict[str, Any]:
    """The body of a chat completion's request: ``messages`` are a question unless given."""
    request = dialect_of(kind).request("chat", {"messages": [QUESTION], **fields})
    body: dict[str, Any] = orjson.loads(request.body)
    return body


def refusal_of(kind: str, **fields: Any) -> APIError:
    """The error of a request that is refused."""
    with pytest.raises(APIError) as caught:
        body_of(kind, **fields)
    assert caught.value.status == 400
    return caught.value


def values_at(data: Any, path: str) -> Iterator[Any]:
    """What is at ``path``, as ``tools[].name``: ``[]`` stands for every item."""
    name, _, rest = path.partition(".")
    is_list = name.endswith("[]")
    value = data.get(name.removesuffix("[]")) if isinstance(data, dict) else None
    for item in (value or []) if is_list else [value]:
        if item is None:
            continue
        if rest:
            yield from values_at(item, rest)
        else:
            yield item
