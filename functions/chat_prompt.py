"""From a chat request's messages to the text that the model continues."""

from __future__ import annotations

import json
from typing import Any

from shared.chat.template import TemplateError
from shared.models.served import ServedModel
from shared.protocol.chat import (
    AssistantMessage,
    ChatCompletionRequest,
    Message,
    plain_text,
)
from shared.protocol.errors import invalid
from shared.protocol.tool_use import ToolUse


def rendered_prompt(
    parsed: ChatCompletionRequest, served: ServedModel, use: ToolUse | None, max_size: int
) -> str:
    """The messages through the model's chat template; raises `APIError` 400."""
    size = sum(len((plain_text(message.content) or "").encode()) for message in parsed.messages)
    if size > max_size:
        raise invalid(
            f"The messages' content has {size} bytes, more than the limit of {max_size}.",
            "messages",
            "content_too_large",
        )
    messages, tools = served.answers.tools.prepare(
        _template_messages(parsed.messages), None if use is None else use.offered
    )
    continues = bool(parsed.continue_final_message)
    if continues and parsed.add_generation_prompt:
        raise invalid(
            "'continue_final_message' continues a message, 'add_generation_prompt' begins one: "
            "send one of them.",
            "add_generation_prompt",
        )
    try:
        return served.chat_prompt(
            messages,
            tools=tools,
            add_generation_prompt=parsed.add_generation_prompt is not False and not continues,
            continue_final_message=continues,
            variables=_variables(parsed),
        )
    except TemplateError as error:
        raise invalid(
            f"The model's chat template refuses the messages: {error}", "messages", "template_error"
        ) from None


def _variables(parsed: ChatCompletionRequest) -> dict[str, Any]:
    """What the request tells the template beside the messages."""
    variables = dict(parsed.chat_template_kwargs or {})
    for name in ("reasoning_effort", "verbosity"):
        value = getattr(parsed, name)
        if value is not None:
            variables.setdefault(name, value)
    return variables


def _template_messages(messages: list[Message]) -> list[dict[str, Any]]:
    """Messages as templates expect them; OpenAI's older forms become the newer ones."""
    rendered: list[dict[str, Any]] = []
    call_id = ""
    for i, message in enumerate(messages):
        item = message.model_dump(exclude_none=True)
        item["content"] = plain_text(message.content)
        if message.role == "developer":
            item["role"] = "system"
        elif message.role == "function":
            item |= {"role": "tool", "tool_call_id": call_id}
        if isinstance(message, AssistantMessage):
            if message.function_call is not None and not message.tool_calls:
                call_id = f"{i:09d}"  # Mistral's templates take nothing but nine characters
                function = item.pop("function_call")
                item["tool_calls"] = [{"id": call_id, "type": "function", "function": function}]
            for call in item.get("tool_calls", ()):
                call["function"]["arguments"] = _arguments(call["function"]["arguments"])
        rendered.append(item)
    return rendered


def _arguments(arguments: str) -> Any:
    """A tool call's arguments as the object that templates serialise, or as they came."""
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments
