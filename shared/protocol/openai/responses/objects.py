"""``/v1/responses``: answers, as the OpenAPI document describes them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field


class OutputItem(BaseModel):
    """``message``, ``reasoning``, ``function_call`` or ``custom_tool_call``."""

    id: str
    type: Literal["message", "reasoning", "function_call", "custom_tool_call"]
    status: Literal["in_progress", "completed", "incomplete"]
    role: Literal["assistant"] | None = None
    content: list[dict[str, Any]] | None = None
    summary: list[dict[str, Any]] | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    input: str | None = None


class ResponseUsage(BaseModel):
    """Tokens."""

    input_tokens: int
    input_tokens_details: dict[str, int]
    output_tokens: int
    output_tokens_details: dict[str, int]
    total_tokens: int
    cost: float | None = Field(default=None, description="US dollars, where the server tells it.")


class ResponseObject(BaseModel):
    """A response, with most of its request's fields."""

    id: str
    object: Literal["response"]
    created_at: int
    status: Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]
    error: dict[str, Any] | None
    incomplete_details: dict[str, Any] | None
    model: str
    output: list[OutputItem]
    previous_response_id: str | None
    store: bool
    usage: ResponseUsage | None


class ResponseEvent(BaseModel):
    """An event of a stream; its name is its type."""

    type: str
    sequence_number: int
    response: ResponseObject | None = None
    output_index: int | None = None
    item_id: str | None = None
    item: OutputItem | None = None
    delta: str | None = None


class InputItemList(BaseModel):
    """Items of a response's input."""

    object: Literal["list"]
    data: list[dict[str, Any]]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedResponse(BaseModel):
    """Answer of ``DELETE``."""

    id: str
    object: Literal["response"]
    deleted: Literal[True]


class CountedTokens(BaseModel):
    """Answer of the endpoints that count a prompt's tokens."""

    object: Literal["response.input_tokens", "chat.completion.input_tokens"]
    input_tokens: int
