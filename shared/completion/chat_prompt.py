"""Prompt of a chat request: its messages through the model's chat template."""

from __future__ import annotations

from typing import Any

from shared.chat.call_arguments import read_arguments
from shared.chat.control_tokens import Prompt
from shared.chat.template import RESERVED, TemplateError
from shared.completion.field_rules import content_size
from shared.protocol.errors import invalid
from shared.protocol.openai.chat_completions import (
    AssistantMessage,
    ChatCompletionRequest,
    FunctionCall,
    Message,
    plain_text,
)
from shared.protocol.openai.tool_use import ToolUse, tool_use
from shared.protocol.strict import Strict
from shared.runtime.request_context import RequestContext
from shared.runtime.served_model import ServedModel


async def chat_prompt(
    context: RequestContext, parsed: ChatCompletionRequest, served: ServedModel, max_size: int
) -> tuple[ToolUse | None, Prompt]:
    """The tools that may be called, and the prompt; raises `APIError` 400.

    ``max_size``: bytes that the content may have, and as many again all else that the template
    gets. A smaller body than that has no more, and most are.
    """

    def work() -> tuple[ToolUse | None, Prompt]:
        use = tool_use(parsed)
        if context.body_size > max_size:
            check_size(parsed, max_size)
        return use, prompt_of(parsed, served, use)

    return await context.run(work)


def check_size(parsed: ChatCompletionRequest, max_size: int) -> None:
    """Raise `APIError` 400 for too much content, or too much beside it."""
    _check_rest(parsed, content_size(parsed, max_size), max_size)


def _check_rest(parsed: ChatCompletionRequest, content_size: int, max_size: int) -> None:
    """Raise `APIError` 400 for too much of what the template is given beside the content."""
    sizes = {
        "messages": _size(parsed.messages) - content_size,
        "tools": _size(parsed.tools),
        "functions": _size(parsed.functions),
        "chat_template_kwargs": _size(parsed.chat_template_kwargs),
    }
    if (size := sum(sizes.values())) > max_size:
        raise invalid(
            f"The messages' tool calls, reasoning, names and other fields, the tools and the "
            f"template's variables have {size} bytes, more than the limit of {max_size}.",
            max(sizes, key=lambda name: sizes[name]),
            "content_too_large",
        )


def _size(value: object) -> int:
    """Bytes of all that is written in a request's field, names of its own included."""
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode())
    if isinstance(value, Strict):
        return sum(map(_size, value.__dict__.values())) + _size(value.__pydantic_extra__)
    if isinstance(value, dict):
        return sum(_size(name) + _size(item) for name, item in value.items())
    if isinstance(value, list):
        return sum(map(_size, value))
    return 0 if value is None else len(str(value))


def begun_text(parsed: ChatCompletionRequest) -> str:
    """What the answer's message says already: the text that is to be continued."""
    if not parsed.continue_final_message:
        return ""
    return plain_text(parsed.messages[-1].content) or ""


def prompt_of(parsed: ChatCompletionRequest, served: ServedModel, use: ToolUse | None) -> Prompt:
    """The messages through the model's chat template; raises `APIError` 400."""
    messages, tools = served.answers.tools.prepare(
        _template_messages(parsed.messages), None if use is None else use.offered
    )
    continues = bool(parsed.continue_final_message)
    if continues:
        _check_continuation(parsed)
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


def _check_continuation(parsed: ChatCompletionRequest) -> None:
    if parsed.add_generation_prompt:
        raise invalid(
            "'continue_final_message' continues a message, 'add_generation_prompt' begins one: "
            "send one of them.",
            "add_generation_prompt",
        )
    last = parsed.messages[-1]
    if last.role != "assistant" or not plain_text(last.content):
        raise invalid(
            "'continue_final_message' needs a text to continue: the last message has to be the "
            "assistant's, with content.",
            "continue_final_message",
        )


def _variables(parsed: ChatCompletionRequest) -> dict[str, Any]:
    """What the request tells the template beside the messages; raises `APIError` 400."""
    variables = dict(parsed.chat_template_kwargs or {})
    for name in sorted(variables.keys() & RESERVED):
        raise invalid(
            f"'{name}' is nothing that 'chat_template_kwargs' could set: it means something else "
            "to chat templates.",
            f"chat_template_kwargs.{name}",
        )
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
        item["content"] = _text(message)
        if message.role == "developer":
            item["role"] = "system"
        elif message.role == "function":
            item |= {"role": "tool", "tool_call_id": call_id}
        if isinstance(message, AssistantMessage):
            if message.function_call is not None and not message.tool_calls:
                call_id = f"{i:09d}"  # Mistral's templates take nothing but nine characters
                item["tool_calls"] = [_template_call(call_id, message.function_call)]
            elif message.tool_calls:
                item["tool_calls"] = [
                    _template_call(call.id, call.function) for call in message.tool_calls
                ]
            else:
                item.pop("tool_calls", None)  # to some templates no calls are calls too
            item.pop("function_call", None)
        rendered.append(item)
    return rendered


def _text(message: Message) -> str | None:
    """What a message says, None where it calls tools instead.

    No template knows that a refusal is anything else than text.
    """
    text = plain_text(message.content)
    if not isinstance(message, AssistantMessage):
        return text or ""
    calls = message.tool_calls or message.function_call
    return text or message.refusal or (text if calls else "")


def _template_call(call_id: str, call: FunctionCall) -> dict[str, Any]:
    """A call with the fields that templates expect: some write down whatever there is."""
    function = {"name": call.name, "arguments": read_arguments(call.arguments)}
    return {"id": call_id, "type": "function", "function": function}
