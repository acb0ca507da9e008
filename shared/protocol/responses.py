"""Response bodies, as OpenAI types them. Stream chunks are made of bytes, see the formatters."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, computed_field

from shared.protocol.timings import Timings

FinishReason = Literal["stop", "length", "tool_calls", "function_call", "content_filter"]
"""The last one is of upstreams' answers alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseHead:
    """What a body and all chunks of a completion have in common. ``created``: Unix seconds."""

    id: str
    created: int
    model: str
    system_fingerprint: str
    service_tier: str = "default"


class Body(BaseModel):
    """A response, or a part of one. Most are never made: they are there for the documentation."""

    model_config = ConfigDict(defer_build=True)


def _absent(value: object) -> bool:
    return value is None


VerboseField = Annotated[
    dict[str, Any] | None,
    Field(
        alias="__verbose", exclude_if=_absent, description="llama-server's fields, if asked for."
    ),
]


class PromptTokensDetails(Body):
    """``usage.prompt_tokens_details``."""

    cached_tokens: int = Field(description="Prompt tokens whose KV cells were still there.")
    audio_tokens: int = 0
    cache_write_tokens: int | None = Field(
        default=None,
        exclude_if=_absent,
        description="Prompt tokens that were written to the store of prefixes. There only where "
        "some were.",
    )


class CompletionTokensDetails(Body):
    """``usage.completion_tokens_details``."""

    reasoning_tokens: int = 0
    audio_tokens: int = 0
    accepted_prediction_tokens: int = Field(
        default=0,
        description="Of the completion's tokens, those that were drafted from the prediction.",
    )
    rejected_prediction_tokens: int = Field(
        default=0,
        description="Tokens that were drafted from the prediction and are not in the completion. "
        "They are no completion tokens, and cost nothing.",
    )


class Usage(Body):
    """Token counts: the prompt once, the completion tokens of all choices. ``cost`` is ours."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails
    completion_tokens_details: CompletionTokensDetails
    cost: float | None = Field(
        default=None,
        exclude_if=_absent,
        description="Dollars that the project pays. There only with the setting `usage_cost` and a "
        "price of the model.",
    )


class TopLogprob(Body):
    """A likely token. ``bytes`` is null for control tokens."""

    token: str
    logprob: float
    bytes: list[int] | None


class ChatLogprob(TopLogprob):
    """The sampled token and the alternatives, likeliest first."""

    top_logprobs: list[TopLogprob]


class ChatLogprobs(Body):
    """``choices[].logprobs`` of a chat completion."""

    content: list[ChatLogprob]
    refusal: None = None


class FunctionCall(Body):
    """A function's name and its arguments as JSON text."""

    name: str
    arguments: str


class ToolCall(Body):
    """``choices[].message.tool_calls[]``."""

    id: str
    type: Literal["function"] = "function"
    function: FunctionCall


class ChatMessage(Body):
    """``choices[].message``. ``reasoning_content`` is an addition of other servers to OpenAI's."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: str | None = None
    reasoning_content: str | None = Field(default=None, exclude_if=_absent)
    tool_calls: list[ToolCall] | None = Field(default=None, exclude_if=_absent)
    function_call: FunctionCall | None = Field(default=None, exclude_if=_absent)


class ChatChoice(Body):
    """``choices[]`` of a chat completion."""

    index: int
    message: ChatMessage
    logprobs: ChatLogprobs | None = None
    finish_reason: FinishReason


class ChatCompletion(Body):
    """Body of a chat completion."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage
    service_tier: str
    system_fingerprint: str
    timings: Timings | None = Field(default=None, exclude_if=_absent)
    verbose: VerboseField = None


class TextLogprobs(Body):
    """``choices[].logprobs`` of a text completion; ``text_offset`` in characters."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class TextChoice(Body):
    """``choices[]`` of a text completion."""

    index: int
    text: str
    logprobs: TextLogprobs | None = None
    finish_reason: FinishReason


class Completion(Body):
    """Body of a text completion."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[TextChoice]
    usage: Usage
    service_tier: str
    system_fingerprint: str


class TimedCompletion(Completion):
    """Body of a text completion that asked for ``timings_per_token``."""

    timings: Timings
    verbose: VerboseField = None


class ModelStatus(Body):
    """``status`` of an own model where there are several, as llama-server's router has it."""

    value: Literal["unloaded", "loading", "loaded", "failed"]


class ModelCard(Body):
    """One of ``GET /v1/models``. ``meta`` carries what a local model's file says of itself.

    It has the fields of OpenAI's dialect, and those of Anthropic's.
    """

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "pilotlight"
    meta: dict[str, Any]
    status: ModelStatus | None = Field(default=None, exclude_if=_absent)
    type: Literal["model"] = "model"

    @computed_field
    def display_name(self) -> str:
        """The name, which there is no nicer one of."""
        return self.id

    @computed_field
    def created_at(self) -> str:
        """``created`` in words (RFC 3339)."""
        return datetime.fromtimestamp(self.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class ModelList(Body):
    """Body of ``GET /v1/models``: all of them are on one page."""

    object: Literal["list"] = "list"
    data: list[ModelCard]
    has_more: Literal[False] = False

    @computed_field
    def first_id(self) -> str | None:
        """The first one's id."""
        return self.data[0].id if self.data else None

    @computed_field
    def last_id(self) -> str | None:
        """The last one's id."""
        return self.data[-1].id if self.data else None


class Health(Body):
    """Body of ``GET /health``. ``model`` is absent where none is served."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"status": "ok", "model": "pilotlight-builtin"}]}
    )

    status: Literal["ok"] = "ok"
    model: str | None = Field(default=None, exclude_if=_absent)


class ErrorBody(Body):
    """The inside of the error envelope."""

    message: str
    type: str
    param: str | None
    code: str | None
    upstream: dict[str, Any] | None = Field(default=None, exclude_if=_absent)
    """Status and error of whoever serves the model for this server, where it said something."""


class ErrorEnvelope(Body):
    """What every error looks like."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "error": {
                        "message": "Invalid 'temperature': Input should be less than or equal to 2",
                        "type": "invalid_request_error",
                        "param": "temperature",
                        "code": "invalid_value",
                    }
                }
            ]
        }
    )

    error: ErrorBody
