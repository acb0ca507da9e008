"""Constrained decoding: completions that match a grammar, token by token, with llguidance.

A grammar compiles once to a `Constraint`; each sequence that uses it has a `ConstraintMatcher`,
which says before each token which ones may come next.
"""

from __future__ import annotations

import ctypes
import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

import llama_cpp.llama_cpp as lib
import numpy as np
import numpy.typing as npt
from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from shared.engine.gbnf import GBNFError, gbnf_to_lark, is_lark
from shared.engine.llama import LogitsArray, Model
from shared.engine.trial import GrammarTrial
from shared.json_schema.errors import UnsupportedSchemaError
from shared.json_schema.normal_form import normal_form, with_options

GrammarKind = Literal["json_schema", "lark", "gbnf", "regex"]

_JSON_STYLE = {"item_separator": ",", "key_separator": ":", "whitespace_pattern": " "}
_CONTROL = b"\xff"
"""llguidance's mark of tokens that text can't spell; 0xff occurs in no UTF-8."""
_KEPT = 32
"""Compiled grammars that are kept, so that a client's usual schema compiles once."""
_MEANINGS = {
    "panic": "it is too large",
    "NoExtension": "there is no text that it allows",
    "Current row has": "it leaves too many ways to go on at once",
    "Too many items": "it leaves too many ways to go on at once",
    "too many expressions": "its regular expressions are too large",
}
"""What some of llguidance's errors come down to for who has written the grammar."""
_BASE_URI = "json-schema:///"
"""What llguidance calls a schema by that has no ``$id``."""
_WORDINGS = (
    (
        re.compile(r"Resource '(.*)' is not present in a registry.*? fetch resources"),
        r"the reference '\1' leads out of the schema",
    ),
    (
        re.compile(r"circular references with sibling keys are not supported: (\S*)"),
        r"beside a '$ref' to what it is a part of, \1, there can't be other keywords",
    ),
    (
        re.compile(r"lookarounds not supported yet; \w+ in regex /(.*)/"),
        r"in the pattern \1: anchors in the middle and word boundaries are not supported",
    ),
)
"""Others of its errors, in words that callers know."""
_LOOKED_AT = 4000
_LONGEST_ERROR = 500
"""Characters; some of llguidance's errors repeat the whole grammar."""
_UNFINISHED_CHARACTER = re.compile(
    rb"(?:[\xc2-\xdf]|[\xe0-\xef][\x80-\xbf]?|[\xf0-\xf4][\x80-\xbf]{0,2})\Z"
)
ALLOWANCE_S = 2.0
_SECONDS_PER_TOKEN = 0.06
"""What following a grammar may take of the engine's thread: 0.1 ms is usual, 10 ms is much."""


class ConstraintError(ValueError):
    """The grammar is invalid or not supported; the text says what."""


def grammar(kind: GrammarKind, source: str | Mapping[str, Any]) -> str:
    """``source`` in llguidance's own form, for `ConstraintCompiler.compile`.

    ``gbnf`` is llama.cpp's grammar format (Lark is recognised there too, since both are given in
    the same request field). Between JSON's tokens there may be one space: models have learnt to
    write ``{"a": 1, "b": 2}`` and lose the thread where they may not, but weak ones ramble in more
    white space than that. Raises `ConstraintError` for what can't be read; the rest shows when it
    is compiled.
    """
    if kind == "json_schema":
        return _schema_grammar(source)
    assert isinstance(source, str)
    if kind == "regex":
        return LLMatcher.grammar_from_regex(source)
    if kind == "gbnf" and not is_lark(source):
        try:
            source = gbnf_to_lark(source)
        except GBNFError as error:
            raise ConstraintError(str(error)) from error
    return LLMatcher.grammar_from_lark(source)


