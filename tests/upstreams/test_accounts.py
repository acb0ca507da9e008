"""Upstream models in accounts: permissions, limits, budgets, usage and costs."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx2
import pytest
from openai import OpenAI, PermissionDeniedError, RateLimitError

from shared.completion import client_disconnect
from shared.upstreams.client import UpstreamClient
from tests.api.tenants import MESSAGES, Tenant, administered
from tests.app_server import AppServer
from tests.server import wait_until
from tests.upstreams.fake_upstream import (
    STREAM_HEAD,
    FakeUpstream,
    chunk,
    completion,
    delta,
    head,
    raw,
    stalls,
    stream,
    whole,
)

CHAT = "/v1/chat/completions"
USAGE = {
    "prompt_tokens": 20,
    "completion_tokens": 3,
    "total_tokens": 23,
    "prompt_tokens_details": {"cached_tokens": 8},
}
LAST = (
    b"data: "
    + json.dumps(
        {
            "id": "x",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "big",
            "choices": [],
            "usage": USAGE,
        }
    ).encode()
    + b"\n\n"
)
DONE = b"data: [DONE]\n\n"


@pytest.fixture(scope="module", params=["direct", "adapter"])
def mode(request: pytest.FixtureRequest) -> str:
    """The mode that the upstream models have."""
    return str(request.param)


@pytest.fixture(scope="module")
def admin_server(
    fake_upstream: FakeUpstream,
    log_directory: Path,
    tmp_path_factory: pytest.TempPathFactory,
    mode: str,
) -> Iterator[tuple[AppServer, OpenAI]]:
    """A server with accounts and upstream models, of which ``big`` has a price."""
    price = {"prompt": 100, "cached": 10, "completion": 1000}
    section = {"upstream": fake_upstream.url, "mode": mode, "max_failures": 0}
    models = {"big": {**section, "price": price}, "free": section}
    if mode == "adapter":
        models["limited"] = {**section, "defaults": {"max_tokens": 100}}
    directory = tmp_path_factory.mktemp("upstream-accounts")
    options = ("--models", json.dumps(models), "--usage-cost", "true")
    with administered(log_directory, directory, *options) as found:
        yield found


def limit(tenant: Tenant, **limits: Any) -> None:
    tenant.admin.admin.organization.projects.rate_limits.update_rate_limit(
        "rl-big", project_id=tenant.project, **limits
    )


def post(tenant: Tenant, **fields: Any) -> httpx2.Response:
    headers = {"authorization": f"Bearer {tenant.key}"}
    body = {"model": "big", "messages": MESSAGES, "max_tokens": 50, **fields}
    return tenant.server.post(CHAT, body, headers=headers)


def used(tenant: Tenant) -> tuple[int, int, int, int]:
    """Requests, prompt tokens, cached ones among them, completion tokens."""
    (row,) = tenant.usage(models=["big"])
    return (
        row.num_model_requests,
        row.input_tokens,
        row.input_cached_tokens,
        row.output_tokens,
    )


@pytest.mark.parametrize("is_stream", [False, True])
def test_usage_is_what_the_upstream_says(
    tenant: Tenant, upstream: FakeUpstream, mode: str, is_stream: bool
) -> None:
    said = delta("Pa") + delta("ris") + LAST + DONE
    upstream.answer = stream(said) if is_stream else whole(completion())
    answered = post(tenant, stream=is_stream, user="ada")
    if mode == "direct":
        assert answered.content == (said if is_stream else json.dumps(completion()).encode())
    assert used(tenant) == (1, 20, 8, 3)
    assert [row.user_id for row in tenant.usage(group_by=["user_id"])] == ["ada"]
    (total,) = tenant.costs()
    assert total.amount.value == pytest.approx((12 * 100 + 8 * 10 + 3 * 1000) / 10**6)
    items = {each.line_item for each in tenant.costs(group_by=["line_item"])}
    assert "big, output_tokens" in items


def test_a_stream_is_counted_before_its_last_event_has_passed(
    tenant: Tenant, upstream: FakeUpstream
) -> None:
    upstream.answer = stalls(STREAM_HEAD, chunk(delta("Paris") + LAST + DONE))
    headers = {"authorization": f"Bearer {tenant.key}"}
    body = {"model": "big", "messages": MESSAGES, "stream": True}
    with (
        tenant.server.client() as http,
        http.stream("POST", CHAT, json=body, headers=headers) as answered,
    ):
        text = b""
        for part in answered.iter_bytes():
            text += part
            if text.endswith(DONE):
                break
        assert used(tenant) == (1, 20, 8, 3)


@pytest.mark.parametrize("is_stream", [False, True])
def test_nobody_pays_for_a_fault_of_this_server(tenant: Tenant, is_stream: bool) -> None:
    with patch.object(UpstreamClient, "exchange", side_effect=RuntimeError):
        assert post(tenant, stream=is_stream).status_code == 500
    assert not tenant.usage()


def test_where_nothing_is_said_tokens_are_estimated(tenant: Tenant, upstream: FakeUpstream) -> None:
    upstream.answer = stream(delta("Paris is it"), delta("."), DONE)
    post(tenant, stream=True)
    requests, prompt, cached, output = used(tenant)
    assert (requests, cached, output) == (1, 0, 3)
    assert 0 < prompt < 30


@pytest.mark.parametrize(
    "answer",
    [
        whole({"error": {"message": "no"}}, 500),
        whole({"error": {"message": "no"}}, 400),
        whole({"error": {"message": "no"}}, 429),
        raw(closes=True),
        raw(head(content_length="100") + b"{", closes=True),
        whole({}, 307, location="http://127.0.0.1:1"),
    ],
)
def test_an_upstream_that_fails_costs_nothing(
    tenant: Tenant, upstream: FakeUpstream, answer: Any
) -> None:
    limit(tenant, max_tokens_per_1_minute=200)
    upstream.answer = answer
    for _ in range(5):  # nor does what was reserved for it stay
        assert post(tenant).status_code >= 400
    assert len(upstream.received) >= 5
    assert tenant.usage() == []


def test_a_stream_that_breaks_off_pays_for_what_passed(
    tenant: Tenant, upstream: FakeUpstream
) -> None:
    upstream.answer = raw(STREAM_HEAD, chunk(delta("x" * 40)), closes=True)
    assert "upstream_connection_failed" in post(tenant, stream=True).text
    assert used(tenant)[3] == 10


def test_a_client_that_leaves_pays_for_what_it_was_sent(
    tenant: Tenant, upstream: FakeUpstream
) -> None:
    upstream.answer = stalls(STREAM_HEAD, chunk(delta("x" * 40)))
    with tenant.client().chat.completions.create(
        model="big", messages=MESSAGES, stream=True
    ) as chunks:
        next(iter(chunks))
    wait_until(lambda: bool(tenant.usage()), "usage")
    assert used(tenant)[3] == 10
    assert upstream.received[0].is_closed.wait(60)


def test_a_limit_refuses_before_anything_is_sent(tenant: Tenant, upstream: FakeUpstream) -> None:
    limit(tenant, max_requests_per_1_minute=1)
    upstream.answer = whole(completion())
    answered = post(tenant)
    assert answered.headers["x-ratelimit-limit-requests"] == "1"
    for _ in range(2):
        with pytest.raises(RateLimitError) as refused:
            tenant.chat(model="big")
        assert refused.value.code == "rate_limit_exceeded"
    assert len(upstream.received) == 1


def test_tokens_are_reserved_by_what_a_request_may_use(
    tenant: Tenant, upstream: FakeUpstream
) -> None:
    limit(tenant, max_tokens_per_1_minute=1000)
    upstream.answer = whole(completion())
    assert post(tenant, max_tokens=2000).status_code == 429
    assert post(tenant, max_completion_tokens=300, n=4).status_code == 429
    assert post(tenant, max_tokens=None).status_code == 429  # 4,096 are held where none are named
    assert not upstream.received
    for _ in range(3):  # what was held and not used is given back
        assert post(tenant, max_tokens=900).status_code == 200


def test_a_budget_refuses_before_anything_is_sent(tenant: Tenant, upstream: FakeUpstream) -> None:
    tenant.budget(1)  # a cent: ten completion tokens
    with pytest.raises(RateLimitError) as refused:
        tenant.chat(model="big", max_tokens=50)
    assert refused.value.code == "insufficient_quota"
    assert not upstream.received
    upstream.answer = whole(completion())
    assert tenant.chat(model="big", max_tokens=2).usage.completion_tokens == 3
    assert tenant.chat(model="free", max_tokens=5000).usage.completion_tokens == 3


def test_permissions_are_those_of_the_name_here(tenant: Tenant, upstream: FakeUpstream) -> None:
    permissions = tenant.admin.admin.organization.projects.model_permissions
    permissions.update(tenant.project, mode="allow_list", model_ids=["free"])
    upstream.answer = whole(completion())
    assert {model.id for model in tenant.client().models.list()} == {"free"}
    with pytest.raises(PermissionDeniedError) as refused:
        tenant.chat(model="big")
    assert refused.value.code == "model_not_permitted"
    assert not upstream.received
    assert tenant.chat(model="free").choices[0].message.content == "Paris"


COST = (12 * 100 + 8 * 10 + 3 * 1000) / 10**6
"""Dollars of what the fake upstream's answers say they took."""


