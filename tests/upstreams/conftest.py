"""A fake upstream, and the app in this process in front of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.tenants import tenant
from tests.app_server import AppServer
from tests.upstreams.fake_upstream import FakeUpstream, whole

__all__ = ["tenant"]

KEY = "sk-of-the-upstream-0123456789"


@pytest.fixture(scope="session")
def fake_upstream(stand_ins: None) -> Iterator[FakeUpstream]:
    """A fake upstream for all tests."""
    fake = FakeUpstream()
    yield fake
    fake.stop()


@pytest.fixture(scope="session")
def front(
    fake_upstream: FakeUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AppServer]:
    """The app with models of the upstream's, and a model of its own."""
    directory: Path = tmp_path_factory.mktemp("front")
    models = {
        "big": fake_upstream.section(),
        "renamed": fake_upstream.section(model="big-2026"),
        "hasty": fake_upstream.section(timeout=0.2),
        "patient": fake_upstream.section(timeout=2),
        "small-answers": fake_upstream.section(max_answer_size=1000),
        "closed": {"upstream": "http://127.0.0.1:1/v1", "mode": "direct", "max_failures": 0},
    }
    environ = {"FAKE_KEY": KEY, "PILOTLIGHT_MODELS": json.dumps(models)}
    server = AppServer(directory / "front.log", environ=environ)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def adapter(
    fake_upstream: FakeUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AppServer]:
    """The app with models of the upstream's in adapter mode."""
    section = {"mode": "adapter"}
    models = {
        "big": fake_upstream.section(**section, model="big-2026"),
        "mild": fake_upstream.section(
            **section, defaults={"temperature": 0.7, "max_tokens": 9, "seed": 5}
        ),
        "small-answers": fake_upstream.section(**section, max_answer_size=1000),
        "hasty": fake_upstream.section(**section, timeout=0.2),
        "taught": fake_upstream.section(**section),
        "closed": {"upstream": "http://127.0.0.1:1/v1", **section},
    }
    environ = {"FAKE_KEY": KEY, "PILOTLIGHT_MODELS": json.dumps(models)}
    server = AppServer(tmp_path_factory.mktemp("adapter") / "front.log", environ=environ)
    yield server
    server.stop()


@pytest.fixture
def upstream(fake_upstream: FakeUpstream) -> FakeUpstream:
    """The fake upstream, which has seen nothing yet."""
    fake_upstream.received.clear()
    fake_upstream.answer = whole({})
    return fake_upstream
