"""``POST /v1/messages``: the answer, as the OpenAPI document describes it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field


class MessageUsage(BaseModel):
    """Tokens. The prompt's are the sum of the three ``input_tokens``."""

    input_tokens: int = Field(description="Prompt tokens that were evaluated.")
    cache_creation_input_tokens: int = Field(description="Prompt tokens that an upstream wrote.")
    cache_read_input_tokens: int = Field(description="Prompt tokens that were cached.")
    output_tokens: int
    output_tokens_details: dict[str, int] | None = None
    service_tier: Literal["standard", "priority"] | None = None
    cost: float | None = Field(default=None, description="US dollars, where the server tells it.")


class ContentBlock(BaseModel):
    """A part of the answer: ``text``, ``thinking`` or ``tool_use``."""

    type: Literal["text", "thinking", "tool_use"]
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    id: str | None = None
    name: str | None = None
    input: dict[str, Any] | None = None


class MessageResponse(BaseModel):
    """The answer."""

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: str
    content: list[ContentBlock]
    stop_reason: Literal["end_turn", "max_tokens", "stop_sequence", "tool_use", "refusal"] | None
    stop_sequence: str | None
    usage: MessageUsage


class MessageEvent(BaseModel):
    """An event of a stream; its name is its type."""

    type: Literal[
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
        "ping",
        "error",
    ]
    index: int | None = None
    message: MessageResponse | None = None
    content_block: ContentBlock | None = None
    delta: dict[str, Any] | None = None
    usage: MessageUsage | None = None


class TokenCount(BaseModel):
    """Answer of ``POST /v1/messages/count_tokens``."""

    input_tokens: int
