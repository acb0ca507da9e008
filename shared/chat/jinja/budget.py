"""Budget of a template rendering: processor time, text, and the size of objects.

Operations that make much of little are counted before they are done, by what they would make:
nothing can interrupt one of Python's own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import jinja2
from jinja2.utils import Namespace

_STEPS_PER_LOOK = 16
MAX_COPIED = 2**27
"""Characters, and items of lists, that operations may make altogether, copies included."""
SMALL = 256
"""Texts and lists up to this length are not counted: the steps that make them are."""
_LARGE = 2**14
"""What takes as long as many steps."""
MAX_ITEMS = 2**20
"""Parts of an object that is written or compared as a whole."""
_ATTRIBUTES = "_Namespace__attrs"
_SMALL_KINDS = (int, bool, float, type(None))
MAX_INTEGER_BITS = 2**14
"""A number of 4,300 digits, the most that Python reads and writes, has 14,285."""


class Budget:
    """What one rendering may use.

    Some models' templates look through all messages for each message: with thousands of tiny ones
    they would take minutes. Others indent or repeat, as wide or as often as a request says.

    The time is the thread's own. A process that is frozen for a while, as serverless ones are, has
    not worked in the meantime.
    """

    __slots__ = ("_characters", "_copied", "_deadline", "_steps", "_time_s")

    def __init__(self, time_s: float, characters: int) -> None:
        """For a rendering that begins now, in this thread."""
        self._time_s = time_s
        self._deadline = time.thread_time() + time_s
        self._characters = characters
        self._copied = MAX_COPIED
        self._steps = 0

    def step(self) -> None:
        """Note a loop's turn or a call; raises `jinja2.TemplateRuntimeError` when time is up."""
        self._steps += 1
        if self._steps % _STEPS_PER_LOOK == 0:
            self._look()

    def take(self, characters: int) -> None:
        """Note that a text grows by ``characters``; raises `jinja2.TemplateRuntimeError`."""
        self._characters -= characters
        if self._characters < 0:
            raise _too_much()

    def copy(self, length: int) -> None:
        """Note a text or list of ``length`` that is made of what there was; raises as `take`."""
        if length > SMALL:
            self._copied -= length
            if self._copied < 0:
                raise _too_much()
            if length > _LARGE:
                self._look()

    def _look(self) -> None:
        if time.thread_time() > self._deadline:
            raise jinja2.TemplateRuntimeError(
                f"rendering takes more than {self._time_s:g} s of processor time"
            )


_local = threading.local()


def current() -> Budget:
    """The budget of the rendering that this thread is at."""
    budget: Budget = _local.budget
    return budget


@contextmanager
def spending(budget: Budget) -> Iterator[None]:
    """Make ``budget`` the current one."""
    _local.budget = budget
    try:
        yield
    finally:
        del _local.budget


def check_whole(value: Any) -> int:
    """The characters of an object that is about to be written or compared as a whole.

    Raises `jinja2.TemplateRuntimeError` for one of too many parts. An object that contains another
    one twice, and so on, has billions, and takes no memory to speak of until it is written.
    """
    if isinstance(value, str):
        return len(value)
    n_items, n_characters = 0, 0
    waiting = [value]
    while waiting:
        item = waiting.pop()
        parts: Iterable[Any] = ()
        if isinstance(item, dict):
            n_items += len(item)
            try:
                n_characters += len("".join(item))
            except TypeError:  # keys that are no texts
                waiting.extend(item)
            parts = item.values()
        elif isinstance(item, (list, tuple, set, frozenset)):
            n_items += len(item)
            parts = item
        elif isinstance(item, Namespace):
            waiting.append(getattr(item, _ATTRIBUTES))
            n_items += 1
        elif isinstance(item, (str, bytes)):
            n_characters += len(item) if isinstance(item, str) else 4 * len(item)
        if n_items > MAX_ITEMS or n_characters > MAX_COPIED:
            raise _too_much()
        for part in parts:
            kind = part.__class__
            if kind is str:
                n_characters += len(part)
            elif kind not in _SMALL_KINDS:
                waiting.append(part)
    return n_characters + 8 * n_items


def _too_much() -> jinja2.TemplateRuntimeError:
    return jinja2.TemplateRuntimeError("rendering makes too much text")