def _schema_grammar(source: str | Mapping[str, Any]) -> str:
    """A schema with options of ours: llguidance would take others from within the schema."""
    try:
        schema = json.loads(source) if isinstance(source, str) else source
        form = with_options(normal_form(schema), **_JSON_STYLE)
        text = json.dumps(form, allow_nan=False)
    except UnsupportedSchemaError as error:
        raise ConstraintError(str(error)) from error
    except (ValueError, TypeError, AttributeError) as error:
        raise ConstraintError(f"the schema is no JSON object: {error}") from error
    return LLMatcher.grammar_from_json_schema(text)


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

    def __init__(self, model: Model, *, allowance_s: float = ALLOWANCE_S) -> None:
        """``allowance_s``: processor time that a sequence may take beyond 0.06 s for each token."""
        self._model = model
        self._allowance_s = allowance_s
        self._lock = threading.Lock()
        self._prepared: tuple[LLTokenizer, GrammarTrial] | None = None
        self._limits = LLParserLimits(verbose_errors=False)
        self._compiled: dict[str, Constraint] = {}  # the latest ones come last

    def compile(self, source: str) -> Constraint:
        """A constraint for a grammar in llguidance's form; raises `ConstraintError`.

        A usual schema takes 10 ms, most of it for the trial; the latest ones are kept.
        """
        constraint = self.kept(source)
        if constraint is None:
            with self._lock:
                if self._prepared is None:
                    self._prepared = _prepared(self._model)
            constraint = self._compile(source, *self._prepared)
            self.keep(source, constraint)
        return constraint

    def kept(self, source: str) -> Constraint | None:
        """What was compiled, or kept, for a grammar not long ago."""
        with self._lock:
            constraint = self._compiled.pop(source, None)
            if constraint is None or constraint.has_failed:
                return None
            self._compiled[source] = constraint
            return constraint

    def keep(self, source: str, constraint: Constraint) -> None:
        """Have ``constraint`` stand for a grammar, also for one that can't be compiled."""
        with self._lock:
            self._compiled[source] = constraint
            if len(self._compiled) > _KEPT:
                del self._compiled[next(iter(self._compiled))]

    def _compile(self, source: str, tokenizer: LLTokenizer, trial: GrammarTrial) -> Constraint:
        if reason := trial.run(source):
            raise ConstraintError(reason)
        matcher = LLMatcher(tokenizer, source, log_level=0, limits=self._limits)
        if not matcher.is_error():
            matcher.compute_bitmask()
        for tried in (matcher, _after_its_beginning(matcher, tokenizer)):
            if tried.is_error():
                raise ConstraintError(_reason(tried))
        return Constraint(matcher, self._model.n_vocab, self._allowance_s)


class Constraint:
    """A compiled grammar, for any number of sequences.

    What these have found out of its regular expressions they share. So a limit that one of them
    runs into holds for all that follow: ``has_failed`` says that it has to be compiled anew.
    """

    def __init__(self, matcher: LLMatcher, n_vocab: int, allowance_s: float) -> None:
        self._matcher = matcher
        self._n_vocab = n_vocab
        self._allowance_s = allowance_s
        self.has_failed = False

    def start(self) -> ConstraintMatcher:
        """The state of a sequence that begins."""
        return ConstraintMatcher(self, self._matcher.deep_copy(), self._n_vocab, self._allowance_s)

    def lazily(self, piece: Callable[[int], bytes]) -> Constraint:
        """The same, followed by each sequence only from where its text may not end any more.

        ``piece`` gives a token's bytes: within a character it may not end either.
        """
        return _LazyConstraint(self, piece)


class _LazyConstraint(Constraint):
    def __init__(self, constraint: Constraint, piece: Callable[[int], bytes]) -> None:
        super().__init__(constraint._matcher, constraint._n_vocab, constraint._allowance_s)
        self._piece = piece

    def start(self) -> ConstraintMatcher:
        matcher = self._matcher.deep_copy()
        return _LazyMatcher(self, matcher, self._n_vocab, self._allowance_s, self._piece)


class ConstraintMatcher:
    """How far one sequence is in its grammar."""

    __slots__ = ("_constraint", "_matcher", "_n_vocab", "_seconds_left")

    def __init__(
        self, constraint: Constraint, matcher: LLMatcher, n_vocab: int, seconds_left: float
    ) -> None:
        self._constraint = constraint
        self._matcher = matcher
        self._n_vocab = n_vocab
        self._seconds_left = seconds_left

    def apply(self, row: LogitsArray) -> None:
        """Set the logits of tokens that can't come next to minus infinity, in place.

        Where bias and bans leave none of those that can, the grammar wins: all of them are equal.
        """
        allowed = self._allowed()
        if allowed is None:
            return
        np.putmask(row, ~allowed, -np.inf)
        if row.max() == -np.inf:
            row[allowed] = 0

    def _allowed(self) -> npt.NDArray[np.bool_] | None:
        """For each token whether it may come next; None where all may."""
        started = time.thread_time()
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        self._seconds_left -= time.thread_time() - started
        return np.unpackbits(bits, count=self._n_vocab, bitorder="little").view(np.bool_)

    def accept(self, token: int) -> None:
        """Take the token that was sampled."""
        started = time.thread_time()
        self._matcher.consume_token(token)
        self._seconds_left += _SECONDS_PER_TOKEN - (time.thread_time() - started)

    @property
    def is_complete(self) -> bool:
        """Whether nothing more can come: the grammar allows it not, or failed."""
        return self._matcher.is_stopped() or self.error is not None

    @property
    def error(self) -> str | None:
        """Why the grammar can't be followed any further, such as a limit of its complexity."""
        if self._matcher.is_error():
            self._constraint.has_failed = True
            return _reason(self._matcher)
        return "following it takes too long" if self._seconds_left < 0 else None


