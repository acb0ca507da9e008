"""Request to the Responses API as one for a chat completion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from shared.protocol.errors import invalid
from shared.protocol.openai.responses.chat_messages import chat_messages
from shared.protocol.openai.responses.requests import PromptRequest, ResponsesRequest, TextConfig
from shared.protocol.openai.responses.tools import Tools, tool_choice
from shared.protocol.translated_request import (
    Origin,
    OwnField,
    TranslatedRequest,
    nested_unknown_fields,
    refuse_chat_fields,
)

LOGPROBS = "message.output_text.logprobs"
"""What ``include`` asks for log probabilities with."""

_NAMES = {
    "messages": "input",
    "max_completion_tokens": "max_output_tokens",
    "logprobs": "include",
    "reasoning_effort": "reasoning.effort",
    "verbosity": "text.verbosity",
    "response_format.json_schema": "text.format",
    "response_format": "text.format",
    "tool_choice.function": "tool_choice",
    "tool_choice.allowed_tools": "tool_choice",
}
"""What chat completions' fields are called here."""
_MOVED = {
    "n": "there is one answer here",
    "messages": "use 'input'",
    "max_tokens": "use 'max_output_tokens'",
    "max_completion_tokens": "use 'max_output_tokens'",
    "response_format": "use 'text.format'",
    "reasoning_effort": "use 'reasoning.effort'",
    "verbosity": "use 'text.verbosity'",
    "logprobs": "use 'include' with 'message.output_text.logprobs'",
    "functions": "use 'tools'",
    "function_call": "use 'tool_choice'",
}

_WITHOUT_EFFECT = frozenset(
    ("access_programs", "background_options", "client_metadata", "context_management", "image")
)
"""Fields of this API that no chat completion has: upstreams would refuse them."""
_COPIED = (
    *("temperature", "top_p", "metadata", "prompt_cache_key", "prompt_cache_retention"),
    *("prompt_cache_options", "safety_identifier", "user", "service_tier", "stream"),
)


def chat_request(
    asked: ResponsesRequest, earlier: Sequence[Mapping[str, Any]] = (), *, stores: bool = False
) -> TranslatedRequest:
    """The request for a chat completion; raises `APIError` 400.

    - ``earlier``: messages of the response that it goes on from.
    - ``stores``: whether it is stored unless it says otherwise.
    """
    _refuse(asked)
    refuse_chat_fields(asked.model_extra, _MOVED)
    prompt = prompt_request(asked, earlier)
    has_logprobs = asked.top_logprobs is not None or LOGPROBS in (asked.include or ())
    fields: dict[str, Any] = {
        **{name: getattr(asked, name) for name in _COPIED},
        "store": True if stores and asked.store is None else asked.store,
        "max_completion_tokens": asked.max_output_tokens,
        "logprobs": True if has_logprobs else None,
        "top_logprobs": asked.top_logprobs if has_logprobs else None,
        "stream_options": {"include_usage": True} if asked.stream else None,
    }
    said = {name: value for name, value in fields.items() if value is not None}
    extra = asked.model_extra or {}
    taken = {name: value for name, value in extra.items() if name not in _WITHOUT_EFFECT}
    ignored = sorted(extra.keys() - taken.keys())
    fields = {**taken, **prompt.fields, **said}
    return replace(prompt, fields=fields, ignored=[*ignored, *prompt.ignored])


def prompt_request(
    asked: PromptRequest, earlier: Sequence[Mapping[str, Any]] = ()
) -> TranslatedRequest:
    """What of it makes the prompt, and the form of the answer; raises `APIError` 400."""
    tools = Tools.of(asked.tools)
    written: list[tuple[Mapping[str, Any], Origin]] = []
    if asked.instructions:  # of the role that no other message has: so they are found again
        told = {"role": "developer", "content": asked.instructions}
        written.append((told, {"": "instructions"}))
    written += ((message, {"": "previous_response_id"}) for message in earlier)
    written += chat_messages(asked.input, tools)
    if not written and asked.input is not None:
        raise invalid("Invalid 'input': there is nothing in it to answer.", "input")
    if not written:
        raise invalid("Missing required field: 'input'.", "input", "missing_required_parameter")
    fields: dict[str, Any] = {
        "model": asked.model,
        "messages": [message for message, _ in written],
        "tool_choice": tool_choice(asked.tool_choice),
    }
    if tools.functions:
        fields["tools"] = tools.functions
        fields["parallel_tool_calls"] = asked.parallel_tool_calls
    if asked.text is not None:
        fields |= _text(asked.text)
    if asked.reasoning is not None:
        fields["reasoning_effort"] = asked.reasoning.effort
    unknown = nested_unknown_fields(asked)
    dropped = tuple(tools.dropped)
    return TranslatedRequest(
        fields={name: value for name, value in fields.items() if value is not None},
        messages=[origin for _, origin in written],
        tools=tools.origins,
        names=_NAMES,
        ignored=[*dropped, *(name for name in unknown if not name.startswith(dropped))],
        own={"tools": _in_lark(tools.in_lark[0])} if tools.in_lark else {},
    )


def earlier_messages(
    request: Mapping[str, Any], response: Mapping[str, Any]
) -> list[Mapping[str, Any]]:
    """The messages of a stored response, and what it answered; its instructions are its own."""
    said = response["choices"][0]["message"]
    kept = {
        name: said[name]
        for name in ("content", "refusal", "reasoning_content", "tool_calls", "function_call")
        if said.get(name) is not None
    }
    return [*without_instructions(request), {"role": "assistant", **kept}]


def without_instructions(request: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The messages of a stored response's request that its input had."""
    messages: Sequence[Mapping[str, Any]] = request.get("messages") or ()
    has_instructions = bool(messages) and messages[0].get("role") == "developer"
    return messages[1:] if has_instructions else messages


def _in_lark(where: str) -> OwnField:
    return OwnField(
        name=where,
        dialects=frozenset(),
        refusal=f"Invalid '{where}': the API of this model's upstream has no grammars in Lark. One "
        "of syntax 'regex' may be followed; or leave 'format' out, for any text.",
    )


def _refuse(asked: ResponsesRequest) -> None:
    if (name := asked.refused()) is not None:
        why = {
            "conversation": "there are no conversations here; 'previous_response_id' goes on from "
            "a response that was stored",
            "prompt": "no templates of prompts are kept here",
            "moderation": "nothing is moderated here",
        }[name]
        raise invalid(f"'{name}' is not supported: {why}.", name, "unsupported_parameter")
    if asked.truncation == "auto":
        raise invalid(
            "'truncation' has to be 'disabled': nothing of a prompt is left out here.",
            "truncation",
            "unsupported_value",
        )


def _text(config: TextConfig) -> dict[str, Any]:
    fields: dict[str, Any] = {"verbosity": config.verbosity}
    form = config.format
    if form is None or form.type == "text":
        return fields
    if form.type == "json_object":
        return {**fields, "response_format": {"type": "json_object"}}
    schema = {
        "name": form.name,
        "description": form.description,
        "schema": form.schema_,
        "strict": form.strict,
    }
    schema = {name: value for name, value in schema.items() if value is not None}
    return {**fields, "response_format": {"type": "json_schema", "json_schema": schema}}
