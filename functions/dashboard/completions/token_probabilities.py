"""Log probabilities of an answer's tokens: shades for the eye, a table for everybody."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from functions.dashboard.completions.texts import mapping, number, objects

MAX_TOKENS = 2_000
MAX_IN_TABLE = 300
_BOUNDS = (0.2, 0.5, 0.8, 0.95)
"""Probabilities above which a token is shaded less."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token of the answer. ``alternatives``: what else there might have been, likeliest first."""

    text: str
    probability: float | None
    alternatives: Sequence[tuple[str, float]] = ()

    @property
    def shade(self) -> int:
        """0 for the least likely, 4 for what was certain."""
        if self.probability is None:
            return len(_BOUNDS)
        return sum(self.probability >= bound for bound in _BOUNDS)


def tokens_of(logprobs: Any) -> list[Token]:
    """The tokens of a choice's ``logprobs``, of chat's form or of text completions'."""
    found = mapping(logprobs)
    if "tokens" in found:
        return _text_tokens(found)
    content = objects(found.get("content")) or objects(found.get("refusal"))
    return [
        Token(
            str(each.get("token", "")),
            _probability(each.get("logprob")),
            _alternatives(
                (str(other.get("token", "")), other.get("logprob"))
                for other in objects(each.get("top_logprobs"))
            ),
        )
        for each in content[:MAX_TOKENS]
    ]


def _text_tokens(found: Mapping[str, Any]) -> list[Token]:
    """Of text completions: lists beside each other, of which some may be shorter."""
    lists = (found.get(name) for name in ("tokens", "token_logprobs", "top_logprobs"))
    texts, logprobs, tops = (each if isinstance(each, list) else [] for each in lists)
    return [
        Token(
            str(text),
            _probability(logprobs[i]) if i < len(logprobs) else None,
            _alternatives(mapping(tops[i]).items()) if i < len(tops) else (),
        )
        for i, text in enumerate(texts[:MAX_TOKENS])
    ]


def _alternatives(pairs: Any) -> list[tuple[str, float]]:
    known = [(text, _probability(logprob)) for text, logprob in pairs]
    likely = [(text, probability) for text, probability in known if probability is not None]
    return sorted(likely, key=lambda pair: -pair[1])[:20]


def _probability(logprob: Any) -> float | None:
    value = number(logprob)
    return None if value is None else math.exp(min(value, 0.0))