class _LazyMatcher(ConstraintMatcher):
    """Leaves the tokens alone until the text has begun what has a form, and must be finished.

    Whoever is free to say anything may also say what the grammar has no place for, such as control
    tokens, and a grammar may turn out too complex: then the rest is free too.
    """

    __slots__ = ("_end", "_is_free", "_is_lost", "_piece")

    def __init__(
        self,
        constraint: Constraint,
        matcher: LLMatcher,
        n_vocab: int,
        seconds_left: float,
        piece: Callable[[int], bytes],
    ) -> None:
        super().__init__(constraint, matcher, n_vocab, seconds_left)
        self._piece = piece
        self._end = b""
        self._is_free = True
        self._is_lost = False

    def _allowed(self) -> npt.NDArray[np.bool_] | None:
        allowed = None if self._is_free else super()._allowed()
        self._give_up_on_errors()
        return None if self._is_free else allowed

    def accept(self, token: int) -> None:
        if not self._is_free:
            super().accept(token)
        elif not self._is_lost:
            started = time.thread_time()
            self._is_lost = not self._matcher.try_consume_tokens([token])
            self._end = (self._end + self._piece(token))[-3:]
            self._is_free = (
                self._is_lost
                or self._matcher.is_accepting()
                or _UNFINISHED_CHARACTER.search(self._end) is not None
            )
            self._seconds_left += _SECONDS_PER_TOKEN - (time.thread_time() - started)
        self._give_up_on_errors()

    def _give_up_on_errors(self) -> None:
        if not self._is_lost and super().error is not None:
            self._is_free = self._is_lost = True

    @property
    def is_complete(self) -> bool:
        return not self._is_lost and self._matcher.is_stopped()

    @property
    def error(self) -> None:
        return None


def _prepared(model: Model) -> tuple[LLTokenizer, GrammarTrial]:
    """The vocabulary as llguidance takes it, and a trial for its grammars.

    Unlike llguidance's own adapter this treats user-defined tokens such as ``<tool_call>`` as text,
    so that a grammar may spell them like the model does; only control tokens are set apart.
    """
    controls = {
        token: model.render(token, special=True)
        for token in range(model.n_vocab)
        if model.is_control(token)
    }
    tokens = [
        _CONTROL + controls[token] if token in controls else model.render(token, special=True)
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
    texts = {token: text.decode("utf-8", "replace") for token, text in controls.items()}
    trial = GrammarTrial(model.n_vocab, texts)
    return tokenizer.with_slices(LLTokenizer.general_slices()), trial


def _after_its_beginning(matcher: LLMatcher, tokenizer: LLTokenizer) -> LLMatcher:
    """Where texts begin to differ: for some grammars there are too many ways to go on."""
    copy = matcher.deep_copy()
    if not copy.is_error():
        tokens = tokenizer.tokenize_bytes(copy.compute_ff_bytes())
        copy.consume_tokens(tokens[: copy.validate_tokens(tokens)])
    if not copy.is_stopped():
        copy.compute_bitmask()
    return copy


def _reason(matcher: LLMatcher) -> str:
    """Why a matcher fails, in a line."""
    message = matcher.get_error()
    for sign, meaning in _MEANINGS.items():
        if sign in message:
            return meaning
    message = message.removesuffix("<non-verbose/>")[:_LOOKED_AT].replace(_BASE_URI, "")
    message = " ".join(message.split())
    for error, wording in _WORDINGS:
        message = error.sub(wording, message)
    return message[:_LONGEST_ERROR]
