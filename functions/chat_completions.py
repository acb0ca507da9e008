"""``POST /v1/chat/completions``."""

from __future__ import annotations

from functools import partial
from typing import NoReturn

from starlette.requests import Request
from starlette.responses import Response

from functions.chat_prompt import begun_text, prompt_of
from functions.constraints import chat_constraint
from functions.deadline import deadline_header, end_of_generation
from functions.inference import (
    check_model,
    events,
    generation_request,
    parse,
    prompt_tokens,
    response_head,
    response_headers,
    submit,
    whole_choices,
)
from functions.other_servers import refuse
from functions.routing import PostRoute
from functions.state import ServerState
from functions.storing import recorder, stored_header
from functions.streaming import EventStream
from shared.models.served import ServedModel
from shared.protocol.chat import ChatCompletionRequest
from shared.protocol.chat_format import ChatStream, chat_body
from shared.protocol.choices import new_plain_choice
from shared.protocol.errors import invalid
from shared.protocol.message import MessageChoice, MessageFormat
from shared.protocol.responses import ResponseHead
from shared.protocol.tool_use import ToolUse, tool_use


def route(state: ServerState) -> PostRoute:
    """The endpoint."""

    async def create_chat_completion(request: Request) -> Response:
        """Complete a conversation."""
        served = state.model()
        parsed = await parse(request, ChatCompletionRequest, state)
        check_model(parsed, served)
        _refuse_unsupported(parsed)
        use = tool_use(parsed)
        prompt = await prompt_of(parsed, served, use, state.settings.max_content_size)
        is_thinking = served.answers.is_thinking(prompt.text, begun_text(parsed))
        engine_request = generation_request(
            parsed,
            served,
            await prompt_tokens(served, prompt),
            max_tokens=parsed.requested_tokens or served.max_tokens,
            deadline=end_of_generation(request.scope),
            top_logprobs=(parsed.top_logprobs or 0) if parsed.logprobs else None,
            constraint=await chat_constraint(parsed, served, use, prompt.text),
            visible_tokens=served.answers.visible_tokens,
            stop_scope=served.answers.stop_scope(is_thinking=is_thinking),
            return_tokens=served.answers.reasoning is not None or bool(parsed.store),
        )
        generation = submit(served, [engine_request], "messages", state.caller(request).tenant)
        head = response_head(parsed, served, "chatcmpl")
        texts = served.model if parsed.logprobs else None
        format = _message_format(served, use, head, is_thinking=is_thinking)
        new_choice = new_plain_choice if format is None else partial(MessageChoice, format)
        body_of = partial(chat_body, head, texts=texts, has_timings=bool(parsed.timings_per_token))
        keep = partial(
            recorder,
            *(state, request, parsed, head),
            kind="chat",
            body_of=body_of,
            generation=generation,
        )
        headers = response_headers(parsed)
        if parsed.stream:
            stream = ChatStream(
                head,
                engine_request.n,
                include_usage=bool(parsed.stream_options and parsed.stream_options.include_usage),
                texts=texts,
                format=format,
                has_timings=bool(parsed.timings_per_token),
                has_progress=bool(parsed.return_progress),
            )
            kept = keep(choices=[new_choice(i) for i in range(engine_request.n)])
            return EventStream(generation, events(state, generation, stream, kept), headers)
        choices = await whole_choices(state, request, generation, engine_request.n, new_choice)
        if generation.reached_deadline:
            headers |= deadline_header()
        if kept := keep(choices=choices):
            headers |= stored_header(await kept.store())
        return Response(body_of(choices), media_type="application/json", headers=headers)

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
