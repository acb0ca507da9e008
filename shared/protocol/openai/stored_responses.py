"""The stored-completions resource's response bodies, as the OpenAPI document shows them.

They are made of what is in the store (`shared.protocol.openai.stored_completions`), not of these
models.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from shared.protocol.responses import Body, ChatCompletion, Completion


class _Stored(Body):
    """What a stored completion tells of its request."""

    seed: int | None
    temperature: float | None
    top_p: float | None
    presence_penalty: float | None
    frequency_penalty: float | None
    tools: list[dict[str, Any]] | None
    tool_choice: str | dict[str, Any] | None
    response_format: dict[str, Any] | None
    request_id: str | None = Field(description="The `x-request-id` of the completion's response.")
    input_user: str | None = Field(description="The request's `user`.")
    metadata: dict[str, str]
    incomplete: Literal[True] = Field(
        default=True, description="There only if the client disconnected before the end."
    )
    served_by: str = Field(
        default="", description="Host of the upstream that answered. There only if one did."
    )


class StoredChatCompletion(ChatCompletion, _Stored):
    """A stored chat completion, and some of its request."""


class StoredTextCompletion(Completion, _Stored):
    """A stored text completion, and some of its request."""


class StoredMessage(Body):
    """A message of a stored completion's request, with whatever else it had."""

    model_config = ConfigDict(extra="allow")

    id: str
    role: str
    name: str | None
    content: str | list[Any] | None = Field(description="The text, or a prompt's token ids.")
    content_parts: list[dict[str, Any]] | None


class _Page(Body):
    """A page of a list; `last_id` is the cursor for the next one."""

    object: Literal["list"] = "list"
    first_id: str | None
    last_id: str | None
    has_more: bool


class _CompletionPage(_Page):
    """A page of stored completions."""

    damaged: list[str] = Field(
        default=[],
        description="Ids of completions that can't be read. There only if there are some.",
    )


class StoredChatCompletionList(_CompletionPage):
    """A page of stored chat completions."""

    data: list[StoredChatCompletion]


class StoredTextCompletionList(_CompletionPage):
    """A page of stored text completions."""

    data: list[StoredTextCompletion]


class StoredMessageList(_Page):
    """A page of a stored completion's messages."""

    data: list[StoredMessage]


class DeletedCompletion(Body):
    """What is left of a deleted completion."""

    id: str
    object: Literal["chat.completion.deleted", "text_completion.deleted"]
    deleted: Literal[True] = True
