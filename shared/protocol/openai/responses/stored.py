"""Responses that were stored, as chat completions: the response, and the items of its input."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from shared.protocol.openai.responses.answer import (
    ResponseAnswer,
    echoed_fields,
    failure,
    message_item,
    reasoning_item,
)
from shared.protocol.openai.responses.chat_request import without_instructions
from shared.protocol.openai.responses.requests import InputItem, ResponsesRequest, Tool
from shared.protocol.openai.responses.tools import Tools, custom_input, stored_tools
from shared.storage.types import StoredCompletion

_TOOLS: TypeAdapter[list[Tool]] = TypeAdapter(list[Tool], config=ConfigDict(defer_build=True))
_ITEM: TypeAdapter[InputItem] = TypeAdapter(InputItem, config=ConfigDict(defer_build=True))
_ITEM_ID = re.compile(r"[a-z]+[0-9]*_([0-9a-f]+)(?:_[0-9]+)?")
_BROKEN_OFF = "The server ended before the response did."
_KEPT = (
    *("temperature", "top_p", "prompt_cache_key", "safety_identifier", "user"),
    *("parallel_tool_calls", "top_logprobs"),
)


def stored_response(stored: StoredCompletion, *, shows_cost: bool) -> dict[str, Any]:
    """The response of a stored completion: as it was answered, or as one to a chat's request.

    ``shows_cost``: whether answers tell what they cost, which is stored in any case.
    """
    body = {**stored.response, "id": stored.id, "created": stored.created, "model": stored.model}
    first, *others = body["choices"]
    if calls := _calls(first["message"], _n_calls(stored.request)):
        message = {**first["message"], "tool_calls": calls}
        body["choices"] = [{**first, "message": message}, *others]
    if not shows_cost and (usage := body.get("usage")):
        body["usage"] = {name: value for name, value in usage.items() if name != "cost"}
    fields = stored.dialect_fields
    if fields is None:
        fields = echoed_fields(_asked(stored), is_stored=True)
    called = Tools.of(_TOOLS.validate_python(fields["tools"])).called
    fields = {**fields, "metadata": dict(stored.metadata)}
    if stored.is_incomplete and fields["background"]:
        fields.setdefault("status", "failed")
    answer = ResponseAnswer(fields, called).whole(body)
    if answer["status"] == "failed":
        answer["error"] = failure(None, _BROKEN_OFF)
    return answer


def _asked(stored: StoredCompletion) -> ResponsesRequest:
    """The request to this API that would have been the same as a chat's."""
    sent = stored.request
    fields: dict[str, Any] = {name: sent[name] for name in _KEPT if sent.get(name) is not None}
    fields |= {
        "instructions": _instructions(sent),
        "max_output_tokens": sent.get("max_completion_tokens"),
        "metadata": dict(stored.metadata),
        "store": True,
        "tools": stored_tools(sent.get("tools") or ()),
        "text": _text_config(sent),
    }
    if sent.get("reasoning_effort"):
        fields["reasoning"] = {"effort": sent["reasoning_effort"]}
    try:
        return ResponsesRequest.model_validate(fields)
    except ValidationError:  # it has what responses don't have
        return ResponsesRequest(metadata=dict(stored.metadata))


def referenced_items(stored: StoredCompletion) -> dict[str, InputItem]:
    """What its items are as input again, by their ids."""
    output: list[dict[str, Any]] = stored_response(stored, shows_cost=False)["output"]
    items = [*input_items(stored.id, stored.request), *output]
    return {item["id"]: read for item in items if (read := _input_item(item)) is not None}


def _input_item(item: Mapping[str, Any]) -> InputItem | None:
    """An item as input; None for one that can't be any, as another release may have stored it."""
    try:
        return _ITEM.validate_python(item)
    except ValidationError:  # whose message would have its texts
        return None


def stored_number(item_id: str) -> str | None:
    """What the id of the response ends with that an item is of; None for ids of others."""
    found = _ITEM_ID.fullmatch(item_id)
    return None if found is None else found[1]


def input_items(completion_id: str, sent: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the response was an answer to, without its instructions.

    ``completion_id``, ``sent``: of the chat completion that it is, its id and its request.
    """
    number = completion_id.removeprefix("chatcmpl-")
    tools = stored_tools(sent.get("tools") or ())
    custom = {tool["name"] for tool in tools if tool["type"] == "custom"}
    calls: dict[str, str] = {}
    return [
        {**item, "id": f"{item['id']}_{number}_{i}"}
        for i, message in enumerate(without_instructions(sent))
        for item in _items(message, custom, calls)
    ]


def _instructions(sent: Mapping[str, Any]) -> str | None:
    first = (sent.get("messages") or [{}])[0]
    content = first.get("content")
    return content if first.get("role") == "developer" and isinstance(content, str) else None


def _items(
    message: Mapping[str, Any], custom: Collection[str], calls: dict[str, str]
) -> Iterator[dict[str, Any]]:
    """The items of a message. ``calls`` has the names of what was called, by the call's id."""
    role, content = message.get("role"), message.get("content")
    if role in ("tool", "function"):
        call_id = message.get("tool_call_id") or _legacy_id(len(calls) - 1)
        is_custom = calls.get(str(call_id)) in custom
        yield {
            "id": "ctco" if is_custom else "fco",
            "type": "custom_tool_call_output" if is_custom else "function_call_output",
            "status": "completed",
            "call_id": call_id,
            "output": content if isinstance(content, str) else _text(content),
        }
        return
    if role != "assistant":
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
        yield {
            "id": "msg",
            "type": "message",
            "role": role,
            "status": "completed",
            "content": [_input_part(part) for part in parts],
        }
        return
    if thoughts := message.get("reasoning_content"):
        yield reasoning_item("rs", thoughts)
    if content or message.get("refusal"):
        yield message_item("msg", _text(content), message.get("refusal"), None)
    for i, call in enumerate(_calls(message, len(calls))):
        name, arguments = call["function"]["name"], call["function"]["arguments"]
        calls[call["id"]] = name
        item = {"status": "completed", "call_id": call["id"], "name": name}
        if name in custom:
            text = custom_input(arguments)
            yield {"id": f"ctc{i}", "type": "custom_tool_call", **item, "input": text}
        else:
            yield {"id": f"fc{i}", "type": "function_call", **item, "arguments": arguments}


def _calls(message: Mapping[str, Any], n_before: int) -> Sequence[Mapping[str, Any]]:
    """What a message of an assistant calls: tools, or a function by OpenAI's earlier fields.

    ``n_before``: how many calls its conversation has before it, for the ids that these lack.
    """
    if call := message.get("function_call"):
        return [{"id": _legacy_id(n_before), "type": "function", "function": call}]
    return message.get("tool_calls") or ()


def _legacy_id(number: int) -> str:
    """The id of the ``number``-th call of a conversation, where it has none."""
    return f"call_{max(number, 0)}"


def _n_calls(sent: Mapping[str, Any]) -> int:
    return sum(len(_calls(message, 0)) for message in sent.get("messages") or ())


def _text_config(sent: Mapping[str, Any]) -> dict[str, Any] | None:
    """``text``, of a chat completion's request."""
    form, verbosity = sent.get("response_format"), sent.get("verbosity")
    config: dict[str, Any] = {"format": form and {"type": form["type"], **_schema(form)}}
    config["verbosity"] = verbosity
    return {name: value for name, value in config.items() if value is not None} or None


def _schema(form: Mapping[str, Any]) -> Mapping[str, Any]:
    return form.get("json_schema") or {}


def _input_part(part: Mapping[str, Any]) -> dict[str, Any]:
    if part.get("type") == "image_url":
        image = part["image_url"]
        detail = image.get("detail") or "auto"
        return {"type": "input_image", "image_url": image.get("url"), "detail": detail}
    if part.get("type") == "file":
        return {"type": "input_file", "filename": part["file"].get("filename")}
    return {"type": "input_text", "text": part.get("text") or ""}


def _text(content: Any) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(part.get("text") or "" for part in content)
