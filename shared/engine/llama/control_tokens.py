"""Control tokens (special tokens) of a vocabulary, and texts that don't spell them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from shared.engine.llama.bindings import lib
from shared.engine.llama.model import Model
from shared.engine.llama.tokenizer import TokenArray

_READ_ON_REQUEST = lib.LLAMA_TOKEN_ATTR_CONTROL | lib.LLAMA_TOKEN_ATTR_UNKNOWN
_RANGE = 2**14
"""Tokens that are written at once."""
_FEW = 64
"""Tokens that are asked for their attributes."""
_SEPARATORS = "\x01\x02\x03\x04\x05\x06\x07\x08"
_SPACE = " \t\n\v\f\r"


def control_tokens(model: Model) -> dict[str, int]:
    """The tokens that only ``parse_special`` reads in a text, by what they are written as.

    Looks at the whole vocabulary. Where all tokens of a range are written the same with and without
    control tokens there are none, which llama.cpp finds out in 7 ms for 150,000 tokens. To ask it
    for the attributes of each takes 80 ms, and the interpreter.
    """
    found: dict[str, int] = {}
    ids = np.arange(model.n_vocab, dtype=np.int32)
    for start in range(0, model.n_vocab, _RANGE):
        for token in _read_on_request(model, ids[start : start + _RANGE]):
            text = lib.llama_vocab_get_text(model.vocab, token).decode("utf-8", "ignore")
            found.setdefault(text, token)
    found.pop("", None)
    return found


def control_ids(model: Model, texts: Sequence[bytes]) -> list[int]:
    """The tokens that steer the model, `Model.is_control` of all of them.

    ``texts`` is what they are written as: one that is written as nothing looks like another token.
    """
    ids = np.arange(model.n_vocab, dtype=np.int32)
    found = {token for token, text in enumerate(texts) if not text}
    for start in range(0, model.n_vocab, _RANGE):
        found.update(_read_on_request(model, ids[start : start + _RANGE]))
    return sorted(filter(model.is_control, found))


def _read_on_request(model: Model, tokens: TokenArray) -> Iterator[int]:
    """Those of ``tokens`` that only ``parse_special`` reads.

    By halves, since a vocabulary has them in few places: each call gives way to other threads, and
    those let nobody in again for a while.
    """
    if len(tokens) <= _FEW:
        for token in tokens.tolist():
            if lib.llama_vocab_get_attr(model.vocab, token) & _READ_ON_REQUEST:
                yield token
    elif model.detokenize(tokens, special=False) != model.detokenize(tokens, special=True):
        middle = len(tokens) // 2
        yield from _read_on_request(model, tokens[:middle])
        yield from _read_on_request(model, tokens[middle:])


def tokenize_parts(model: Model, parts: Sequence[str | int]) -> list[int]:
    """Token ids of texts, in which no control tokens are read, and of such tokens between them.

    They are those of all that as one text, but for control tokens that the texts spell: the
    tokenizer, too, takes a text apart at control tokens first.
    """
    special = model.tokenize("")
    tokens = special[: model.adds_bos]
    for i, part in enumerate(parts):
        if isinstance(part, int):
            tokens.append(part)
            continue
        text = part
        if _has(model, parts[max(i - 1, 0) : i], lib.LLAMA_TOKEN_ATTR_RSTRIP):
            text = text.lstrip(_SPACE)
        if _has(model, parts[i + 1 : i + 2], lib.LLAMA_TOKEN_ATTR_LSTRIP):
            text = text.rstrip(_SPACE)
        if text:
            tokens += _tokenize_text(model, text)
    return tokens + special[model.adds_bos :]


def _tokenize_text(model: Model, text: str) -> list[int]:
    """Token ids of ``text``, none of them a control token's.

    llama.cpp puts SentencePiece's pieces together to whatever the vocabulary has, also to a control
    token that was not to be read. A separator within its text, taken out again, keeps it apart.
    """
    tokens = model.tokenize(text, add_special=False, parse_special=False)
    made = {token for token in tokens if model.is_control(token)}
    separator = next((character for character in _SEPARATORS if character not in text), "")
    if not made or not separator:
        return [token for token in tokens if token not in made]
    for token in made:
        written = model.render(token, special=True).decode("utf-8", "ignore")
        text = text.replace(written, written[:1] + separator + written[1:])
    inserted = model.tokenize(separator, add_special=False, parse_special=False)[-1]
    return [token for token in _tokenize_text(model, text) if token != inserted]


def _has(model: Model, neighbours: Sequence[str | int], attribute: int) -> bool:
    """Whether there is a neighbour, a token with this attribute."""
    return any(
        isinstance(token, int) and lib.llama_vocab_get_attr(model.vocab, token) & attribute
        for token in neighbours
    )
