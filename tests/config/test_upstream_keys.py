"""Keys of upstreams in AWS's stores: read at the start, read again, and never shown."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import boto3
import pytest

from shared.config.upstream_keys import UpstreamKey
from shared.protocol.errors import APIError
from tests.storage.dynamodb.moto_server import ENVIRONMENT, moto_server

KEY, NEW_KEY = "sk-of-the-upstream-0123456789", "sk-its-successor"


@pytest.fixture(scope="module")
def aws(stand_ins: None) -> Iterator[None]:
    """AWS's stores with some keys."""
    with moto_server() as url, patch.dict("os.environ", {**ENVIRONMENT, "AWS_ENDPOINT_URL": url}):
        ssm, secrets = boto3.client("ssm"), boto3.client("secretsmanager")
        ssm.put_parameter(Name="/keys/good", Value=f"{KEY}\n", Type="SecureString")
        ssm.put_parameter(Name="/keys/two", Value=f"{KEY} {KEY}", Type="SecureString")
        secrets.create_secret(Name="plain", SecretString=KEY)
        secrets.create_secret(Name="fields", SecretString=f'{{"api": "{KEY}", "user": "me"}}')
        secrets.create_secret(Name="binary", SecretBinary=b"\xff")
        yield


def key(reference: str) -> UpstreamKey:
    """What a server has after its start."""
    found = UpstreamKey(reference)
    found.read()
    return found


@pytest.mark.parametrize(
    "reference", ["ssm:/keys/good", "secretsmanager:plain", "secretsmanager:fields#api"]
)
def test_a_key_is_read_where_it_is(aws: None, reference: str) -> None:
    found = key(reference)
    assert found.get_secret_value() == KEY
    assert repr(found) == f"UpstreamKey('{reference}')"


def test_an_arn_says_the_region(aws: None) -> None:
    other = boto3.client("secretsmanager", region_name="eu-west-1")
    arn = other.create_secret(Name="far", SecretString=KEY)["ARN"]
    assert key(f"secretsmanager:{arn}").get_secret_value() == KEY


@pytest.mark.parametrize(
    ("reference", "problem"),
    [
        ("ssm:/keys/none", "ParameterNotFound"),
        ("ssm:/keys/two", "has spaces"),
        ("secretsmanager:none", "ResourceNotFoundException"),
        (
            "secretsmanager:fields",
            "say which of its fields it is, with #NAME at the end: api, user",
        ),
        ("secretsmanager:plain#api", "it has no fields"),
        ("secretsmanager:binary", "is not set"),
    ],
)
def test_what_can_not_be_read_is_in_the_log(
    aws: None, reference: str, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    found = key(reference)
    assert problem in caplog.text
    assert reference in caplog.text
    assert KEY not in caplog.text
    with pytest.raises(APIError) as caught:
        found.get_secret_value()
    assert (caught.value.status, caught.value.code) == (503, "upstream_key_unavailable")


def test_a_key_is_read_again_when_it_is_old_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    started: list[threading.Thread] = []

    def start(thread: threading.Thread) -> None:
        started.append(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    found = UpstreamKey("ssm:/keys/old")
    found._value, found._read_at, found._tried_at = KEY, now, now

    def renewed(seconds: float, *, is_refused: bool = False) -> bool:
        nonlocal now
        now += seconds
        started.clear()
        if is_refused:
            found.renew()
        assert found.get_secret_value() == KEY
        return bool(started)

    assert not renewed(299)
    assert renewed(2)
    assert not renewed(2)  # that is on its way
    assert renewed(10)  # it failed
    found._read_at = now
    assert not renewed(1, is_refused=True)  # a moment ago
    assert renewed(10, is_refused=True)


def test_a_key_that_was_replaced_is_taken_up(aws: None) -> None:
    ssm: Any = boto3.client("ssm")
    ssm.put_parameter(Name="/keys/rotated", Value=KEY, Type="SecureString")
    found = key("ssm:/keys/rotated")
    ssm.put_parameter(Name="/keys/rotated", Value=NEW_KEY, Type="SecureString", Overwrite=True)
    found.read()
    assert found.get_secret_value() == NEW_KEY
    ssm.delete_parameter(Name="/keys/rotated")
    logging.disable(logging.ERROR)
    found.read()
    logging.disable(logging.NOTSET)
    assert found.get_secret_value() == NEW_KEY  # the last one that is known


@pytest.mark.parametrize(
    "reference", ["", "sk-0123", "ssm:", "vault:x", "env:", "ssm:/a b", "env:1"]
)
def test_what_is_no_reference_is_refused(reference: str) -> None:
    with pytest.raises(ValueError, match="say where the key is") as caught:
        UpstreamKey(reference)
    assert "sk-0123" not in str(caught.value)
