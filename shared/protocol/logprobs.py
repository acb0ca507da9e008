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


NONE = b'"logprobs":null'
"""How a body has no log probabilities. No text in JSON reads like that: its quotes are escaped."""


def with_logprobs(body: bytes, logprobs: Sequence[bytes]) -> bytes:
    """A body's JSON with the log probabilities of its choices, made one by one.

    Made at once, those of a few thousand tokens would hold the interpreter for 180 ms: the writing
    is one call, and the garbage collector looks at all objects again and again.
    """
    first, *rest = body.split(NONE)
    assert len(rest) == len(logprobs)
    parts = (b'"logprobs":' + each + part for each, part in zip(logprobs, rest, strict=True))
    return first + b"".join(parts)


def chat_logprobs(entries: Sequence[TokenLogprobs], texts: TokenTexts) -> ChatLogprobs:
    """``{"content": [{"token", "logprob", "bytes", "top_logprobs"}]}``."""
    return ChatLogprobs(content=[_chat_logprob(entry, texts) for entry in entries])


def chat_logprobs_json(entries: Sequence[TokenLogprobs], texts: TokenTexts) -> bytes:
    """`chat_logprobs` as JSON, of which each token is written on its own."""
    content = (_chat_logprob(entry, texts).model_dump_json().encode() for entry in entries)
    return b'{"content":[%b],"refusal":null}' % b",".join(content)


def _chat_logprob(entry: TokenLogprobs, texts: TokenTexts) -> ChatLogprob:
    sampled = _chat_token(entry.sampled, texts)
    return ChatLogprob(
        token=sampled.token,
        logprob=sampled.logprob,
        bytes=sampled.bytes,
        top_logprobs=[_chat_token(top, texts) for top in entry.top],
    )


def _chat_token(entry: Logprob, texts: TokenTexts) -> TopLogprob:
    data = texts.render(entry.token, special=True)
    return TopLogprob(
        token=data.decode("utf-8", "replace"),
        logprob=entry.logprob,
        bytes=None if texts.is_control(entry.token) else list(data),
    )


def text_logprobs(entries: Sequence[TokenLogprobs], texts: TokenTexts, offset: int) -> TextLogprobs:
    """The columns of sampled tokens. ``offset``: characters of the text before the first of them.

    Control tokens are not part of the text, so they do not move the offset of what follows.
    """
    columns = TextColumns(texts, offset)
    for entry in entries:
        columns.add(entry, is_visible=not texts.is_control(entry.sampled.token))
    return columns.columns


class TextColumns:
    """``{"tokens", "token_logprobs", "top_logprobs", "text_offset"}``, token by token.

    The tokens of a split character all have its offset. A token is among the top ones, even if it
    is unlikely.
    """

    def __init__(self, texts: TokenTexts, offset: int) -> None:
        """``offset``: characters of the returned text before the first token.

        -1 where the first visible token begins with a character that the text has not.
        """
        self.columns = _no_columns()
        self._texts = texts
        self._offset = offset
        self._decoder = _UTF8_DECODER("replace")

    def add(self, entry: TokenLogprobs, *, is_visible: bool) -> None:
        """A token with its log probability; ``is_visible``: it is part of the text."""
        token = _text(entry.sampled.token, self._texts)
        top: dict[str, float] = {}
        for likely in (*entry.top, entry.sampled):  # of those that read alike the likeliest
            top.setdefault(_text(likely.token, self._texts), likely.logprob)
        self.columns.token_logprobs.append(entry.sampled.logprob)
        self.columns.top_logprobs.append(top)
        self._add_text(token, entry.sampled.token, is_visible=is_visible)

    def take(self) -> TextLogprobs:
        """The columns since the last call, for a chunk of a stream."""
        taken, self.columns = self.columns, _no_columns()
        return taken

    def add_first(self, token: int, *, is_visible: bool) -> None:
        """The first token of a prompt, which nothing foretold."""
        self.columns.token_logprobs.append(None)
        self.columns.top_logprobs.append(None)
        self._add_text(_text(token, self._texts), token, is_visible=is_visible)

    def _add_text(self, text: str, token: int, *, is_visible: bool) -> None:
        self.columns.tokens.append(text)
        data = self._texts.render(token, special=True) if is_visible else b""
        begun, _ = self._decoder.getstate()
        if begun and data and not _goes_on(begun, data[:1]):
            self._offset += 1  # what was begun is no character: the text has U+FFFD for it
            self._decoder.reset()
        self.columns.text_offset.append(max(self._offset, 0))
        self._offset += len(self._decoder.decode(data))


def _goes_on(begun: bytes, following: bytes) -> bool:
    """Whether a character that has ``begun`` may go on with the next byte."""
    return not _UTF8_DECODER("replace").decode(begun + following).startswith("\ufffd") or (
        begun + following == b"\xef\xbf\xbd"  # U+FFFD itself
    )


def _no_columns() -> TextLogprobs:
    return TextLogprobs(tokens=[], token_logprobs=[], top_logprobs=[], text_offset=[])


def _text(token: int, texts: TokenTexts) -> str:
    """The token's text; a part of a character as ``bytes:\\xe4``, in OpenAI's manner."""
    data = texts.render(token, special=True)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)
