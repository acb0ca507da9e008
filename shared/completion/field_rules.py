"""Rules for the fields of a completion's request that go beyond a single field's range.

They hold whoever answers, the model here or an upstream's.
"""

from __future__ import annotations

from typing import NoReturn

from shared.protocol.errors import invalid
from shared.protocol.openai.chat_completions import ChatCompletionRequest, plain_text
from shared.protocol.openai.completions import CompletionRequest
from shared.protocol.unsupported_fields import refuse


def check_chat_fields(asked: ChatCompletionRequest) -> None:
    """Raise `APIError` 400 for fields that don't go together, and for what no answer has."""
    if asked.top_logprobs is not None and not asked.logprobs:
        raise invalid("'top_logprobs' needs 'logprobs': true.", "top_logprobs")
    if any(kind != "text" for kind in asked.modalities or ()):
        _refuse_modality("modalities", 'must be ["text"]')
    if asked.audio is not None:
        _refuse_modality("audio", "must be absent")
    if asked.web_search_options is not None:
        refuse("web_search_options", "nothing here searches the web")
    if asked.moderation is not None:
        refuse("moderation", "nothing here moderates requests or answers")


def _refuse_modality(param: str, rule: str) -> NoReturn:
    raise invalid(
        f"'{param}' {rule}: this server generates text only "
        "(docs/roadmap.md says what anything else needs).",
        param,
        "unsupported_modality",
    )


def check_text_fields(asked: CompletionRequest) -> None:
    """Raise `APIError` 400 for fields that don't go together."""
    n = asked.n or 1
    if asked.max_tokens == 0 and not asked.echo:
        raise invalid("'max_tokens' must be at least 1, or 0 with 'echo': true.", "max_tokens")
    if asked.best_of is not None and asked.best_of < n:
        raise invalid(f"'best_of' must be at least 'n', which is {n}.", "best_of")
    if asked.n_generated > n and asked.stream:
        raise invalid(
            "'best_of' can't be streamed: which choice is the best shows at the end.", "best_of"
        )
    if asked.suffix is not None and asked.echo and asked.logprobs is not None:
        raise invalid("With 'suffix' there are no log probabilities of the prompt.", "suffix")


def content_size(asked: ChatCompletionRequest, max_size: int) -> int:
    """Bytes of all messages' texts; raises `APIError` 400 for more than ``max_size``."""
    size = sum(len((plain_text(message.content) or "").encode()) for message in asked.messages)
    if size > max_size:
        raise invalid(
            f"The messages' content has {size} bytes, more than the limit of {max_size}.",
            "messages",
            "content_too_large",
        )
    return size


def check_prompt_size(size: int, param: str, max_size: int) -> None:
    """Raise `APIError` 400 for prompts with more than ``max_size`` bytes."""
    if size > max_size:
        raise invalid(
            f"The prompt is longer than the limit of {max_size} bytes.", param, "content_too_large"
        )
