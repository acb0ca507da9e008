"""Anthropic's and Bedrock's models in accounts: usage and costs, by what they say of tokens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import OpenAI

from tests.api.tenants import MESSAGES, Tenant, administered
from tests.app_server import AppServer
from tests.upstreams.fake_upstream import FakeUpstream
from tests.upstreams.test_translated import ANSWERS, STREAMS


@pytest.fixture(scope="module")
def admin_server(
    fake_upstream: FakeUpstream, log_directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[AppServer, OpenAI]]:
    """A server with accounts and a model of each dialect."""
    price = {"prompt": 100, "cached": 10, "completion": 1000}
    section = {"upstream": fake_upstream.url, "mode": "adapter", "price": price}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BEDROCK_KEY", "k")
        models = {
            "claude": {**section, "dialect": "anthropic"},
            "nova": {**section, "dialect": "bedrock", "key": "env:BEDROCK_KEY"},
        }
        directory = tmp_path_factory.mktemp("translated-accounts")
        with administered(log_directory, directory, "--models", json.dumps(models)) as found:
            yield found


@pytest.mark.parametrize("model", ["claude", "nova"])
@pytest.mark.parametrize("is_stream", [False, True])
def test_usage_and_costs(
    tenant: Tenant, upstream: FakeUpstream, model: str, is_stream: bool
) -> None:
    upstream.answer = (STREAMS if is_stream else ANSWERS)[model]()
    headers = {"authorization": f"Bearer {tenant.key}"}
    body = {"model": model, "messages": MESSAGES, "stream": is_stream}
    answered = tenant.server.post("/v1/chat/completions", body, headers=headers)
    assert answered.status_code == 200
    (row,) = tenant.usage(models=[model])
    assert (row.num_model_requests, row.input_tokens) == (1, 1120)
    assert (row.input_cached_tokens, row.output_tokens) == (1000, 30)
    (total,) = tenant.costs()
    assert total.amount.value == pytest.approx((120 * 100 + 1000 * 10 + 30 * 1000) / 10**6)


def test_as_many_tokens_are_reserved_as_are_asked_for(
    tenant: Tenant, upstream: FakeUpstream
) -> None:
    """Anthropic's API gets a limit where the request has none."""
    limits = tenant.admin.admin.organization.projects.rate_limits
    limits.update_rate_limit("rl-claude", project_id=tenant.project, max_tokens_per_1_minute=10_000)
    upstream.answer = ANSWERS["claude"]()
    headers = {"authorization": f"Bearer {tenant.key}"}
    body = {"model": "claude", "messages": MESSAGES}
    for limit, status in ({}, 429), ({"max_tokens": 100}, 200):
        answered = tenant.server.post("/v1/chat/completions", {**body, **limit}, headers=headers)
        assert answered.status_code == status
