"""Events as API Gateway and Lambda's function URLs send them.

HTTP APIs and function URLs have payload format 2.0, REST APIs an older one, and authorizers theirs.

https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html
https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-use-lambda-authorizer.html
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

KEY = "key-of-the-lambda-tests"
STAGE = "api"
"""Of the REST API: the first part of its URLs' paths, which functions do not see in ``path``."""
METHOD_ARN = f"arn:aws:execute-api:us-east-1:123456789012:abcdefghij/{STAGE}"
"""What the ARNs of a REST API's methods begin with."""


def http_api_event(
    method: str,
    path: str,
    body: Any = None,
    *,
    key: str | None = KEY,
    query: str = "",
    headers: Mapping[str, str] | None = None,
    cookies: list[str] | None = None,
    is_base64: bool = False,
) -> dict[str, Any]:
    """What API Gateway's HTTP API sends. ``body`` is text, bytes, or a value to send as JSON."""
    host = "abcdefghij.execute-api.us-east-1.amazonaws.com"
    return _event(
        method,
        path,
        body,
        host,
        "$default",
        key=key,
        query=query,
        headers=headers,
        cookies=cookies,
        is_base64=is_base64,
    ) | {"routeKey": f"{method} {path}"}


def function_url_event(method: str, path: str, body: Any = None, **options: Any) -> dict[str, Any]:
    """What a function URL sends: the same, for its own host and without routes."""
    host = "abcdefghijklmnopqrstuvwxyz012345.lambda-url.us-east-1.on.aws"
    options = {"key": KEY, "query": "", "headers": None, "cookies": None, "is_base64": False} | (
        options
    )
    return _event(method, path, body, host, "$default", **options) | {"routeKey": "$default"}


def rest_api_event(
    method: str,
    path: str,
    body: Any = None,
    *,
    key: str | None = KEY,
    query: str = "",
    headers: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """What API Gateway's REST API sends: with ``*/*`` as a binary type, all bodies in base64."""
    raw = _raw(body)
    host = "abcdefghij.execute-api.us-east-1.amazonaws.com"
    sent = {
        "Accept": "application/json",
        "Content-Type": "application/json",
        "Host": host,
        "User-Agent": "OpenAI/Python 3.54.0",
        "X-Amzn-Trace-Id": "Root=1-67891233-abcdef012345678912345678",
        "X-Forwarded-For": "203.0.113.7",
        "X-Forwarded-Port": "443",
        "X-Forwarded-Proto": "https",
        **({"Authorization": f"Bearer {key}"} if key is not None else {}),
        **(headers or {}),
    }
    pairs: dict[str, list[str]] = {}
    for name, value in parse_qsl(query):
        pairs.setdefault(name, []).append(value)
    return {
        "resource": "/{proxy+}",
        "path": path,
        "httpMethod": method,
        "headers": sent,
        "multiValueHeaders": {name: [value] for name, value in sent.items()},
        "queryStringParameters": {name: found[-1] for name, found in pairs.items()} or None,
        "multiValueQueryStringParameters": pairs or None,
        "pathParameters": {"proxy": path.removeprefix("/")},
        "stageVariables": None,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "abcdefghij",
            "authorizer": {"principalId": "key-0123456789abcdef", "integrationLatency": 12},
            "domainName": host,
            "domainPrefix": "abcdefghij",
            "extendedRequestId": "JKJaXmPLvHcESHA=",
            "httpMethod": method,
            "identity": {"sourceIp": "203.0.113.7", "userAgent": sent["User-Agent"]},
            "path": f"/{STAGE}{path}",
            "protocol": "HTTP/1.1",
            "requestId": "c6af9ac6-7b61-11e6-9a41-93e8deadbeef",
            "resourceId": "abc123",
            "resourcePath": "/{proxy+}",
            "stage": STAGE,
        },
        "body": base64.b64encode(raw).decode() if body is not None else None,
        "isBase64Encoded": body is not None,
    }


def rest_authorizer_event(header: str, method: str = "POST", path: str = "") -> dict[str, Any]:
    """What a REST API's authorizer of type ``TOKEN`` gets."""
    arn = f"{METHOD_ARN}/{method}/{path}"
    return {"type": "TOKEN", "authorizationToken": header, "methodArn": arn}


def http_authorizer_event(header: str) -> dict[str, Any]:
    """What an HTTP API's authorizer gets in payload format 2.0."""
    event = http_api_event("POST", "/v1/chat/completions", headers={"authorization": header})
    route = "POST /v1/chat/completions"
    arn = f"arn:aws:execute-api:us-east-1:123456789012:abcdefghij/$default/{route}"
    return {**event, "type": "REQUEST", "routeArn": arn, "identitySource": [header]}


def _event(
    method: str,
    path: str,
    body: Any,
    host: str,
    stage: str,
    *,
    key: str | None,
    query: str,
    headers: Mapping[str, str] | None,
    cookies: list[str] | None,
    is_base64: bool,
) -> dict[str, Any]:
    raw = _raw(body)
    sent = {
        "accept": "application/json",
        "content-length": str(len(raw)),
        "content-type": "application/json",
        "host": host,
        "user-agent": "OpenAI/Python 3.54.0",
        "x-amzn-trace-id": "Root=1-67891233-abcdef012345678912345678",
        "x-forwarded-for": "203.0.113.7",
        "x-forwarded-port": "443",
        "x-forwarded-proto": "https",
        **({"authorization": f"Bearer {key}"} if key is not None else {}),
        **(headers or {}),
    }
    now = time.time()
    event: dict[str, Any] = {
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": query,
        "headers": sent,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": host.partition(".")[0],
            "domainName": host,
            "domainPrefix": host.partition(".")[0],
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "203.0.113.7",
                "userAgent": sent["user-agent"],
            },
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": "$default",
            "stage": stage,
            "time": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now)),
            "timeEpoch": int(now * 1000),
        },
        "isBase64Encoded": is_base64,
    }
    if query:
        pairs: dict[str, list[str]] = {}
        for name, value in parse_qsl(query):
            pairs.setdefault(name, []).append(value)
        event["queryStringParameters"] = {name: ",".join(found) for name, found in pairs.items()}
    if cookies:
        event["cookies"] = cookies
    if body is not None:
        event["body"] = base64.b64encode(raw).decode() if is_base64 else raw.decode()
    return event


def _raw(body: Any) -> bytes:
    if body is None:
        return b""
    if isinstance(body, bytes):
        return body
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()
