"""``POST /v1/responses``: the request.

https://platform.openai.com/docs/api-reference/responses/create
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from shared.protocol.fields import (
    MAX_TOP_LOGPROBS,
    ModelName,
    RequestBody,
    ServiceTier,
    TokenCount,
    examples,
)
from shared.protocol.openai.chat_completions import MAX_MESSAGES, MAX_PARTS
from shared.protocol.openai.tool_choice import MAX_TOOLS, FunctionName
from shared.protocol.response_format import MAX_FORM, Schema
from shared.protocol.strict import Items, Metadata, Strict, missing_field

MAX_ITEMS = MAX_MESSAGES
_REFUSED = ("conversation", "prompt", "moderation")


class InputPart(Strict):
    """A part of a message's content."""

    type: Literal["input_text", "output_text", "text", "refusal", "input_image", "input_file"]
    text: str | None = None
    refusal: str | None = None
    image_url: str | None = None
    detail: Annotated[str, Field(max_length=64)] | None = None
    file_id: str | None = None
    file_data: str | None = None
    file_url: str | None = None
    filename: str | None = None
    prompt_cache_breakpoint: dict[str, Any] | None = None
    annotations: list[Any] | None = Field(default=None, description="Accepted without effect.")
    logprobs: list[Any] | None = Field(default=None, description="Accepted without effect.")


Content = str | Annotated[list[InputPart], Items(MAX_PARTS)]


class _Item(Strict):
    id: str | None = Field(default=None, description="Accepted without effect.")
    status: str | None = Field(default=None, description="Accepted without effect.")


class MessageItem(_Item):
    """A message of any role."""

    type: Literal["message"] | None = None
    role: Literal["user", "assistant", "system", "developer"]
    content: Content
    phase: str | None = Field(default=None, description="Accepted without effect.")


class CallItem(_Item):
    """A call of a function that the model made before."""

    type: Literal["function_call"]
    call_id: str
    name: str
    namespace: str | None = None
    arguments: str


class CustomCallItem(_Item):
    """A call of a custom tool that the model made before."""

    type: Literal["custom_tool_call"]
    call_id: str
    name: str
    namespace: str | None = None
    input: str


class OutputItem(_Item):
    """What a call gave."""

    type: Literal["function_call_output", "custom_tool_call_output"]
    call_id: str
    output: Content


class ReasoningText(Strict):
    """A piece of reasoning."""

    type: Literal["reasoning_text", "summary_text"]
    text: str


class ReasoningItem(_Item):
    """What the model thought before."""

    type: Literal["reasoning"]
    summary: Annotated[list[ReasoningText], Items(MAX_PARTS)] | None = None
    content: Annotated[list[ReasoningText], Items(MAX_PARTS)] | None = None
    encrypted_content: str | None = Field(default=None, description="Left out: only OpenAI can.")


class ItemReference(Strict):
    """An item of the input or the output of a response that was stored."""

    type: Literal["item_reference"] | None = None
    id: Annotated[str, Field(max_length=256)]


_ITEM_TYPES = (
    *("message", "function_call", "function_call_output"),
    *("custom_tool_call", "custom_tool_call_output", "reasoning", "item_reference"),
)
_OUTPUTS = ("function_call_output", "custom_tool_call_output")


def _kind(item: Any) -> str | None:
    """The type that an item has, or has by having a role, or an id and none."""
    if not isinstance(item, dict):
        kind = getattr(item, "type", None)
        has_role = hasattr(item, "role")
    else:
        kind, has_role = item.get("type"), "role" in item or "id" not in item
    if kind is None:
        return "message" if has_role else "item_reference"
    return "output" if kind in _OUTPUTS else kind


def _refuse_unknown(item: object) -> object:
    kind = item.get("type") if isinstance(item, dict) else None
    if isinstance(kind, str) and kind not in _ITEM_TYPES:
        raise PydanticCustomError(
            "unsupported_content",
            "items of type '{type}' are not supported; these are: {known}",
            {"type": kind[:64], "known": ", ".join(_ITEM_TYPES)},
        )
    return item


InputItem = Annotated[
    Annotated[
        Annotated[MessageItem, Tag("message")]
        | Annotated[CallItem, Tag("function_call")]
        | Annotated[CustomCallItem, Tag("custom_tool_call")]
        | Annotated[OutputItem, Tag("output")]
        | Annotated[ReasoningItem, Tag("reasoning")]
        | Annotated[ItemReference, Tag("item_reference")],
        Discriminator(_kind),
    ],
    BeforeValidator(_refuse_unknown),
]


