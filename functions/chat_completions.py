"""``POST /v1/chat/completions``."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from functions.inference import (
    check_model,
    events,
    generation_request,
    parse,
    refuse,
    response_head,
    response_headers,
    submit,
    tokenize,
    whole_choices,
)
from functions.state import ServerState
from functions.streaming import EventStream
from shared.chat.template import TemplateError
from shared.models.served import ServedModel
from shared.protocol.chat import (
    AssistantMessage,
    ChatCompletionRequest,
    Message,
    plain_text,
)
from shared.protocol.chat_format import ChatStream, chat_body
from shared.protocol.errors import invalid


def route(state: ServerState) -> Route:
    """The endpoint, as a plain route: FastAPI's own would add 0.1 ms to every request."""

    async def create_chat_completion(request: Request) -> Response:
        """Complete a conversation."""
        served = state.model()
        parsed = await parse(request, ChatCompletionRequest, state)
        check_model(parsed, served)
        _refuse_unsupported(parsed)
        top_logprobs = (parsed.top_logprobs or 0) if parsed.logprobs else None
        engine_request = generation_request(
            parsed,
            served,
            await tokenize(
                served, rendered_prompt(parsed, served, state.settings.max_content_size)
            ),
            max_tokens=parsed.requested_tokens or served.max_tokens,
            top_logprobs=top_logprobs,
        )
        generation = submit(served, [engine_request], "messages")
        head = response_head(parsed, served, "chatcmpl")
        texts = served.model if parsed.logprobs else None
        if parsed.stream:
            stream = ChatStream(
                head,
                engine_request.n,
                include_usage=bool(parsed.stream_options and parsed.stream_options.include_usage),
                texts=texts,
            )
            return EventStream(
                generation, events(state, generation, stream), response_headers(parsed)
            )
        choices = await whole_choices(state, request, generation, engine_request.n)
        return Response(
            chat_body(head, choices, texts),
            media_type="application/json",
            headers=response_headers(parsed),
        )

    return Route("/v1/chat/completions", create_chat_completion, methods=["POST"])


def _refuse_unsupported(parsed: ChatCompletionRequest) -> None:
    if parsed.top_logprobs is not None and not parsed.logprobs:
        raise invalid("'top_logprobs' needs 'logprobs': true.", "top_logprobs")
    if parsed.audio is not None or any(kind != "text" for kind in parsed.modalities or ()):
        raise invalid(
            "This server generates text only: 'modalities' must be [\"text\"].",
            "audio" if parsed.audio is not None else "modalities",
            "unsupported_modality",
        )
    if parsed.response_format and parsed.response_format.get("type") != "text":
        refuse("response_format", "constrained output is not implemented yet")
    if parsed.functions:
        refuse("functions", "use 'tools'")
    if parsed.function_call not in (None, "none"):
        refuse("function_call", "use 'tools' and 'tool_choice'")
    if parsed.tool_choice not in (None, "auto", "none"):
        refuse("tool_choice", "tools can't be forced yet, only 'auto' and 'none' work")


def rendered_prompt(parsed: ChatCompletionRequest, served: ServedModel, max_size: int) -> str:
    """The messages through the model's chat template; raises `APIError` 400."""
    size = sum(len((plain_text(message.content) or "").encode()) for message in parsed.messages)
    if size > max_size:
        raise invalid(
            f"The messages' content has {size} bytes, more than the limit of {max_size}.",
            "messages",
            "content_too_large",
        )
    tools = None
    if parsed.tools and parsed.tool_choice != "none":
        tools = [tool.model_dump(exclude_none=True) for tool in parsed.tools]
    variables = dict(parsed.chat_template_kwargs or {})
    if parsed.reasoning_effort is not None:
        variables.setdefault("reasoning_effort", parsed.reasoning_effort)
    for name in ("messages", "tools", "add_generation_prompt", "bos_token", "eos_token"):
        variables.pop(name, None)
    try:
        return served.chat_prompt(
            [_template_message(message) for message in parsed.messages],
            tools=tools,
            add_generation_prompt=parsed.add_generation_prompt is not False,
            variables=variables,
        )
    except TemplateError as error:
        raise invalid(
            f"The model's chat template refuses the messages: {error}", "messages", "template_error"
        ) from None


def _template_message(message: Message) -> dict[str, Any]:
    """A message as templates expect it: plain text, the system role, arguments as objects."""
    rendered = message.model_dump(exclude_none=True)
    rendered["content"] = plain_text(message.content)
    if message.role == "developer":
        rendered["role"] = "system"
    if isinstance(message, AssistantMessage):
        for call in rendered.get("tool_calls", ()):
            call["function"]["arguments"] = _arguments(call["function"]["arguments"])
    return rendered


def _arguments(arguments: str) -> Any:
    """A tool call's arguments as the object that templates serialise, or as they came."""
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments
