"""botocore's model of Converse: what requests, answers and events have to look like."""

from __future__ import annotations

import base64
from functools import cache
from typing import Any

import orjson
from botocore.model import OperationModel
from botocore.serialize import create_serializer
from botocore.session import get_session
from botocore.validate import ParamValidator

_BLOBS = ("bytes", "redactedContent")


@cache
def operation(name: str) -> OperationModel:
    """``Converse`` or ``ConverseStream``."""
    return get_session().get_service_model("bedrock-runtime").operation_model(name)


def check(value: Any, shape: Any) -> None:
    """Fail unless ``value``, from JSON, is of ``shape``."""
    report = ParamValidator().validate(_with_bytes(value), shape)
    assert not report.has_errors(), report.generate_report()


def serialized(name: str, model: str, body: Any) -> tuple[str, Any]:
    """Path and JSON of the request that boto3 would send of ``body``, which it checks."""
    found = operation(name)
    parameters = {"modelId": model, **_with_bytes(body)}
    check(parameters, found.input_shape)
    serializer: Any = create_serializer("rest-json")
    request = serializer.serialize_to_request(parameters, found)
    return request["url_path"], orjson.loads(request["body"])


def _with_bytes(value: Any) -> Any:
    """``value`` with its bytes, which JSON has as base64."""
    if isinstance(value, dict):
        return {
            key: base64.b64decode(inner)
            if key in _BLOBS and isinstance(inner, str)
            else _with_bytes(inner)
            for key, inner in value.items()
        }
    return [_with_bytes(inner) for inner in value] if isinstance(value, list) else value
