"""Constrained decoding: completions that match a grammar, token by token, with llguidance.

A grammar compiles once to a `Constraint`; each sequence that uses it has a `ConstraintMatcher`,
which says before each token which ones may come next.
"""

from __future__ import annotations

import ctypes
import json
import threading
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal

import llama_cpp.llama_cpp as lib
import numpy as np
from llguidance import LLMatcher, LLTokenizer
from llguidance.gbnf_to_lark import any_to_lark

from shared.engine.llama import LogitsArray, Model

GrammarKind = Literal["json_schema", "lark", "gbnf", "regex"]

_JSON: Any = {"whitespace_flexible": False}
_CONTROL = b"\xff"
"""llguidance's mark of tokens that text can't spell; 0xff occurs in no UTF-8."""
_KEPT = 64
"""Compiled grammars that are kept, so that a client's usual schema compiles once."""
_LONGEST_ERROR = 500
"""Characters; some of llguidance's errors repeat the whole grammar."""


class ConstraintError(ValueError):
    """The grammar is invalid or not supported; the text says what."""


def grammar(kind: GrammarKind, source: str | Mapping[str, Any]) -> str:
    """``source`` in llguidance's own form, for `ConstraintCompiler.compile`.

    ``gbnf`` is llama.cpp's grammar format (Lark is recognised there too, since both are given in
    the same request field). JSON is generated without optional white space, in which weak models
    ramble. Raises `ConstraintError` for what can't be read; the rest shows when it is compiled.
    """
    if kind == "json_schema":
        text = source if isinstance(source, str) else dict(source)
        try:
            return LLMatcher.grammar_from_json_schema(text, overrides=_JSON)
        except ValueError as error:
            raise ConstraintError(f"the schema is no JSON: {error}") from error
    assert isinstance(source, str)
    if kind == "regex":
        return LLMatcher.grammar_from_regex(source)
    if kind == "gbnf":
        try:
            source = any_to_lark(source)
        except Exception as error:  # the converter raises whatever its parser runs into
            raise ConstraintError(str(error) or type(error).__name__) from error
    return LLMatcher.grammar_from_lark(source)


def combine(start: str, parts: Mapping[str, str]) -> str:
    """A grammar of others: ``start`` is Lark, in which ``@name`` stands for ``parts[name]``."""
    grammars: list[dict[str, Any]] = [{"lark_grammar": start}]
    for name, part in parts.items():
        if part.lstrip().startswith("{"):
            first, *rest = json.loads(part)["grammars"]
            assert not rest, "parts are grammars of one piece"
            grammars.append({**first, "name": name})
        else:
            grammars.append({"lark_grammar": part, "name": name})
    return json.dumps({"grammars": grammars})


class ConstraintCompiler:
    """Compiles grammars for one model's vocabulary. Safe to use from any thread.

    The first use prepares the vocabulary: 0.5 s for 152,000 tokens, the last half of it in two
    calls that hold the interpreter for 0.1 s each. It belongs on a thread of its own.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._lock = threading.Lock()
        self._tokenizer: LLTokenizer | None = None
        self._compiled = lru_cache(maxsize=_KEPT)(self._compile)

    def compile(self, source: str) -> Constraint:
        """A constraint for a grammar in llguidance's form; raises `ConstraintError`.

        A usual schema takes a millisecond, an enormous one a second; the latest ones are kept.
        """
        return self._compiled(source)

    def _compile(self, source: str) -> Constraint:
        with self._lock:
            if self._tokenizer is None:
                self._tokenizer = _tokenizer(self._model)
        matcher = LLMatcher(self._tokenizer, source, log_level=0)
        if matcher.is_error():
            raise ConstraintError(_one_line(matcher.get_error()))
        return Constraint(matcher, self._model.n_vocab)


class Constraint:
    """A compiled grammar, for any number of sequences."""

    def __init__(self, matcher: LLMatcher, n_vocab: int) -> None:
        self._matcher = matcher
        self._n_vocab = n_vocab

    def start(self) -> ConstraintMatcher:
        """The state of a sequence that begins."""
        return ConstraintMatcher(self._matcher.deep_copy(), self._n_vocab)


class ConstraintMatcher:
    """How far one sequence is in its grammar."""

    __slots__ = ("_matcher", "_n_vocab")

    def __init__(self, matcher: LLMatcher, n_vocab: int) -> None:
        self._matcher = matcher
        self._n_vocab = n_vocab

    def apply(self, row: LogitsArray) -> None:
        """Set the logits of tokens that can't come next to minus infinity, in place.

        Where bias and bans leave none of those that can, the grammar wins: all of them are equal.
        """
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        allowed = np.unpackbits(bits, count=self._n_vocab, bitorder="little").view(np.bool_)
        np.putmask(row, ~allowed, -np.inf)
        if row.max() == -np.inf:
            row[allowed] = 0

    def accept(self, token: int) -> None:
        """Take the token that was sampled."""
        self._matcher.consume_token(token)

    @property
    def is_complete(self) -> bool:
        """Whether the grammar allows nothing more."""
        return self._matcher.is_stopped()

    @property
    def error(self) -> str | None:
        """Why the grammar can't be followed any further, such as a limit of its complexity."""
        return _one_line(self._matcher.get_error()) if self._matcher.is_error() else None


def _tokenizer(model: Model) -> LLTokenizer:
    """The vocabulary as llguidance takes it.

    Unlike llguidance's own adapter this treats user-defined tokens such as ``<tool_call>`` as text,
    so that a grammar may spell them like the model does; only control tokens are set apart.
    """
    tokens = [
        (_CONTROL if model.is_control(token) else b"") + model.render(token, special=True)
        for token in range(model.n_vocab)
    ]
    tokenize = ctypes.cast(lib._lib.llama_tokenize, ctypes.c_void_p).value
    tokenizer: LLTokenizer = LLTokenizer.from_llamacpp(  # type: ignore[attr-defined]
        tokens=tokens,
        vocab_ptr=model.vocab,
        tokenize_fptr=tokenize,
        eos_token=model.end_tokens.tolist() or [model.eos],
        slices=[],
    )
    return tokenizer.with_slices(LLTokenizer.general_slices())


def _one_line(message: str) -> str:
    return " ".join(message.split())[:_LONGEST_ERROR]
