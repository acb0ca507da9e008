"""``POST /v1/chat/completions``."""

from __future__ import annotations

from functools import partial
from typing import NoReturn

from starlette.requests import Request
from starlette.responses import Response

from functions.http.request_body import in_proportion
from functions.http.routing import PostRoute
from shared.completion.completion import CompletionResponse
from shared.completion.constraint import chat_constraint
from shared.completion.deadline import end_of_generation
from shared.completion.preparation import (
    check_model,
    generation_request,
    parse,
    prompt_tokens,
    response_head,
    response_headers,
)
from shared.completion.prompt import begun_text, prompt_of
from shared.completion.recorder import recording
from shared.protocol.choices import new_plain_choice
from shared.protocol.errors import invalid
from shared.protocol.openai.chat_completions import ChatCompletionRequest
from shared.protocol.openai.chat_format import ChatStream, chat_body
from shared.protocol.openai.message import MessageChoice, MessageFormat
from shared.protocol.openai.tool_use import ToolUse, tool_use
from shared.protocol.responses import ResponseHead
from shared.protocol.unsupported_fields import refuse
from shared.runtime.served_model import ServedModel
from shared.runtime.state import ServerState


def route(state: ServerState) -> PostRoute:
    """The endpoint."""

    async def create_chat_completion(request: Request) -> Response:
        """Complete a conversation."""
        served = state.model()
        parsed = await parse(request, ChatCompletionRequest, state)
        check_model(parsed, served)
        _refuse_unsupported(parsed)
        tenant = state.caller(request).tenant
        use = await in_proportion(request, partial(tool_use, parsed))
        limit = state.settings.max_content_size
        prompt = await in_proportion(request, partial(prompt_of, parsed, served, use, limit))
        is_thinking = served.answers.is_thinking(prompt.text, begun_text(parsed))
        engine_request = generation_request(
            parsed,
            served,
            await prompt_tokens(served, prompt),
            max_tokens=parsed.requested_tokens or served.max_tokens,
            deadline=end_of_generation(request.scope),
            top_logprobs=(parsed.top_logprobs or 0) if parsed.logprobs else None,
            constraint=await chat_constraint(parsed, served, tenant, use, prompt.text),
            visible_tokens=served.answers.visible_tokens,
            stop_scope=served.answers.stop_scope(
                None if use is None else use.callable, is_thinking=is_thinking
            ),
            return_tokens=served.answers.reasoning is not None or bool(parsed.store),
        )
        head = response_head(parsed, served, "chatcmpl")
        texts = served.model if parsed.logprobs else None
        format = _message_format(served, use, head, is_thinking=is_thinking)
        has_timings = bool(parsed.timings_per_token)
        return CompletionResponse(
            state,
            served,
            [engine_request],
            param="messages",
            tenant=tenant,
            headers=await in_proportion(request, partial(response_headers, parsed)),
            body_of=partial(chat_body, head, texts=texts, has_timings=has_timings),
            stream=ChatStream(
                head,
                engine_request.n,
                include_usage=bool(parsed.stream_options and parsed.stream_options.include_usage),
                texts=texts,
                format=format,
                has_timings=has_timings,
                has_progress=bool(parsed.return_progress),
            )
            if parsed.stream
            else None,
            new_choice=new_plain_choice if format is None else partial(MessageChoice, format),
            recording=recording(
                *(state, request, parsed, head), kind="chat", sampling=engine_request.sampling
            ),
        )

    return PostRoute("/v1/chat/completions", create_chat_completion)


def _refuse_unsupported(parsed: ChatCompletionRequest) -> None:
    if parsed.top_logprobs is not None and not parsed.logprobs:
        raise invalid("'top_logprobs' needs 'logprobs': true.", "top_logprobs")
    if any(kind != "text" for kind in parsed.modalities or ()):
        _refuse_modality("modalities", 'must be ["text"]')
    if parsed.audio is not None:
        _refuse_modality("audio", "must be absent")
    if parsed.web_search_options is not None:
        refuse("web_search_options", "nothing here searches the web")
    if parsed.moderation is not None:
        refuse("moderation", "nothing here moderates requests or answers")


def _refuse_modality(param: str, rule: str) -> NoReturn:
    raise invalid(
        f"'{param}' {rule}: this server generates text only "
        "(docs/roadmap.md says what anything else needs).",
        param,
        "unsupported_modality",
    )


def _message_format(
    served: ServedModel, use: ToolUse | None, head: ResponseHead, *, is_thinking: bool
) -> MessageFormat | None:
    """How the answers' text is to be read; None where all of it is content."""
    tools = None if use is None else use.callable
    if tools is None and served.answers.reasoning is None:
        return None
    return MessageFormat(
        new_parser=lambda: served.answers.parser(tools, is_thinking=is_thinking),
        call_id=lambda choice, call: served.answers.tools.call_id(f"{head.id}-{choice}-{call}"),
        calls_tools=use is not None,
        is_legacy=use is not None and use.is_legacy,
    )
