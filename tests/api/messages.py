"""An answer asked for twice, as a body and as a stream, which the openai client adds up."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tests.api.openai_types import chat_chunks, chat_completion
from tests.server import Server

Answer = dict[str, Any]
"""A choice: its message's fields without ids, ``finish_reason``, and the tokens of ``logprobs``."""


@dataclass(frozen=True)
class Both:
    """The body, and the chunks of the stream, for one request."""

    body: ChatCompletion
    chunks: list[ChatCompletionChunk]

    @property
    def whole(self) -> list[Answer]:
        """The body's choices."""
        return [_answer(choice.model_dump()) for choice in self.body.choices]

    @property
    def streamed(self) -> list[Answer]:
        """The stream's choices, as the openai client's own helper puts them together."""
        state: ChatCompletionStreamState[Any] = ChatCompletionStreamState()
        for chunk in self.chunks:
            state.handle_chunk(chunk)
        snapshot = state.current_completion_snapshot
        return [_answer(choice.model_dump()) for choice in snapshot.choices]

    @property
    def streamed_usage(self) -> dict[str, Any]:
        """The usage, which comes last."""
        usage = self.chunks[-1].usage
        assert usage is not None
        return usage.model_dump()

    def agree(self) -> list[Answer]:
        """The choices; fails where body and stream differ in one of them, or in the usage."""
        whole = self.whole
        assert self.streamed == whole
        assert self.body.usage is not None
        usage = self.body.usage.model_dump()
        for counts in (usage, streamed := self.streamed_usage):
            counts["prompt_tokens_details"].pop("cached_tokens")
        assert streamed == usage
        return whole


def both(server: Server, **fields: Any) -> Both:
    """A body and a stream. What is not greedy needs a ``seed`` to be the same twice.

    The prompt is evaluated both times, since cached cells may differ in their last bits.
    """
    fields.setdefault("cache_prompt", False)
    options = {"stream": True, "stream_options": {"include_usage": True}}
    body = server.chat(**fields).raise_for_status()
    stream = server.chat(**fields, **options).raise_for_status()
    return Both(chat_completion(body.content), chat_chunks(stream.text))


def calls(answer: Answer) -> list[tuple[str, Any]]:
    """What an answer calls: names and arguments."""
    return [
        (call["function"]["name"], json.loads(call["function"]["arguments"]))
        for call in answer["tool_calls"] or ()
    ]


def _answer(choice: dict[str, Any]) -> Answer:
    message = choice["message"]
    for call in message.get("tool_calls") or ():
        for name in ("id", "index"):
            call.pop(name, None)
        for name in ("parsed", "parsed_arguments"):
            call["function"].pop(name, None)
    logprobs = (choice.get("logprobs") or {}).get("content") or []
    return {
        "content": message.get("content") or None,
        "tool_calls": message.get("tool_calls") or None,
        "function_call": message.get("function_call"),
        "reasoning_content": message.get("reasoning_content"),
        "finish_reason": choice["finish_reason"],
        "logprobs": [entry["token"] for entry in logprobs],
    }
