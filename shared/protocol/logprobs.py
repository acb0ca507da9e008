"""Log probabilities in OpenAI's two shapes: the chat API's objects, the text API's columns."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import Protocol

from shared.engine.types import Logprob, TokenLogprobs
from shared.protocol.responses import ChatLogprob, ChatLogprobs, TextLogprobs, TopLogprob

_UTF8_DECODER = codecs.getincrementaldecoder("utf-8")


class TokenTexts(Protocol):
    """How tokens read; a loaded model's vocabulary."""

    def render(self, token: int, *, special: bool) -> bytes:
        """The token's bytes; ``special`` writes control tokens out."""

    def is_control(self, token: int) -> bool:
        """Whether the token steers the model rather than standing for text."""


def chat_logprobs(entries: Sequence[TokenLogprobs], texts: TokenTexts) -> ChatLogprobs:
    """``{"content": [{"token", "logprob", "bytes", "top_logprobs"}]}``."""
    content = []
    for entry in entries:
        sampled = _chat_token(entry.sampled, texts)
        content.append(
            ChatLogprob(
                token=sampled.token,
                logprob=sampled.logprob,
                bytes=sampled.bytes,
                top_logprobs=[_chat_token(top, texts) for top in entry.top],
            )
        )
    return ChatLogprobs(content=content)


def _chat_token(entry: Logprob, texts: TokenTexts) -> TopLogprob:
    data = texts.render(entry.token, special=True)
    return TopLogprob(
        token=data.decode("utf-8", "replace"),
        logprob=entry.logprob,
        bytes=None if texts.is_control(entry.token) else list(data),
    )


def text_logprobs(entries: Sequence[TokenLogprobs], texts: TokenTexts, offset: int) -> TextLogprobs:
    """``{"tokens", "token_logprobs", "top_logprobs", "text_offset"}``.

    ``offset``: characters of the returned text before the first of ``entries``. Control tokens are
    not part of the text, so they do not move the offset of what follows; the tokens of a split
    character all have its offset. The sampled token is among the top ones, even if it is unlikely.
    """
    tokens: list[str] = []
    logprobs: list[float | None] = []
    tops: list[dict[str, float] | None] = []
    offsets: list[int] = []
    decoder = _UTF8_DECODER("replace")
    for entry in entries:
        sampled = entry.sampled
        tokens.append(_text(sampled.token, texts))
        logprobs.append(sampled.logprob)
        top = {_text(top.token, texts): top.logprob for top in entry.top}
        top.setdefault(tokens[-1], sampled.logprob)
        tops.append(top)
        offsets.append(offset)
        if not texts.is_control(sampled.token):
            offset += len(decoder.decode(texts.render(sampled.token, special=True)))
    return TextLogprobs(
        tokens=tokens, token_logprobs=logprobs, top_logprobs=tops, text_offset=offsets
    )


def _text(token: int, texts: TokenTexts) -> str:
    """The token's text; a part of a character as ``bytes:\\xe4``, in OpenAI's manner."""
    data = texts.render(token, special=True)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)
