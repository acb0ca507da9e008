"""``POST /v1/messages``: the request, of Anthropic's Messages API.

https://platform.claude.com/docs/en/api/messages
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from shared.protocol.fields import (
    MAX_STOPS,
    ModelName,
    RequestBody,
    StopString,
    TokenCount,
    examples,
)
from shared.protocol.openai.chat_completions import MAX_MESSAGES, MAX_PARTS
from shared.protocol.openai.tool_choice import MAX_TOOLS, FunctionName
from shared.protocol.response_format import Schema
from shared.protocol.strict import Items, Strict

_CACHE_CONTROL = Field(
    default=None,
    description="Every prefix is cached here; upstreams that cache what is marked are told.",
)


class _Block(Strict):
    cache_control: dict[str, Any] | None = _CACHE_CONTROL


class TextBlock(_Block):
    """Text."""

    type: Literal["text"]
    text: str


class ImageBlock(_Block):
    """An image, for models of upstreams that see: ``source`` is of type base64 or url."""

    type: Literal["image"]
    source: dict[str, Any]


class DocumentBlock(_Block):
    """A document: ``source`` is of type text, content or, for upstreams that read PDF, base64."""

    type: Literal["document"]
    source: dict[str, Any]
    title: str | None = None
    context: str | None = None


class ThinkingBlock(_Block):
    """What the model thought in an earlier turn."""

    type: Literal["thinking"]
    thinking: str
    signature: str | None = Field(default=None, description="Accepted without effect.")


class RedactedThinkingBlock(_Block):
    """Thoughts that only Anthropic can read: left out."""

    type: Literal["redacted_thinking"]
    data: str


class ToolUseBlock(_Block):
    """A tool's call of an earlier turn."""

    type: Literal["tool_use"]
    id: str
    name: str
    input: dict[str, Any]


_SaidBlock = Annotated[TextBlock | ImageBlock | DocumentBlock, Field(discriminator="type")]


class ToolResultBlock(_Block):
    """What a tool returned."""

    type: Literal["tool_result"]
    tool_use_id: str
    content: str | Annotated[list[_SaidBlock], Items(MAX_PARTS)] | None = None
    is_error: bool | None = Field(default=None, description="Models are told nothing but the text.")


_KNOWN_BLOCKS = (
    *("text", "image", "document", "thinking", "redacted_thinking", "tool_use", "tool_result"),
)


def _refuse_unknown(block: object) -> object:
    """Say of a block that Anthropic's own servers make or read that nobody does here."""
    kind = block.get("type") if isinstance(block, dict) else None
    if isinstance(kind, str) and kind not in _KNOWN_BLOCKS:
        raise PydanticCustomError(
            "unsupported_content",
            "blocks of type '{type}' are not supported; these are: {known}",
            {"type": kind[:64], "known": ", ".join(_KNOWN_BLOCKS)},
        )
    return block


Block = Annotated[
    Annotated[
        TextBlock
        | ImageBlock
        | DocumentBlock
        | ThinkingBlock
        | RedactedThinkingBlock
        | ToolUseBlock
        | ToolResultBlock,
        Field(discriminator="type"),
    ],
    BeforeValidator(_refuse_unknown),
]
Blocks = Annotated[list[Block], Items(MAX_PARTS)]


class Message(Strict):
    """A turn of the conversation."""

    role: Literal["user", "assistant", "system"]
    content: str | Blocks


class OwnTool(_Block):
    """A tool that the caller runs."""

    type: Literal["custom"] | None = None
    name: FunctionName
    description: str | None = None
    input_schema: Schema
    strict: bool | None = None


class ServerTool(Strict):
    """A tool that Anthropic runs or defines, which nobody does here."""

    type: str


def _kind_of_tool(tool: Any) -> str:
    kind = tool.get("type") if isinstance(tool, dict) else getattr(tool, "type", None)
    return "own" if kind in (None, "custom") else "server"


Tool = Annotated[
    Annotated[OwnTool, Tag("own")] | Annotated[ServerTool, Tag("server")],
    Discriminator(_kind_of_tool),
]


class ToolChoice(Strict):
    """``tool_choice``."""

    type: Literal["auto", "any", "tool", "none"]
    name: FunctionName | None = None
    disable_parallel_tool_use: bool | None = None


class Thinking(Strict):
    """``thinking``. Tokens of it can't be limited apart from the answer's."""

    type: Literal["enabled", "disabled", "adaptive", "between_tools"]
    budget_tokens: int | None = Field(default=None, description="Accepted without effect.")


class OutputFormat(Strict):
    """``output_config.format``."""

    type: Literal["json_schema"]
    schema_: Schema = Field(alias="schema")


class OutputConfig(Strict):
    """``output_config``."""

    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: OutputFormat | None = None


class MessageMetadata(Strict):
    """``metadata``."""

    user_id: Annotated[str, Field(max_length=512)] | None = None


class CountRequest(RequestBody):
    """Body of ``POST /v1/messages/count_tokens``: a prompt."""

    model_config = examples(
        {"model": "pilotlight-builtin", "messages": [{"role": "user", "content": "Hello"}]}
    )

    model: ModelName | None = None
    messages: Annotated[list[Message], Items(MAX_MESSAGES, least=1)]
    system: str | Annotated[list[TextBlock], Items(MAX_PARTS)] | None = None
    tools: Annotated[list[Tool], Items(MAX_TOOLS)] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    cache_control: dict[str, Any] | None = _CACHE_CONTROL


class MessagesRequest(CountRequest):
    """Body of ``POST /v1/messages``. Fields of chat completions that it lacks are taken, too."""

    model_config = examples(
        {
            "model": "pilotlight-builtin",
            "max_tokens": 64,
            "messages": [{"role": "user", "content": "What is the capital of France?"}],
        }
    )

    max_tokens: TokenCount
    stop_sequences: Annotated[list[StopString], Items(MAX_STOPS)] | None = None
    temperature: Annotated[float, Field(ge=0, le=1)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    metadata: MessageMetadata | None = None
    service_tier: Literal["auto", "standard_only"] | None = None
    stream: bool | None = None
