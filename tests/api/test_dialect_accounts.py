"""Projects' limits, budgets, usage, tiers and stores by Responses and Messages, as by chats.

On SQLite and on DynamoDB. Errors have each dialect's own envelope.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from anthropic import Anthropic
from anthropic import APIStatusError as AnthropicError
from anthropic import RateLimitError as AnthropicRateLimitError
from openai import APIStatusError, BadRequestError, NotFoundError, OpenAI, RateLimitError

from shared.accounts.accounts import open_accounts
from shared.accounts.audit_log import Actor
from tests.api.tenants import PRICES, Tenant, administered, new_tenant
from tests.app_server import AppServer
from tests.server import wait_until
from tests.storage.dynamodb.aws import Aws
from tests.storage.dynamodb.moto_server import ENVIRONMENT

DIALECTS = ("responses", "messages")
QUESTION: Any = [{"role": "user", "content": "What is the capital of France?"}]


@pytest.fixture(
    scope="module",
    params=["sqlite", pytest.param("dynamodb", marks=[pytest.mark.integration, pytest.mark.slow])],
)
def admin_server(
    request: pytest.FixtureRequest, log_directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[AppServer, OpenAI]]:
    """A server with accounts in one of the stores, and its administrator's client."""
    directory = tmp_path_factory.mktemp("dialects")
    if request.param == "sqlite":
        with administered(log_directory, directory) as found:
            yield found
        return
    aws: Aws = request.getfixturevalue("shared_aws")
    place = f"dynamodb:{aws.table},{aws.bucket}"
    with pytest.MonkeyPatch.context() as patched:
        for name, value in {**ENVIRONMENT, "AWS_ENDPOINT_URL": aws.url}.items():
            patched.setenv(name, value)
        with closing(open_accounts(place)) as accounts:
            _, secret = accounts.keys.issue(Actor(), "operator", None)
        options = ("--accounts", "true", "--store", place, "--prices", PRICES, "--alias", "small")
        server = AppServer(log_directory / "dialects-dynamodb.log", *options)
        yield server, server.openai(admin_api_key=secret)
        server.stop()


def claude(tenant: Tenant) -> Anthropic:
    """The project's client of Anthropic's API."""
    return Anthropic(
        base_url=tenant.server.url,
        http_client=tenant.server.client(),
        api_key=tenant.key,
        max_retries=0,
    )


def ask(tenant: Tenant, dialect: str, *, stream: bool = False, **fields: Any) -> Any:
    """The answer of one token, unless it is said otherwise, or the one that a stream adds up to."""
    n = fields.pop("max_tokens", 1)
    if dialect == "responses":
        asked = {"model": "small", "input": QUESTION, "max_output_tokens": n, **fields}
        client = tenant.client(max_retries=0)
        if not stream:
            return client.responses.create(**asked)
        with client.responses.stream(**asked) as events:
            return list(events)[-1].response  # type: ignore[union-attr]
    asked = {"model": "small", "messages": QUESTION, "max_tokens": n, **fields}
    if not stream:
        return claude(tenant).messages.create(**asked)
    with claude(tenant).messages.stream(**asked) as message:
        return message.get_final_message()


