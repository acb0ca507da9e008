"""Usage and costs of the administration API: query strings in, pages of buckets out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from shared.accounts.ledger.report import DIMENSIONS, WIDTHS, Dimension, ReportQuery, Row
from shared.accounts.ledger.usage import Usage
from shared.accounts.limits import NANODOLLARS
from shared.protocol.errors import invalid
from shared.protocol.openai.administration.requests import Id
from shared.protocol.strict import Items, Strict

_LAST = 2**40
_DEFAULTS = {"1m": (60, 1440), "1h": (24, 168), "1d": (7, 31)}
"""Buckets of a page: by default, and at most."""
_COST_DEFAULTS = (7, 180)
_PAGE = re.compile(r"page_(\d{1,12})")

Second = Annotated[int, Field(ge=0, le=_LAST)]
Ids = Annotated[list[Id], Items(64)]


class _BucketsQuery(Strict):
    """Query string of buckets of time."""

    model_config = ConfigDict(strict=False)  # all of a query string is text

    start_time: Second
    end_time: Second | None = None
    limit: Annotated[int, Field(ge=1)] | None = None
    page: Annotated[str, Field(max_length=32)] | None = None
    project_ids: Ids = Field(default=[], alias="project_ids[]")
    api_key_ids: Ids = Field(default=[], alias="api_key_ids[]")

    def _bounds(self, width: int, limits: tuple[int, int], now: float) -> tuple[int, int, int]:
        """Start, end and the end of the page; raises `APIError` 400."""
        default, most = limits
        if self.limit is not None and self.limit > most:
            raise invalid(f"Invalid 'limit': it is at most {most} here.", "limit")
        end = int(now) + 1 if self.end_time is None else self.end_time
        if end <= self.start_time:
            raise invalid("Invalid 'end_time': it is not after 'start_time'.", "end_time")
        start = self.start_time
        if self.page is not None:
            found = _PAGE.fullmatch(self.page)
            if found is None:
                raise invalid(f"Invalid 'page': '{self.page}' was never a 'next_page'.", "page")
            start = max(start, int(found[1]))
        first = start // width * width
        return start, end, min(end, first + (self.limit or default) * width)


class UsageQuery(_BucketsQuery):
    """Query string of ``usage/completions``."""

    bucket_width: Literal["1m", "1h", "1d"] = "1d"
    group_by: Annotated[
        list[
            Literal[
                "project_id",
                "user_id",
                "api_key_id",
                "model",
                "batch",
                "service_tier",
                "api_source",
            ]
        ],
        Items(7),
    ] = Field(default=[], alias="group_by[]")
    models: Ids = Field(default=[], alias="models[]")
    user_ids: Ids = Field(default=[], alias="user_ids[]")
    batch: bool | None = None

    def report(self, now: float) -> tuple[ReportQuery, int]:
        """The report of a page, and the end of all pages; raises `APIError` 400."""
        bounds = self._bounds(WIDTHS[self.bucket_width], _DEFAULTS[self.bucket_width], now)
        start, end, page_end = bounds
        dimensions = [name for name in DIMENSIONS if name in self.group_by]
        query = ReportQuery(
            start=start,
            end=page_end,
            width=self.bucket_width,
            group_by=dimensions,
            filters={
                "project_id": self.project_ids,
                "api_key_id": self.api_key_ids,
                "model": self.models,
                "user_id": self.user_ids,
            },
        )
        return query, end


class CostsQuery(_BucketsQuery):
    """Query string of ``costs``."""

    bucket_width: Literal["1d"] = "1d"
    group_by: Annotated[
        list[Literal["project_id", "user_id", "line_item", "api_key_id", "api_source"]], Items(5)
    ] = Field(default=[], alias="group_by[]")
    line_items: Annotated[list[Annotated[str, Field(max_length=320)]], Items(64)] = Field(
        default=[], alias="line_items[]"
    )

    def report(self, now: float) -> tuple[ReportQuery, int]:
        """The report of a page, and the end of all pages; raises `APIError` 400."""
        start, end, page_end = self._bounds(WIDTHS["1d"], _COST_DEFAULTS, now)
        dimensions = [name for name in DIMENSIONS if name in self.group_by]
        query = ReportQuery(
            start=start,
            end=page_end,
            width="1d",
            group_by=[*dimensions, "model"],  # which line items tell
            filters={"project_id": self.project_ids, "api_key_id": self.api_key_ids},
        )
        return query, end


def usage_results(rows: Sequence[Row], asked: UsageQuery) -> list[dict[str, Any]]:
    """A bucket's results, of text only: there is neither audio nor a batch API here."""
    if asked.batch:
        return []
    return [_usage_result(values, usage, asked) for values, usage in rows]


