"""Signatures of requests to Bedrock, and where the credentials come from."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import pytest

from shared.upstreams.dialects import bedrock_credentials
from shared.upstreams.dialects.bedrock_credentials import AWSSigner
from shared.upstreams.dialects.dialect import WireRequest
from shared.upstreams.errors import UpstreamError
from shared.upstreams.headers import Headers
from tests.upstreams.dialects.sigv4 import signer_of
from tests.upstreams.dialects.translation import QUESTION, dialect_of
from tests.upstreams.fake_upstream import FakeUpstream, whole

HOST = "bedrock-runtime.eu-west-1.amazonaws.com"


@pytest.fixture(autouse=True)
def without_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """None of this machine's, nor of other tests'."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", f"{tmp_path}/none")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", f"{tmp_path}/none")
    monkeypatch.setattr(bedrock_credentials, "signer", AWSSigner())


def authorized() -> WireRequest:
    dialect = dialect_of("bedrock", key=None)
    request = dialect.request("chat", {"messages": [QUESTION]})
    return asyncio.run(dialect.authorized(request))


def test_a_request_is_signed_with_the_credentials_of_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalr")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    request = authorized()
    headers = {name.decode(): value.decode() for name, value in request.headers}
    assert headers["x-amz-security-token"] == "token"
    signed = signer_of(request.path, {**headers, "host": HOST}, request.body, "wJalr")
    assert signed == ("AKIDEXAMPLE", "eu-west-1/bedrock/aws4_request")


@pytest.mark.integration
def test_credentials_that_end_are_renewed(
    monkeypatch: pytest.MonkeyPatch, upstream: FakeUpstream
) -> None:
    """Those of a task's role, from a server that gives them for a minute each time."""
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{upstream.url}/role")
    monkeypatch.delenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", raising=False)
    for name in ("first", "second"):
        end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 60))
        upstream.answer = whole(
            {"AccessKeyId": name, "SecretAccessKey": "s", "Token": "t", "Expiration": end}
        )
        headers = {key.decode(): value.decode() for key, value in authorized().headers}
        assert f"Credential={name}/" in headers["authorization"]


def test_without_credentials_callers_are_told_that_it_is_not_their_fault() -> None:
    with pytest.raises(UpstreamError) as caught:
        authorized()
    assert (caught.value.status, caught.value.code) == (502, "upstream_authentication_failed")


def test_credentials_that_are_broken_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    with pytest.raises(UpstreamError):
        authorized()


def test_credentials_that_can_not_be_had_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    is_over = threading.Event()

    class Stalled(AWSSigner):
        def signed(self, *_: object) -> Headers | None:
            is_over.wait(60)
            return None

    async def ask() -> None:
        dialect = dialect_of("bedrock", key=None, timeout=0.01)
        request = dialect.request("chat", {"messages": [QUESTION]})
        try:
            await dialect.authorized(request)
        finally:
            is_over.set()

    monkeypatch.setattr(bedrock_credentials, "signer", Stalled())
    with pytest.raises(UpstreamError) as caught:
        asyncio.run(ask())
    assert (caught.value.status, caught.value.code) == (504, "upstream_timeout")


def test_an_api_key_needs_no_signature() -> None:
    dialect = dialect_of("bedrock")
    request = dialect.request("chat", {"messages": [QUESTION]})
    assert asyncio.run(dialect.authorized(request)) is request