def refusal(tenant: Tenant, dialect: str, *, stream: bool = False, **fields: Any) -> Any:
    """The error of a request: what the client raises has its status, headers and body."""
    with pytest.raises((APIStatusError, AnthropicError)) as refused:
        ask(tenant, dialect, stream=stream, **fields)
    return refused.value


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_requests_per_minute(tenant: Tenant, dialect: str, *, stream: bool) -> None:
    tenant.limit(max_requests_per_1_minute=1)
    ask(tenant, dialect, stream=stream)
    error = refusal(tenant, dialect, stream=stream)
    headers = error.response.headers
    assert error.status_code == 429
    assert 1 <= int(headers["retry-after"]) <= 60
    assert headers["x-ratelimit-remaining-requests"] == "0"
    body = error.response.json()
    if dialect == "messages":
        assert isinstance(error, AnthropicRateLimitError)
        assert (body["type"], body["error"]["type"]) == ("error", "rate_limit_error")
        assert body["request_id"] == headers["request-id"] == headers["x-request-id"]
        assert "requests per min" in body["error"]["message"]
    else:
        assert isinstance(error, RateLimitError)
        assert (error.code, error.type) == ("rate_limit_exceeded", "rate_limit_error")
        assert headers["x-request-id"]
    (row,) = tenant.usage()
    assert row.num_model_requests == 1


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_limit_of_tokens_and_an_exhausted_budget(tenant: Tenant, dialect: str) -> None:
    tenant.limit(max_tokens_per_1_minute=10)
    error = refusal(tenant, dialect, max_tokens=200)
    assert (error.status_code, error.response.headers["x-should-retry"]) == (429, "false")
    poor = new_tenant(tenant.server, tenant.admin)
    poor.budget(1)  # a cent: ten completion tokens
    ask(poor, dialect, max_tokens=2)
    error = refusal(poor, dialect, max_tokens=50)
    headers = error.response.headers
    assert (error.status_code, headers["x-should-retry"]) == (429, "false")
    told = error.response.json()["error"]
    if dialect == "messages":
        assert told["type"] == "rate_limit_error"
        assert "spend limit" in told["message"]
    else:
        assert (told["type"], told["code"]) == ("insufficient_quota", "insufficient_quota")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_usage_and_costs(tenant: Tenant, dialect: str, *, stream: bool) -> None:
    who = {"metadata": {"user_id": "ada"}} if dialect == "messages" else {"user": "ada"}
    used = ask(tenant, dialect, stream=stream, max_tokens=5, **who).usage
    cached = used.cache_read_input_tokens if dialect == "messages" else 0
    prompt = used.input_tokens + (cached or 0)
    (row,) = tenant.usage(group_by=["user_id", "api_key_id", "model"])
    assert (row.num_model_requests, row.user_id, row.model) == (1, "ada", "small")
    assert (row.api_key_id, row.input_tokens) == (tenant.key_id, prompt)
    assert row.output_tokens == used.output_tokens
    cost = (prompt - row.input_cached_tokens) * 100 + row.input_cached_tokens * 10
    (total,) = tenant.costs()
    assert total.amount.value == pytest.approx((cost + row.output_tokens * 1000) / 10**6, abs=1e-12)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_service_tiers(tenant: Tenant, dialect: str) -> None:
    """Anthropic's ``auto`` is the one that the project has."""
    tiers = tenant.admin.admin.organization.projects.service_tier_settings
    tiers.update(tenant.project, enabled_tiers="all", default="fast")
    answer = ask(tenant, dialect, service_tier="auto")
    (row,) = tenant.usage(group_by=["service_tier"])
    assert row.service_tier == "priority"
    told = answer.usage.service_tier if dialect == "messages" else answer.service_tier
    assert told == "priority"
    other = {"messages": "standard_only", "responses": "default"}[dialect]
    answer = ask(tenant, dialect, service_tier=other)
    told = answer.usage.service_tier if dialect == "messages" else answer.service_tier
    assert told == {"messages": "standard", "responses": "default"}[dialect]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_responses_are_kept_and_go_on(tenant: Tenant, *, stream: bool) -> None:
    first = ask(tenant, "responses", stream=stream, store=True, max_tokens=3, metadata={"a": "b"})
    client = tenant.client()
    assert client.responses.retrieve(first.id).to_dict() == first.to_dict()
    second = ask(tenant, "responses", stream=stream, store=True, previous_response_id=first.id)
    items = client.responses.input_items.list(second.id, order="asc").data
    assert [item.type for item in items] == ["message"] * 3
    referred = ask(tenant, "responses", input=[{"id": first.output[0].id}])
    assert referred.usage.input_tokens > 1
    other = new_tenant(tenant.server, tenant.admin).client()
    with pytest.raises(NotFoundError):
        other.responses.retrieve(first.id)
    with pytest.raises(BadRequestError) as unknown:
        other.responses.create(model="small", input="Hi", previous_response_id=first.id)
    assert unknown.value.code == "previous_response_not_found"
    client.responses.delete(first.id)
    with pytest.raises(NotFoundError):
        client.responses.retrieve(first.id)


