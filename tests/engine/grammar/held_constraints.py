"""Constraints whose masks wait: until a test lets go of them, or until all sequences are as far."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from llguidance import LLMatcher

from shared.engine.grammar.constraint import Constraint, ConstraintMatcher

_ALLOWANCE_S = 1000.0


class HeldConstraint(Constraint):
    """Whose masks, from the third one on, wait until somebody lets go of them, or fail."""

    def __init__(self, constraint: Constraint, failure: Exception | None = None) -> None:
        super().__init__(constraint._matcher, constraint._n_vocab, _ALLOWANCE_S)
        self.may_go = threading.Event()
        self.is_held = threading.Event()
        self.failure = failure

    def start(self) -> ConstraintMatcher:
        return _HeldMatcher(self, self._matcher.deep_copy(), self._n_vocab, self._hold)

    def _hold(self, n_masks: int) -> None:
        if n_masks >= 3:
            if self.failure is not None:
                raise self.failure
            self.is_held.set()
            self.may_go.wait()


class MeetingConstraint(Constraint):
    """Whose sequences wait for each other: none gets ahead where threads run as they please."""

    def __init__(self, constraint: Constraint, n_sequences: int, n_masks: int) -> None:
        """``n_masks``: how many of its masks each of ``n_sequences`` has when they meet."""
        super().__init__(constraint._matcher, constraint._n_vocab, _ALLOWANCE_S)
        self._meeting = threading.Barrier(n_sequences, timeout=60)
        self._n_masks = n_masks

    def start(self) -> ConstraintMatcher:
        return _HeldMatcher(self, self._matcher.deep_copy(), self._n_vocab, self._meet)

    def _meet(self, n_masks: int) -> None:
        if n_masks == self._n_masks:
            self._meeting.wait()


class _HeldMatcher(ConstraintMatcher):
    __slots__ = ("_hold", "_n_masks")

    def __init__(
        self,
        constraint: Constraint,
        matcher: LLMatcher,
        n_vocab: int,
        hold: Callable[[int], None],
    ) -> None:
        super().__init__(constraint, matcher, n_vocab, _ALLOWANCE_S)
        self._hold = hold
        self._n_masks = 0

    def _allowed(self) -> npt.NDArray[np.bool_] | None:
        self._n_masks += 1
        self._hold(self._n_masks)
        return super()._allowed()
