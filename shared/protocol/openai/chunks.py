"""Stream chunks of chat and text completions, as the OpenAPI document shows them.

They are sent as bytes that the formatters put together (`shared.protocol.openai.chat_format`), not
made of these models.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from shared.protocol.responses import (
    Body,
    ChatLogprobs,
    FinishReason,
    TextLogprobs,
    Usage,
    VerboseField,
)
from shared.protocol.timings import Progress, Timings


class FunctionCallDelta(Body):
    """A part of a function call: the name comes first, then the arguments in pieces."""

    name: str | None = None
    arguments: str


class ToolCallDelta(Body):
    """A part of a tool call; `id`, `type` and the function's name are in its first one only."""

    index: int
    id: str | None = None
    type: Literal["function"] | None = None
    function: FunctionCallDelta


class ChatDelta(Body):
    """What a chunk adds to a choice's message; `role` and `refusal` are in the first one only."""

    role: Literal["assistant"] | None = None
    content: str | None = None
    refusal: None = None
    reasoning_content: str | None = None
    tool_calls: list[ToolCallDelta] | None = None
    function_call: FunctionCallDelta | None = None


class ChatChunkChoice(Body):
    """``choices[]`` of a chat completion's chunk."""

    index: int
    delta: ChatDelta
    logprobs: ChatLogprobs | None
    finish_reason: FinishReason | None = Field(description="In the choice's last chunk.")


class TextChunkChoice(Body):
    """``choices[]`` of a text completion's chunk."""

    index: int
    text: str
    logprobs: TextLogprobs | None
    finish_reason: FinishReason | None = Field(description="In the choice's last chunk.")


class _Chunk(Body):
    """What all chunks have."""

    id: str
    created: int
    model: str
    system_fingerprint: str
    service_tier: str
    usage: Usage | None = Field(
        default=None, description="In a last chunk without choices, if asked for."
    )
    timings: Timings | None = None
    prompt_progress: Progress | None = None
    verbose: VerboseField = None


class ChatCompletionChunk(_Chunk):
    """Event of a streamed chat completion."""

    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    choices: list[ChatChunkChoice]


class TextCompletionChunk(_Chunk):
    """Event of a streamed text completion."""

    object: Literal["text_completion"] = "text_completion"
    choices: list[TextChunkChoice]
