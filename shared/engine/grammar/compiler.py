"""Grammar compiler for one model's vocabulary, with a cache of the latest ones."""

from __future__ import annotations

import ctypes
import threading

from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from shared.engine.grammar.constraint import ALLOWANCE_S, Constraint
from shared.engine.grammar.errors import ConstraintError, error_of
from shared.engine.grammar.sandbox import GrammarSandbox
from shared.engine.llama.bindings import lib
from shared.engine.llama.control_tokens import control_ids
from shared.engine.llama.model import Model
from shared.engine.llama.token_texts import token_texts

_CONTROL = b"\xff"
"""llguidance's mark of tokens that text can't spell; 0xff occurs in no UTF-8."""
_KEPT = 32
"""Compiled grammars that are kept, so that a tenant's usual schema compiles once."""


class ConstraintCompiler:
    """Compiles grammars for one model's vocabulary. Safe to use from any thread.

    The first use prepares the vocabulary: 0.35 s for 152,000 tokens, nearly all of it in a call of
    llguidance's that holds the interpreter, 0.28 s. It belongs on a thread of its own.
    """

    def __init__(self, model: Model, *, allowance_s: float = ALLOWANCE_S) -> None:
        """``allowance_s``: processor time that a sequence may take beyond 0.06 s for each token."""
        self._model = model
        self._allowance_s = allowance_s
        self._lock = threading.Lock()
        self._prepared: tuple[LLTokenizer, GrammarSandbox] | None = None
        self._limits = LLParserLimits(verbose_errors=False)
        self._compiled: dict[tuple[str, str], Constraint] = {}  # the latest ones come last

    def compile(self, source: str, tenant: str = "") -> Constraint:
        """A constraint for a grammar in llguidance's form; raises `ConstraintError`.

        A usual schema takes 10 ms, most of it for the sandbox; the latest ones are kept. Each
        ``tenant`` has its own: the time would tell that somebody else has used the same grammar.
        """
        constraint = self.kept(source, tenant)
        if constraint is None:
            with self._lock:
                if self._prepared is None:
                    self._prepared = _prepared(self._model)
            constraint = self._compile(source, *self._prepared)
            self.keep(source, constraint, tenant)
        return constraint

    def kept(self, source: str, tenant: str = "") -> Constraint | None:
        """What was compiled, or kept, for a tenant's grammar not long ago."""
        with self._lock:
            constraint = self._compiled.pop((tenant, source), None)
            if constraint is None or constraint.has_failed:
                return None
            self._compiled[tenant, source] = constraint
            return constraint

    def keep(self, source: str, constraint: Constraint, tenant: str = "") -> None:
        """Have ``constraint`` stand for a grammar, also for one that can't be compiled."""
        with self._lock:
            self._compiled[tenant, source] = constraint
            if len(self._compiled) > _KEPT:
                del self._compiled[next(iter(self._compiled))]

    def _compile(self, source: str, tokenizer: LLTokenizer, sandbox: GrammarSandbox) -> Constraint:
        if reason := sandbox.run(source):
            raise ConstraintError(reason)
        matcher = LLMatcher(tokenizer, source, log_level=0, limits=self._limits)
        if not matcher.is_error():
            matcher.compute_bitmask()
        for tried in (matcher, _after_its_beginning(matcher, tokenizer)):
            if tried.is_error():
                raise error_of(tried)
        return Constraint(matcher, self._model.n_vocab, self._allowance_s)


def _prepared(model: Model) -> tuple[LLTokenizer, GrammarSandbox]:
    """The vocabulary as llguidance takes it, and a sandbox for its grammars.

    Unlike llguidance's own adapter this treats user-defined tokens such as ``<tool_call>`` as text,
    so that a grammar may spell them like the model does; only control tokens are set apart.
    """
    tokens = token_texts(model)
    controls = {token: tokens[token] for token in control_ids(model, tokens)}
    for token, text in controls.items():
        tokens[token] = _CONTROL + text
    tokenize = ctypes.cast(lib._lib.llama_tokenize, ctypes.c_void_p).value
    tokenizer: LLTokenizer = LLTokenizer.from_llamacpp(  # type: ignore[attr-defined]
        tokens=tokens,
        vocab_ptr=model.vocab,
        tokenize_fptr=tokenize,
        eos_token=model.end_tokens.tolist() or [model.eos],
        slices=LLTokenizer.general_slices(),
    )
    texts = {token: text.decode("utf-8", "replace") for token, text in controls.items()}
    sandbox = GrammarSandbox(model.n_vocab, texts)
    return tokenizer, sandbox


def _after_its_beginning(matcher: LLMatcher, tokenizer: LLTokenizer) -> LLMatcher:
    """Where texts begin to differ: for some grammars there are too many ways to go on."""
    copy = matcher.deep_copy()
    if not copy.is_error():
        tokens = tokenizer.tokenize_bytes(copy.compute_ff_bytes())
        copy.consume_tokens(tokens[: copy.validate_tokens(tokens)])
    if not copy.is_stopped():
        copy.compute_bitmask()
    return copy
