"""Models of others from the container without a model: streamed, with a key from a Secret."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from functions.modal.api_container import api_app
from functions.modal.deployment import Deployment
from tests.modal_app.variables import CAPITAL, KEY, KEY_HASH
from tests.upstreams.fake_upstream import FakeUpstream, delta, stream

EVENTS = (delta("Pa"), delta("ris"), b"data: [DONE]\n\n")


@pytest.fixture
def upstream(stand_ins: None) -> Iterator[FakeUpstream]:
    """A fake upstream."""
    fake = FakeUpstream()
    yield fake
    fake.stop()


def test_the_container_without_a_model_streams_others_answers(
    upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    section = upstream.section(key="env:OPENAI_KEY")
    settings = {"PILOTLIGHT_MODELS": json.dumps({"big": section})}
    deployment = Deployment.from_environment({"PILOTLIGHT_API_KEY_HASH": KEY_HASH, **settings})
    variables = deployment.container_environment()
    for name, value in {**variables, "OPENAI_KEY": "sk-of-the-upstream"}.items():
        monkeypatch.setenv(name, value or "")
    upstream.answer = stream(*EVENTS)

    async def ask() -> httpx2.Response:
        transport = httpx2.ASGITransport(api_app(deployment))
        async with httpx2.AsyncClient(transport=transport, base_url="http://modal.run") as http:
            body: Any = {"model": "big", "messages": CAPITAL, "stream": True}
            headers = {"authorization": f"Bearer {KEY}"}
            return await http.post("/v1/chat/completions", json=body, headers=headers)

    answered = asyncio.run(ask())
    assert answered.content == b"".join(EVENTS)
    assert upstream.received[0].headers["authorization"] == "Bearer sk-of-the-upstream"


def test_the_container_without_a_model_has_the_dashboard(monkeypatch: pytest.MonkeyPatch) -> None:
    deployment = Deployment.from_environment({"PILOTLIGHT_API_KEY_HASH": KEY_HASH})
    for name, value in deployment.container_environment().items():
        monkeypatch.setenv(name, value or "")

    async def look() -> list[httpx2.Response]:
        transport = httpx2.ASGITransport(api_app(deployment))
        headers = {"accept": "text/html", "sec-fetch-site": "same-origin"}
        async with httpx2.AsyncClient(
            transport=transport, base_url="https://modal.run", headers=headers
        ) as http:
            form = (await http.get("/dashboard/sign-in")).text
            (token,) = re.findall(r'name="csrf_token" value="([^"]+)"', form)
            return [
                await http.get("/"),
                await http.post("/dashboard/sign-in", data={"key": KEY, "csrf_token": token}),
                await http.get("/dashboard/models"),
            ]

    first, signed_in, models = asyncio.run(look())
    assert (first.status_code, first.headers["location"]) == (307, "dashboard")
    assert signed_in.status_code == 303
    assert models.status_code == 200
    assert "Models" in models.text