def _usage_result(
    values: Mapping[Dimension, str | None], usage: Usage, asked: UsageQuery
) -> dict[str, Any]:
    return {
        "object": "organization.usage.completions.result",
        "input_tokens": usage.prompt,
        "input_cached_tokens": usage.cached,
        "input_uncached_tokens": usage.prompt - usage.cached,
        "input_text_tokens": usage.prompt - usage.cached,
        "input_cached_text_tokens": usage.cached,
        "input_audio_tokens": 0,
        "output_tokens": usage.completion,
        "output_text_tokens": usage.completion,
        "output_audio_tokens": 0,
        "num_model_requests": usage.requests,
        "project_id": values.get("project_id"),
        "user_id": values.get("user_id"),
        "api_key_id": values.get("api_key_id"),
        "model": values.get("model"),
        "service_tier": values.get("service_tier"),
        "batch": False if "batch" in asked.group_by else None,
        "api_source": "unlabeled" if "api_source" in asked.group_by else None,
    }


def cost_results(rows: Sequence[Row], asked: CostsQuery) -> list[dict[str, Any]]:
    """A bucket's results: of each model what its prompt, cached and completion tokens cost."""
    total: dict[tuple[str | None, ...], tuple[dict[str, Any], int, int]] = {}
    for values, usage in rows:
        for line_item, quantity, cost in _line_items(values["model"], usage):
            if asked.line_items and line_item not in asked.line_items:
                continue
            shown: dict[str, Any] = {
                "project_id": values.get("project_id"),
                "api_key_id": values.get("api_key_id"),
                "user_id": values.get("user_id"),
                "line_item": line_item if "line_item" in asked.group_by else None,
            }
            key = tuple(shown.values())
            _, n, spent = total.get(key, (shown, 0, 0))
            total[key] = (shown, n + quantity, spent + cost)
    return [
        {
            "object": "organization.costs.result",
            "amount": {"value": spent / NANODOLLARS, "currency": "usd"},
            **shown,
            "quantity": quantity if shown["line_item"] else None,
            "quantity_unit": "tokens" if shown["line_item"] else None,
            "api_source": "unlabeled" if "api_source" in asked.group_by else None,
        }
        for shown, quantity, spent in total.values()
    ]


def _line_items(model: str | None, usage: Usage) -> Iterator[tuple[str, int, int]]:
    """Name, tokens and nanodollars of what is on a bill."""
    yield f"{model}, input_tokens", usage.prompt - usage.cached, usage.prompt_cost
    yield f"{model}, cached_input_tokens", usage.cached, usage.cached_cost
    yield f"{model}, output_tokens", usage.completion, usage.completion_cost


def buckets_page(
    buckets: Sequence[tuple[int, Sequence[dict[str, Any]]]], query: ReportQuery, end: int
) -> dict[str, Any]:
    """A page of buckets, each with its results; ``end``: of all pages."""
    has_more = query.end < end
    data = [
        {
            "object": "bucket",
            "start_time": begins,
            "end_time": begins + query.seconds,
            "results": list(results),
        }
        for begins, results in buckets
    ]
    next_page = f"page_{query.end}" if has_more else None
    return {"object": "page", "data": data, "has_more": has_more, "next_page": next_page}
