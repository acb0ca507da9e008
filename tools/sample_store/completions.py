"""Stored completions made of conversations, as the server would have stored them."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from sample_store.conversations import Conversation, logprobs
from shared.accounts.ledger.usage import Usage
from shared.accounts.limits import NANODOLLARS
from shared.storage.id_range import PREFIXES
from shared.storage.types import Kind, StoredCompletion

Prices = Mapping[str, tuple[int, int, int]]
"""By model: nanodollars for a token of the prompt, of the prompt from the cache, of the answer."""

UPSTREAM_HOST = "models.example.com"
_CHARACTERS_OF_TOKEN = 4


def stored(
    rng: Random,
    conversation: Conversation,
    *,
    tenant: str,
    key_id: str,
    model: str,
    is_own: bool,
    prices: Prices,
    made_at: float,
    metadata: Mapping[str, str],
) -> tuple[StoredCompletion, Usage]:
    """A completion made at a time (Unix seconds), and what it used."""
    kind: Kind = "chat" if conversation.prompt is None else "text"
    completion_id = f"{PREFIXES[kind]}-{int(made_at * 1000):012x}{rng.getrandbits(64):016x}"
    usage = _usage(rng, conversation, prices[model])
    answer = _choice(rng, conversation)
    request = {"model": model, "store": True, **conversation.fields, "metadata": dict(metadata)}
    if conversation.prompt is None:
        request["messages"] = list(conversation.messages)
    else:
        request["prompt"] = conversation.prompt
    speed = rng.uniform(34, 52) if is_own else rng.uniform(60, 110)
    prefill = usage.prompt / rng.uniform(700, 1100)
    queue = rng.choice((0.001, 0.002, 0.004, 0.15))
    decode = usage.completion / speed
    completion = StoredCompletion(
        id=completion_id,
        kind=kind,
        tenant=tenant,
        created=int(made_at),
        model=model,
        request=request,
        response={
            "id": completion_id,
            "object": "chat.completion" if kind == "chat" else "text_completion",
            "created": int(made_at),
            "model": model,
            "choices": [answer],
            "usage": _usage_object(usage),
            "service_tier": "default",
        },
        used={
            "seed": rng.getrandbits(31),
            "temperature": conversation.fields.get("temperature", 0.8),
            "top_p": 0.95,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
        },
        request_id=f"req_{rng.getrandbits(128):032x}",
        metadata=metadata,
        timings={
            "total_seconds": queue + prefill + decode,
            "queue_seconds": queue,
            "prefill_seconds": prefill,
            "decode_seconds": decode,
        },
        key_id=key_id,
        is_incomplete=conversation.is_incomplete,
        served_by=None if is_own else UPSTREAM_HOST,
    )
    return completion, usage


def _choice(rng: Random, conversation: Conversation) -> dict[str, Any]:
    reason = conversation.finish_reason
    choice: dict[str, Any] = {"index": 0, "finish_reason": reason, "logprobs": None}
    if conversation.prompt is not None:
        return {**choice, "text": conversation.answer}
    message: dict[str, Any] = {
        "role": "assistant",
        "content": conversation.answer,
        "refusal": None,
    }
    if conversation.reasoning is not None:
        message["reasoning_content"] = conversation.reasoning
    if conversation.tool_calls:
        message["tool_calls"] = list(conversation.tool_calls)
    if conversation.has_logprobs and conversation.answer is not None:
        choice["logprobs"] = logprobs(rng, conversation.answer)
    return {**choice, "message": message}


def _usage(rng: Random, conversation: Conversation, prices: tuple[int, int, int]) -> Usage:
    said = [str(message.get("content") or "") for message in conversation.messages]
    prompt = sum(map(len, [*said, conversation.prompt or ""])) // _CHARACTERS_OF_TOKEN + 12
    written = [
        conversation.answer or "",
        conversation.reasoning or "",
        *map(str, conversation.tool_calls),
    ]
    completion = sum(map(len, written)) // _CHARACTERS_OF_TOKEN + 3
    cached = int(prompt * rng.choice((0, 0, 0.4, 0.8)))
    return priced(1, prompt, cached, completion, prices)


def priced(
    requests: int, prompt: int, cached: int, completion: int, prices: tuple[int, int, int]
) -> Usage:
    """Usage with its costs."""
    return Usage(
        requests,
        prompt,
        cached,
        completion,
        (prompt - cached) * prices[0],
        cached * prices[1],
        completion * prices[2],
    )


def _usage_object(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
        "prompt_tokens_details": {"cached_tokens": usage.cached, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        "cost": usage.cost / NANODOLLARS,
    }
