"""``POST /v1/chat/completions``: the request."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from shared.protocol.fields import MAX_TOP_LOGPROBS, SharedFields, TokenCount, examples
from shared.protocol.openai.media_parts import MEDIA_PARTS, check_media
from shared.protocol.openai.tool_choice import (
    MAX_TOOLS,
    FunctionChoice,
    FunctionDefinition,
    Tool,
    ToolChoice,
    ToolType,
)
from shared.protocol.strict import Items, Strict

MAX_MESSAGES = 2048
"""OpenAI's limit."""
MAX_PARTS = 2048
MAX_CALLS = 2048

ACCEPTS_MEDIA = {"accepts_media": True}
"""Context of a validation for a model that reads more than text."""


class TextPart(Strict):
    """A part of a message's content: ``text`` or, in an assistant's message, ``refusal``.

    With the context `ACCEPTS_MEDIA` also an image, a sound or a file, whose field is an extra one.
    """

    type: Annotated[str, Field(max_length=64)]
    text: str | None = None
    refusal: str | None = None
    prompt_cache_breakpoint: dict[str, Any] | None = Field(
        default=None, description="Marks the end of what other requests begin with, too."
    )

    @model_validator(mode="after")
    def _check(self, info: ValidationInfo) -> TextPart:
        if self.type in MEDIA_PARTS and info.context == ACCEPTS_MEDIA:
            check_media(self.type, self.model_extra or {})
            return self
        if self.type in MEDIA_PARTS:
            raise PydanticCustomError(
                "unsupported_content",
                "this model reads text only, no {media} (docs/roadmap.md says what that needs)",
                {"media": MEDIA_PARTS[self.type]},
            )
        if self.type not in ("text", "refusal"):
            raise PydanticCustomError(
                "unsupported_content", "unknown part type '{type}'", {"type": self.type}
            )
        if (self.text if self.type == "text" else self.refusal) is None:
            raise PydanticCustomError(
                "part_without_text",
                "a part of type '{type}' needs the field '{type}'",
                {"type": self.type},
            )
        return self

    def is_passed(self, name: str) -> bool:
        """Whether ``name`` is the field with the image, sound or file."""
        return name == self.type

    @property
    def content(self) -> str:
        """The part's text."""
        return (self.text if self.type == "text" else self.refusal) or ""


Content = str | Annotated[list[TextPart], Items(MAX_PARTS)]
"""May be empty: so are answers at times, and whatever was answered may be sent back."""


def plain_text(content: Content | None) -> str | None:
    """A message's content as one string."""
    if content is None or isinstance(content, str):
        return content
    return "".join(part.content for part in content)


class FunctionCall(Strict):
    """``function_call`` of an assistant's message, and a tool call's ``function``.

    As the model wrote them: the name may be none of a tool's.
    """

    name: str
    arguments: str


class ToolCall(Strict):
    """A call that the assistant made in an earlier turn."""

    id: str
    type: ToolType = "function"
    function: FunctionCall


class _Message(Strict):
    passes_unknown_fields: ClassVar[bool] = True

    name: str | None = None


class _InstructionMessage(_Message):
    content: Content


class SystemMessage(_InstructionMessage):
    """Instructions to the model."""

    role: Literal["system"]


class DeveloperMessage(_InstructionMessage):
    """Instructions to the model, in OpenAI's newer spelling."""

    role: Literal["developer"]


class UserMessage(_InstructionMessage):
    """What the user says."""

    role: Literal["user"]


class AssistantMessage(_Message):
    """What the model said before. Where there is no content it is empty."""

    role: Literal["assistant"]
    content: Content | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    tool_calls: Annotated[list[ToolCall], Items(MAX_CALLS)] | None = None
    function_call: FunctionCall | None = None
    audio: dict[str, Any] | None = Field(default=None, description="Refused: no answer is audio.")

    @field_validator("audio")
    @classmethod
    def _refuse_audio(cls, audio: dict[str, Any] | None) -> None:
        if audio is not None:
            raise PydanticCustomError(
                "unsupported_content",
                "this server has generated no audio that a message could refer to "
                "(docs/roadmap.md says what that needs)",
            )