class GrammarFormat(Strict):
    """``format`` of a custom tool: what its input looks like."""

    type: Literal["text", "grammar"]
    syntax: Literal["lark", "regex"] | None = None
    definition: Annotated[str, Field(min_length=1, max_length=MAX_FORM)] | None = None

    @model_validator(mode="after")
    def _check(self) -> GrammarFormat:
        if self.type == "grammar":
            for name in ("syntax", "definition"):
                if getattr(self, name) is None:
                    raise missing_field(name)
        return self


class OwnTool(Strict):
    """A tool that the caller runs."""

    type: Literal["function", "custom"]
    name: FunctionName
    description: str | None = None
    parameters: Schema | None = None
    strict: bool | None = None
    format: GrammarFormat | None = None


class NamespaceTool(Strict):
    """Tools of the caller under a common name."""

    type: Literal["namespace"]
    name: FunctionName
    description: str | None = None
    tools: Annotated[list[OwnTool], Items(MAX_TOOLS)]


class HostedTool(Strict):
    """A tool that OpenAI runs, or one that its models were taught, which nobody has here."""

    type: str


def _kind_of_tool(tool: Any) -> str:
    kind = tool.get("type") if isinstance(tool, dict) else getattr(tool, "type", None)
    return {"function": "own", "custom": "own", "namespace": "namespace"}.get(str(kind), "hosted")


Tool = Annotated[
    Annotated[OwnTool, Tag("own")]
    | Annotated[NamespaceTool, Tag("namespace")]
    | Annotated[HostedTool, Tag("hosted")],
    Discriminator(_kind_of_tool),
]


class NamedTool(Strict):
    """``tool_choice`` as an object, and one of ``allowed_tools``."""

    type: Literal["function", "custom", "allowed_tools"]
    name: FunctionName | None = None
    mode: Literal["auto", "required"] | None = None
    tools: Annotated[list[NamedTool], Items(MAX_TOOLS)] | None = None


class TextFormat(Strict):
    """``text.format``."""

    type: Literal["text", "json_object", "json_schema"]
    name: Annotated[str, Field(max_length=64)] | None = None
    description: str | None = None
    schema_: Schema | None = Field(default=None, alias="schema")
    strict: bool | None = None


class TextConfig(Strict):
    """``text``."""

    format: TextFormat | None = None
    verbosity: Annotated[str, Field(max_length=64)] | None = None


class Reasoning(Strict):
    """``reasoning``. The model's reasoning is told as it is, and there are no summaries."""

    effort: Annotated[str, Field(max_length=64)] | None = None
    summary: Annotated[str, Field(max_length=64)] | None = None


class PromptRequest(RequestBody):
    """Body of ``POST /v1/responses/input_tokens``: what makes the prompt."""

    model: ModelName | None = None
    input: str | Annotated[list[InputItem], Items(MAX_ITEMS)] | None = None
    instructions: str | None = None
    previous_response_id: Annotated[str, Field(max_length=128)] | None = None
    tools: Annotated[list[Tool], Items(MAX_TOOLS)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    text: TextConfig | None = None
    reasoning: Reasoning | None = None


class ResponsesRequest(PromptRequest):
    """Body of ``POST /v1/responses``. Fields of chat completions that it lacks are taken, too."""

    model_config = examples(
        {"model": "pilotlight-builtin", "input": "What is the capital of France?"}
    )

    max_output_tokens: TokenCount | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
    include: Annotated[list[Annotated[str, Field(max_length=64)]], Items(32)] | None = None
    truncation: Literal["auto", "disabled"] | None = Field(
        default=None, description="auto is refused: nothing of a prompt is left out."
    )
    metadata: Metadata | None = None
    store: bool | None = Field(default=None, description="Default false.")
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    prompt_cache_options: dict[str, Any] | None = None
    safety_identifier: str | None = None
    user: str | None = None
    service_tier: ServiceTier | None = None
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    max_tool_calls: int | None = Field(
        default=None, description="Accepted without effect: it is about tools that OpenAI runs."
    )
    background: bool | None = None
    conversation: Any = None
    prompt: Any = None
    moderation: Any = None

    def refused(self) -> str | None:
        """The first field that asks for what there is not."""
        return next((name for name in _REFUSED if getattr(self, name)), None)
