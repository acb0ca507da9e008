"""Texts of all tokens of a vocabulary, in few calls of llama.cpp.

A call for each of 152,000 tokens takes 0.3 s, and the interpreter meanwhile, before the first
answer that has to follow a grammar. So many are written at once, with a separator between them.
"""

from __future__ import annotations

import ctypes

import numpy as np

from shared.engine.llama.bindings import lib
from shared.engine.llama.tokenizer import Tokenizer

_RANGE = 2**12
"""Tokens that are written at once. Of a range that can't be taken apart each is asked for."""


def token_texts(tokenizer: Tokenizer) -> list[bytes]:
    """What each token is written as, control tokens too: `Tokenizer.render` of all of them."""
    texts: list[bytes] = []
    separator = _separator(tokenizer)
    for start in range(0, tokenizer.n_vocab, _RANGE):
        tokens = range(start, min(start + _RANGE, tokenizer.n_vocab))
        found = None if separator is None else _written_at_once(tokenizer, tokens, separator)
        texts += found or [tokenizer.render(token, special=True) for token in tokens]
    return texts


def _separator(tokenizer: Tokenizer) -> int | None:
    """A control token, such as ``<|im_end|>``, that can't overlap with itself in a text.

    That is so where its first byte comes once. So the places where it is found are sure.
    """
    for token in (tokenizer.eos, tokenizer.bos):
        text = tokenizer.render(token, special=True) if token >= 0 else b""
        if len(text) > 1 and text.count(text[:1]) == 1:
            return token
    return None


def _written_at_once(tokenizer: Tokenizer, tokens: range, separator: int) -> list[bytes] | None:
    """The texts of ``tokens``; None where they can't be told.

    The separator may be in one of them. Some tokenizers take blanks before punctuation out of what
    they write, which then is shorter than its tokens together.
    """
    row = np.full(2 * len(tokens) + 1, separator, dtype=np.int32)
    row[1::2] = tokens
    array = row.ctypes.data_as(ctypes.POINTER(ctypes.c_int32))
    size = -lib.llama_detokenize(tokenizer.vocab, array, len(row), None, 0, False, True)
    written = tokenizer.detokenize(row, special=True) if size > 0 else b""
    texts = written.split(tokenizer.render(separator, special=True))
    return texts[1:-1] if len(written) == size and len(texts) == len(tokens) + 2 else None