def test_the_background_is_metered(tenant: Tenant) -> None:
    """Reserved when it begins, settled when it ends, whether it was cancelled or not."""
    fields: dict[str, Any] = {"background": True, "store": True, "user": "ada"}
    client = tenant.client(max_retries=0)

    def ended(response_id: str) -> Any:
        def is_done() -> bool:
            return client.responses.retrieve(response_id).status not in ("queued", "in_progress")

        wait_until(is_done, "the end of the response")
        return client.responses.retrieve(response_id)

    used = ended(ask(tenant, "responses", max_tokens=5, **fields).id).usage
    (row,) = tenant.usage(group_by=["user_id"])
    assert (row.user_id, row.num_model_requests) == ("ada", 1)
    assert (row.input_tokens, row.output_tokens) == (used.input_tokens, used.output_tokens)
    long = {**fields, "extra_body": {"ignore_eos": True}}
    begun = ask(tenant, "responses", max_tokens=3000, **long)
    wait_until(
        lambda: client.responses.retrieve(begun.id).status == "in_progress", "the first token"
    )
    cancelled = client.responses.cancel(begun.id)
    assert cancelled.status == "cancelled"
    assert cancelled.usage is not None
    (row,) = tenant.usage()
    assert row.num_model_requests == 2
    assert row.output_tokens == used.output_tokens + cancelled.usage.output_tokens
    limited = new_tenant(tenant.server, tenant.admin)
    limited.limit(max_tokens_per_1_minute=10)
    error = refusal(limited, "responses", max_tokens=200, **fields)
    assert (error.status_code, error.code) == (429, "rate_limit_exceeded")
    poor = new_tenant(tenant.server, tenant.admin)
    poor.budget(0)
    assert refusal(poor, "responses", **fields).code == "insufficient_quota"


def test_messages_are_kept_as_chat_completions(tenant: Tenant) -> None:
    answer = ask(tenant, "messages", max_tokens=3, extra_body={"store": True})
    stored = tenant.client().chat.completions.retrieve(answer.id.replace("msg_", "chatcmpl-"))
    assert stored.choices[0].message.content == answer.content[0].text
    assert stored.usage is not None
    assert stored.usage.completion_tokens == answer.usage.output_tokens


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
def test_envelopes_of_messages(tenant: Tenant, path: str) -> None:
    """Whatever refuses a request: the key, the project, the schema, the body."""
    post, key = tenant.server.http.post, {"x-api-key": tenant.key}
    body: dict[str, Any] = {"model": "small", "max_tokens": 1, "messages": QUESTION}
    cases: list[tuple[int, str, Any, dict[str, str]]] = [
        (401, "authentication_error", body, {"x-api-key": "sk-wrong"}),
        (400, "invalid_request_error", {**body, "messages": []}, key),
        (400, "invalid_request_error", None, key),
    ]
    for status, kind, sent, headers in cases:
        content = b"{" if sent is None else json.dumps(sent).encode()
        answer = post(path, content=content, headers=headers)
        told = answer.json()
        assert (answer.status_code, told["type"], told["error"]["type"]) == (status, "error", kind)
        assert told["request_id"] == answer.headers["request-id"]
        assert told["error"].keys() == {"type", "message"}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_model_that_the_project_may_not_use(tenant: Tenant, dialect: str) -> None:
    permissions = tenant.admin.admin.organization.projects.model_permissions
    permissions.update(tenant.project, mode="deny_list", model_ids=["small"])
    error = refusal(tenant, dialect)
    assert error.status_code == 403
    assert error.response.json()["error"]["type"] == "permission_error"
