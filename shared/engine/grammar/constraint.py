"""Constrained decoding: completions that match a grammar, token by token, with llguidance.

A grammar compiles once to a `Constraint`; each sequence that uses it has a `ConstraintMatcher`,
which says before each token which ones may come next.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from llguidance import LLMatcher

from shared.engine.grammar.errors import error_of
from shared.engine.llama.context import LogitsArray

_UNFINISHED_CHARACTER = re.compile(
    rb"(?:[\xc2-\xdf]|[\xe0-\xef][\x80-\xbf]?|[\xf0-\xf4][\x80-\xbf]{0,2})\Z"
)
ALLOWANCE_S = 2.0
_SECONDS_PER_TOKEN = 0.06
"""What following a grammar may take: 0.1 ms is usual, 10 ms is much."""
_SLOW_S = 0.002
"""Processor time of a mask from which on a grammar is not followed on the engine's thread."""
_HOSTILE_S = 0.01
"""That of a mask, or of taking a token, from which on it has the time that nobody else wants."""

Consume = Callable[[LLMatcher, int], bool]
"""Has a matcher take a token; False where the grammar does not allow it."""
Clock = Callable[[], float]
"""Seconds of what takes tokens, of processor time if that is known."""


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
        self.is_slow = False
        self.is_hostile = False

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
    """How far one sequence is in its grammar.

    While it ``is_pending``, a thread of `MaskThreads` has it, and nobody else may do anything with
    it but ask whether it is complete: that, and any error, shows afterwards.
    """

    __slots__ = (
        "_constraint",
        "_failure",
        "_mask",
        "_matcher",
        "_n_vocab",
        "_seconds_left",
        "is_late",
        "is_pending",
        "is_prepared",
        "on_slow",
    )

    def __init__(
        self, constraint: Constraint, matcher: LLMatcher, n_vocab: int, seconds_left: float
    ) -> None:
        self._constraint = constraint
        self._matcher = matcher
        self._n_vocab = n_vocab
        self._seconds_left = seconds_left
        self._mask: npt.NDArray[np.bool_] | None = None
        self._failure: str | None = None
        self.is_prepared = False
        """Whether the mask for the next token is there."""
        self.is_pending = False
        self.is_late = False
        """Whether somebody waits for what is pending."""
        self.on_slow: Callable[[ConstraintMatcher, int], None] | None = None
        """What has tokens of slow grammars taken elsewhere."""

    @property
    def is_slow(self) -> bool:
        """Whether following the grammar took long, for this sequence or another one."""
        return self._constraint.is_slow

    @property
    def is_hostile(self) -> bool:
        """Whether it took so long that whoever follows it would hold up all others."""
        return self._constraint.is_hostile

    @property
    def is_free(self) -> bool:
        """Whether any token may come next, which takes no time to find out."""
        return False

    def prepare(self) -> None:
        """Compute the mask for the next token, which `apply` does otherwise."""
        self._mask = self._allowed()
        self.is_prepared = True

    def fail(self, reason: str) -> None:
        """Give up following it."""
        self._failure = reason
        self._mask, self.is_prepared = None, True

    def apply(self, row: LogitsArray) -> None:
        """Set the logits of tokens that can't come next to minus infinity, in place.

        Where bias and bans leave none of those that can, the grammar wins: all of them are equal.
        """
        if not self.is_prepared:
            self.prepare()
        allowed = self._mask
        if allowed is None:
            return
        np.putmask(row, ~allowed, -np.inf)
        if row.max() == -np.inf:
            row[allowed] = 0

    def _allowed(self) -> npt.NDArray[np.bool_] | None:
        """For each token whether it may come next; None where all may."""
        started = time.thread_time()
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        seconds = time.thread_time() - started
        self._seconds_left -= seconds
        self._constraint.is_slow |= seconds > _SLOW_S
        self._constraint.is_hostile |= seconds > _HOSTILE_S
        return np.unpackbits(bits, count=self._n_vocab, bitorder="little").view(np.bool_)

    def accept(self, token: int) -> None:
        """Take the token that was sampled, or have it taken elsewhere where that takes long."""
        self._mask, self.is_prepared = None, False
        if self.on_slow is not None and self.is_slow:
            self.on_slow(self, token)
        else:
            self.take(token)

    def take(
        self, token: int, consume: Consume = LLMatcher.consume_token, clock: Clock | None = None
    ) -> None:
        """Go on to behind a token. ``clock``: of what ``consume`` computes with, if not here."""
        self._consume(token, consume, clock)

    def _consume(self, token: int, consume: Consume, clock: Clock | None) -> bool:
        clock = clock or time.thread_time
        started = clock()
        is_taken = consume(self._matcher, token)
        seconds = clock() - started
        self._seconds_left += _SECONDS_PER_TOKEN - seconds
        if seconds > _HOSTILE_S:
            self._constraint.is_slow = self._constraint.is_hostile = True
        return is_taken

    @property
    def is_complete(self) -> bool:
        """Whether nothing more can come: the grammar allows it not, or failed."""
        return not self.is_pending and (self._matcher.is_stopped() or self.error is not None)

    @property
    def error(self) -> str | None:
        """Why the grammar can't be followed any further, such as a limit of its complexity."""
        if self.is_pending:
            return None
        if self._failure is not None:
            return self._failure
        return self._trouble()

    def _trouble(self) -> str | None:
        if self._matcher.is_error():
            self._constraint.has_failed = True
            return str(error_of(self._matcher))
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

    @property
    def is_free(self) -> bool:
        return self._is_free

    def _allowed(self) -> npt.NDArray[np.bool_] | None:
        allowed = None if self._is_free else super()._allowed()
        self._give_up_on_errors()
        return None if self._is_free else allowed

    def take(
        self, token: int, consume: Consume = LLMatcher.consume_token, clock: Clock | None = None
    ) -> None:
        if not self._is_free:
            self._consume(token, consume, clock)
        elif not self._is_lost:
            self._is_lost = not self._consume(token, consume, clock)
            self._end = (self._end + self._piece(token))[-3:]
            self._is_free = (
                self._is_lost
                or self._matcher.is_accepting()
                or _UNFINISHED_CHARACTER.search(self._end) is not None
            )
        self._give_up_on_errors()

    def fail(self, reason: str) -> None:
        self._is_free = self._is_lost = True
        super().fail(reason)

    def _give_up_on_errors(self) -> None:
        if not self._is_lost and self._trouble() is not None:
            self._is_free = self._is_lost = True

    @property
    def is_complete(self) -> bool:
        return not self.is_pending and not self._is_lost and self._matcher.is_stopped()

    @property
    def error(self) -> None:
        return None
