"""Rate limits, budgets, usage and costs, as the `openai` package's client meets them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from openai import APIStatusError, BadRequestError, NotFoundError, RateLimitError

from tests.api.tenants import MESSAGES, Tenant
from tests.server import user, wait_until


def _text(prompt_tokens: int) -> dict[str, Any]:
    """A text completion of one token, of a prompt with so many."""
    return {"prompt": [5] * prompt_tokens, "max_tokens": 1, "model": "small"}


@pytest.mark.slow
def test_requests_per_minute(tenant: Tenant) -> None:
    tenant.limit(max_requests_per_1_minute=2)
    headers = (
        tenant.client()
        .chat.completions.with_raw_response.create(
            messages=MESSAGES,
            max_tokens=1,
            model="small",
        )
        .headers
    )
    assert headers["x-ratelimit-limit-requests"] == "2"
    assert headers["x-ratelimit-remaining-requests"] == "1"
    assert headers["x-ratelimit-reset-requests"]
    tenant.chat()
    with pytest.raises(RateLimitError) as limited:
        tenant.chat()
    assert limited.value.code == "rate_limit_exceeded"
    assert limited.value.type == "rate_limit_error"
    assert "requests per min (RPM)" in limited.value.message
    refused = limited.value.response.headers
    assert 1 <= int(refused["retry-after"]) <= 60
    assert refused["x-ratelimit-remaining-requests"] == "0"
    (row,) = tenant.usage()
    assert row.num_model_requests == 2


def test_tokens_per_minute(tenant: Tenant) -> None:
    tenant.limit(max_tokens_per_1_minute=100)
    client = tenant.client()
    client.completions.create(**_text(59))
    with pytest.raises(RateLimitError, match=r"tokens per min \(TPM\).* is 100") as limited:
        client.completions.create(**_text(89))
    assert limited.value.response.headers["x-ratelimit-limit-tokens"] == "100"
    client.completions.create(**_text(20))
    with pytest.raises(RateLimitError, match="more than the limit") as never:
        client.completions.create(**_text(200))
    assert never.value.response.headers["x-should-retry"] == "false"
    assert "retry-after" not in never.value.response.headers


def test_what_was_reserved_and_not_used_is_given_back(tenant: Tenant) -> None:
    tenant.limit(max_tokens_per_1_minute=1000)
    for _ in range(3):  # each reserves 600
        tenant.client().completions.create(
            prompt=[5] * 20, max_tokens=580, model="small", stop=["a", "e", " ", "t"]
        )


def test_a_key_tells_what_is_left(tenant: Tenant) -> None:
    headers = {"authorization": f"Bearer {tenant.key}"}
    tenant.limit(max_requests_per_1_minute=60, max_requests_per_1_day=5)
    tenant.budget(100)
    answer = tenant.chat(max_tokens=3)
    own = tenant.server.http.get("/v1/key", headers=headers).json()
    limits = {each["name"]: each for each in own["rate_limits"]}
    assert limits["requests_per_day"]["model"] == "small"
    assert (limits["requests_per_day"]["limit"], limits["requests_per_day"]["remaining"]) == (5, 4)
    assert set(limits) == {"requests_per_minute", "requests_per_day"}
    used = answer.usage
    cached = used.prompt_tokens_details.cached_tokens
    cost = (used.prompt_tokens - cached) * 100 + cached * 10 + used.completion_tokens * 1000
    assert own["spending"]["spent"] == pytest.approx(cost / 10**6, abs=1e-12)
    assert own["spending"]["limit"] == 1
    assert own["spending"]["remaining"] == pytest.approx(1 - cost / 10**6, abs=1e-12)


def test_requests_per_day(tenant: Tenant) -> None:
    tenant.limit(max_requests_per_1_day=1)
    tenant.chat()
    with pytest.raises(RateLimitError, match="per day"):
        tenant.chat()


@pytest.mark.slow
def test_the_clients_retries_wait_as_they_are_told(tenant: Tenant) -> None:
    tenant.limit(max_requests_per_1_minute=60)  # one a second, after the first 60
    client = tenant.client(max_retries=5)
    for _ in range(61):
        client.completions.create(**_text(1))
    (row,) = tenant.usage()
    assert row.num_model_requests == 61


def test_a_budget_that_is_spent_is_not_asked_again(tenant: Tenant) -> None:
    tenant.budget(1)  # a cent: ten completion tokens
    tenant.chat(max_tokens=2)
    with pytest.raises(RateLimitError) as refused:
        tenant.client(max_retries=5).chat.completions.create(
            messages=MESSAGES,
            max_tokens=50,
            model="small",
        )
    assert (refused.value.code, refused.value.type) == ("insufficient_quota",) * 2
    assert refused.value.response.headers["x-should-retry"] == "false"
    limit = tenant.admin.admin.organization.projects.spend_limit.retrieve(tenant.project)
    assert (limit.threshold_amount, limit.enforcement.status) == (1, "inactive")
    tenant.budget(0)
    limit = tenant.admin.admin.organization.projects.spend_limit.retrieve(tenant.project)
    assert limit.enforcement.status == "enforcing"
    assert tenant.admin.admin.organization.projects.spend_limit.delete(tenant.project).deleted
    with pytest.raises(NotFoundError):
        tenant.admin.admin.organization.projects.spend_limit.retrieve(tenant.project)


@pytest.mark.parametrize("stream", [False, True])
def test_usage_is_that_of_the_answers(tenant: Tenant, stream: bool) -> None:
    client = tenant.client()
    answers = []
    for n in (1, 3):
        fields: dict[str, Any] = {
            "messages": MESSAGES,
            "max_tokens": 5,
            "model": "small",
            "n": n,
            "user": "ada",
        }
        if stream:
            fields |= {"stream": True, "stream_options": {"include_usage": True}}
            *_, last = client.chat.completions.create(**fields)
            answers.append(last.usage)
        else:
            answers.append(client.chat.completions.create(**fields).usage)
    answers.append(client.completions.create(prompt=["a b", "c"], max_tokens=2, model="s").usage)
    (row,) = tenant.usage()
    assert row.num_model_requests == 3
    assert row.input_tokens == sum(usage.prompt_tokens for usage in answers)
    assert row.output_tokens == sum(usage.completion_tokens for usage in answers)
    cached = sum(usage.prompt_tokens_details.cached_tokens for usage in answers)
    assert row.input_cached_tokens == cached
    grouped = tenant.usage(group_by=["user_id", "model", "api_key_id", "project_id"])
    assert [(each.user_id, each.num_model_requests) for each in grouped] == [(None, 1), ("ada", 2)]
    assert {(each.model, each.api_key_id, each.project_id) for each in grouped} == {
        ("small", tenant.key_id, tenant.project)
    }
    assert tenant.usage(models=["other"]) == []
    assert tenant.usage(user_ids=["ada"])[0].num_model_requests == 2
    minute = int(time.time()) // 60 * 60 - 60
    by_minute = tenant.usage(start_time=minute, bucket_width="1m")
    assert sum(each.num_model_requests for each in by_minute) == 3
    cost = ((row.input_tokens - cached) * 100 + cached * 10 + row.output_tokens * 1000) / 1_000_000
    (total,) = tenant.costs()
    assert total.amount.value == pytest.approx(cost, abs=1e-12)
    items = {each.line_item: each for each in tenant.costs(group_by=["line_item"])}
    assert items["small, output_tokens"].quantity == row.output_tokens
    assert items["small, output_tokens"].amount.value == pytest.approx(row.output_tokens / 1000)


def test_a_client_that_leaves_pays_for_what_it_was_sent(tenant: Tenant) -> None:
    tenant.limit(max_tokens_per_1_minute=10_000)
    stream = tenant.chat(
        messages=user("Tell me a story"),
        stream=True,
        max_tokens=2000,
        extra_body={"ignore_eos": True},
    )
    parts = iter(stream)
    for _ in range(4):
        next(parts)
    stream.close()
    wait_until(lambda: bool(tenant.usage()), "usage")
    (row,) = tenant.usage()
    assert (row.num_model_requests, 0 < row.output_tokens < 2000) == (1, True)
    assert row.input_tokens > 0


def test_a_request_that_is_wrong_costs_nothing(tenant: Tenant) -> None:
    tenant.limit(max_requests_per_1_minute=1)
    with pytest.raises(BadRequestError):
        tenant.chat(messages=user("x " * 5000))
    assert tenant.usage() == []
    tenant.chat()


def test_pages_of_buckets(tenant: Tenant) -> None:
    tenant.chat()
    usage = tenant.admin.admin.organization.usage
    start = int(time.time()) // 86400 * 86400 - 5 * 86400
    pages, page = [], None
    while True:
        query: dict[str, Any] = {"page": page} if page else {}
        found = usage.completions(start_time=start, limit=4, project_ids=[tenant.project], **query)
        pages.append(found)
        page = found.next_page
        if not found.has_more:
            break
    buckets = [bucket for each in pages for bucket in each.data]
    assert [len(each.data) for each in pages] == [4, 2]
    assert [bucket.start_time for bucket in buckets] == [start + n * 86400 for n in range(6)]
    assert [len(bucket.results) for bucket in buckets] == [0, 0, 0, 0, 0, 1]


@pytest.mark.parametrize(
    ("call", "param"),
    [
        (lambda o, p: o.usage.completions(start_time=-1), "start_time"),
        (lambda o, p: o.usage.completions(start_time=5, end_time=5), "end_time"),
        (lambda o, p: o.usage.completions(start_time=5, limit=32), "limit"),
        (lambda o, p: o.usage.completions(start_time=5, page="x"), "page"),
        (lambda o, p: o.usage.completions(start_time=5, bucket_width="2d"), "bucket_width"),
        (lambda o, p: o.usage.costs(start_time=5, limit=181), "limit"),
        (
            lambda o, p: o.projects.rate_limits.update_rate_limit(
                "rl-small", project_id=p, max_requests_per_1_minute=-1
            ),
            "max_requests_per_1_minute",
        ),
        (
            lambda o, p: o.projects.rate_limits.update_rate_limit(
                "rl-small", project_id=p, max_images_per_1_minute=1
            ),
            "max_images_per_1_minute",
        ),
        (
            lambda o, p: o.projects.spend_limit.update(
                p, currency="USD", interval="month", threshold_amount=-1
            ),
            "threshold_amount",
        ),
        (
            lambda o, p: o.projects.spend_limit.update(
                p, currency="EUR", interval="month", threshold_amount=1
            ),
            "currency",
        ),
    ],
)
def test_bad_input_is_named(tenant: Tenant, call: Callable[[Any, str], object], param: str) -> None:
    with pytest.raises(APIStatusError) as refused:
        call(tenant.admin.admin.organization, tenant.project)
    assert (refused.value.status_code, refused.value.param) == (400, param)


def test_rate_limits_are_listed_with_large_numbers_where_there_are_none(tenant: Tenant) -> None:
    limits = tenant.admin.admin.organization.projects.rate_limits
    (before,) = limits.list_rate_limits(tenant.project)
    assert (before.id, before.model) == ("rl-small", "small")
    assert before.max_tokens_per_1_minute == before.max_requests_per_1_day == 2**31 - 1
    tenant.limit(max_tokens_per_1_minute=5)
    (after,) = limits.list_rate_limits(tenant.project)
    assert (after.max_tokens_per_1_minute, after.max_requests_per_1_minute) == (5, 2**31 - 1)
    tenant.limit(max_tokens_per_1_minute=2**31 - 1)
    assert list(limits.list_rate_limits(tenant.project)) == [before]
    with pytest.raises(NotFoundError):
        limits.update_rate_limit("small", project_id=tenant.project)


def test_an_answer_that_fails_costs_nothing(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shared.completion.answer_format import AnswerFormat

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(AnswerFormat, "body", fail)
    with pytest.raises(APIStatusError) as failed:
        tenant.chat()
    assert failed.value.status_code == 500
    assert tenant.usage() == []


def test_what_is_refused_again_reaches_neither_engine_nor_store(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shared.accounts.ledger import ledger
    from shared.engine.engine import Engine

    monkeypatch.setattr(ledger, "_REFUSAL_SECONDS", 3600.0)
    tenant.limit(max_tokens_per_1_minute=1)
    client = tenant.client(max_retries=0)
    with pytest.raises(RateLimitError) as first:
        client.chat.completions.create(messages=MESSAGES, max_tokens=1, model="small")
    monkeypatch.setattr(ledger.Ledger, "reserve", lambda *_: pytest.fail("the store"))
    monkeypatch.setattr(Engine, "submit", lambda *_, **__: pytest.fail("the engine"))
    with pytest.raises(RateLimitError) as again:
        client.chat.completions.create(messages=MESSAGES, max_tokens=1, model="small")
    assert again.value.message == first.value.message
    assert again.value.response.headers["x-should-retry"] == "false"