class ToolMessage(_Message):
    """What a tool returned."""

    role: Literal["tool"]
    content: Content
    tool_call_id: str


class FunctionMessage(_Message):
    """What a function returned, in OpenAI's older spelling."""

    role: Literal["function"]
    content: Content | None
    name: str


Message = Annotated[
    SystemMessage
    | DeveloperMessage
    | UserMessage
    | AssistantMessage
    | ToolMessage
    | FunctionMessage,
    Field(discriminator="role"),
]


class Prediction(Strict):
    """``prediction``: what the answer will mostly be."""

    type: Literal["content"]
    content: Content


class PromptCacheOptions(Strict):
    """``prompt_cache_options``."""

    mode: Literal["implicit", "explicit"] | None = None
    ttl: Annotated[str, Field(max_length=64)] | None = None


class ChatCompletionRequest(SharedFields):
    """Body of ``POST /v1/chat/completions``."""

    model_config = examples(
        {
            "messages": [{"role": "user", "content": "What is the capital of France?"}],
            "temperature": 0,
        },
        {
            "messages": [
                {"role": "system", "content": "You are a helpful assistant."},
                {"role": "user", "content": "Tell me a story."},
            ],
            "max_completion_tokens": 120,
            "stream": True,
            "stream_options": {"include_usage": True},
        },
    )

    messages: Annotated[list[Message], Items(MAX_MESSAGES, least=1)]
    max_completion_tokens: TokenCount | None = Field(
        default=None, description="Default, and limit, is what the deployment allows."
    )
    max_tokens: TokenCount | None = Field(
        default=None, description="The older name of max_completion_tokens."
    )
    logprobs: bool | None = Field(default=None)
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_TOP_LOGPROBS)] | None = Field(default=None)
    tools: Annotated[list[Tool], Items(MAX_TOOLS)] | None = Field(default=None)
    tool_choice: ToolChoice | None = Field(default=None)
    parallel_tool_calls: bool | None = Field(default=None)
    functions: Annotated[list[FunctionDefinition], Items(MAX_TOOLS)] | None = Field(
        default=None, description="The older form of tools."
    )
    function_call: FunctionChoice | None = Field(
        default=None, description="The older form of tool_choice."
    )
    modalities: Annotated[list[str], Items(16)] | None = Field(
        default=None, description='Must be ["text"].'
    )
    audio: dict[str, Any] | None = Field(default=None, description="Refused: answers are text.")
    web_search_options: dict[str, Any] | None = Field(
        default=None, description="Refused: nothing is searched."
    )
    moderation: dict[str, Any] | None = Field(
        default=None, description="Refused: nothing is moderated."
    )
    reasoning_effort: Annotated[str, Field(max_length=64)] | None = Field(default=None)
    verbosity: Annotated[str, Field(max_length=64)] | None = Field(default=None)
    prediction: Prediction | None = Field(
        default=None,
        description="What the answer will mostly be: tokens that agree with it come faster.",
    )
    prompt_cache_options: PromptCacheOptions | None = Field(
        default=None, description="Whether, and for how long at least, the prompt is cached."
    )
    prompt_cache_retention: Annotated[str, Field(max_length=64)] | None = Field(
        default=None, description="in_memory or 24h: whether other processes may have the prompt."
    )
    chat_template_kwargs: dict[str, Any] | None = Field(
        default=None, description="Variables for the model's chat template."
    )
    add_generation_prompt: bool | None = Field(default=None)
    continue_final_message: bool | None = Field(
        default=None, description="Continue the last message, the assistant's, rather than answer."
    )

    @property
    def requested_tokens(self) -> int | None:
        """``max_completion_tokens``, or its older name."""
        return self.max_completion_tokens or self.max_tokens
