"""TLS of upstreams: their certificates are verified."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from tests.app_server import AppServer
from tests.upstreams.certificates import Authority
from tests.upstreams.conftest import KEY
from tests.upstreams.fake_upstream import FakeUpstream, completion, whole

BAD = ("self-signed", "other-host", "expired")


@pytest.fixture(scope="module")
def upstreams(stand_ins: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    """The app, with a model of an upstream with each kind of certificate."""
    directory: Path = tmp_path_factory.mktemp("tls")
    authority = Authority(directory)
    fakes = {
        "good": FakeUpstream(authority.server("localhost")),
        "self-signed": FakeUpstream(authority.server("localhost", is_self_signed=True)),
        "other-host": FakeUpstream(authority.server("other.example")),
        "expired": FakeUpstream(authority.server("localhost", days=-1)),
    }
    for fake in fakes.values():
        fake.answer = whole(completion())
    models = {name: fake.section() for name, fake in fakes.items()}
    environ = {"FAKE_KEY": KEY, "PILOTLIGHT_MODELS": json.dumps(models)}
    with patch.dict(os.environ, {"SSL_CERT_FILE": str(authority.file)}):
        server = AppServer(directory / "tls.log", environ=environ)
    yield server
    for name in BAD:  # nothing reached them, not even the key
        assert not fakes[name].received
    server.stop()
    for fake in fakes.values():
        fake.stop()


def test_a_certificate_in_order_is_accepted(upstreams: AppServer) -> None:
    for _ in range(2):  # on the same connection
        assert upstreams.chat(model="good").json() == completion()


@pytest.mark.parametrize("model", BAD)
def test_a_bad_certificate_is_a_bad_gateway(upstreams: AppServer, model: str) -> None:
    answer = upstreams.chat(model=model)
    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "upstream_connection_failed"
    assert "certificate" in upstreams.log_text()