@pytest.mark.parametrize("mode", ["adapter"], indirect=True, scope="module")
class TestAdapter:
    """What only answers in this server's form have."""

    @pytest.mark.parametrize("is_stream", [False, True])
    def test_the_usage_tells_the_cost(
        self, tenant: Tenant, upstream: FakeUpstream, is_stream: bool
    ) -> None:
        upstream.answer = whole(completion())
        if is_stream:
            upstream.answer = stream(delta("Paris"), LAST, DONE)
        options = {"stream_options": {"include_usage": True}} if is_stream else {}
        answered = post(tenant, stream=is_stream, store=True, **options)
        data = answered.json() if not is_stream else json.loads(answered.text.split("data: ")[-2])
        assert data["usage"]["cost"] == pytest.approx(COST)
        stored = tenant.client().chat.completions.retrieve(data["id"]).model_dump()
        assert stored["usage"]["cost"] == pytest.approx(COST)
        assert stored["served_by"] == f"127.0.0.1:{upstream.port}"

    def test_an_answer_without_usage_shows_the_estimate_that_is_paid(
        self, tenant: Tenant, upstream: FakeUpstream
    ) -> None:
        upstream.answer = whole(completion("Paris is it.", usage=None))
        usage = post(tenant).json()["usage"]
        assert usage["completion_tokens"] == 3
        assert used(tenant) == (1, usage["prompt_tokens"], 0, 3)

    def test_the_defaults_limit_of_tokens_is_what_is_reserved(
        self, tenant: Tenant, upstream: FakeUpstream
    ) -> None:
        limit(tenant, max_tokens_per_1_minute=1000)
        upstream.answer = whole(completion())
        assert post(tenant, max_tokens=None).status_code == 429
        tenant.admin.admin.organization.projects.rate_limits.update_rate_limit(
            "rl-limited", project_id=tenant.project, max_tokens_per_1_minute=1000
        )
        assert post(tenant, model="limited", max_tokens=None).status_code == 200

    def test_an_error_event_before_any_text_costs_nothing(
        self, tenant: Tenant, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(client_disconnect, "KEEP_ALIVE_SECONDS", 0.01)

        async def answer(reader: Any, writer: Any) -> None:
            await raw(STREAM_HEAD)(reader, writer)
            await asyncio.to_thread(waited.wait, 60)
            await raw(chunk(b'data: {"error": {"message": "Full"}}\n\n'))(reader, writer)

        waited = threading.Event()
        upstream.answer = answer
        headers = {"authorization": f"Bearer {tenant.key}"}
        body = {"model": "big", "messages": MESSAGES, "stream": True}
        with (
            tenant.server.client() as http,
            http.stream("POST", CHAT, json=body, headers=headers) as answered,
        ):
            lines = answered.iter_lines()
            assert next(lines) == ": waiting"
            waited.set()
            assert "Full" in "".join(lines)
        assert tenant.usage() == []

    def test_a_tier_is_passed_on_to_who_may_use_it(
        self, tenant: Tenant, upstream: FakeUpstream
    ) -> None:
        upstream.answer = whole(completion())
        for asked, sent in (("flex", "flex"), ("fast", "default"), ("priority", "default")):
            upstream.received.clear()
            post(tenant, service_tier=asked)
            assert json.loads(upstream.received[0].body)["service_tier"] == sent
        rows = tenant.usage(group_by=["service_tier"])
        assert {row.service_tier: row.num_model_requests for row in rows} == {
            "flex": 1,
            "default": 2,
        }
