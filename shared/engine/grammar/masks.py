"""Masks of constraints, computed by threads of their own beside the decode.

Which tokens may come next is known as soon as the last one is: a thread finds out while llama.cpp
evaluates that one. Usually it takes 0.03 ms for 152,000 tokens. A grammar that leaves many ways to
go on takes up to a second, for the mask as for taking a token. Such ones go to threads of the
lowest priority, since llama.cpp's own threads wait for each other, and so for whichever is held up.
What is between these goes to threads that get on where all processors are busy, too.

Who samples waits a moment only, and leaves out those whose masks are late.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

from llguidance import LLExecutor, LLMatcher, LLTokenizer

from shared.engine.grammar.constraint import Clock, ConstraintMatcher

_log = logging.getLogger("pilotlight.engine")

_GRACE_S = 0.002
"""What masks may take beyond the decode, unless their grammar is known to be slow."""
_USUAL_THREADS = 4
"""One does all the work, unless it is stuck with a grammar that nobody knew to be slow."""
_SLOW_THREADS = 4
_NICEST = 19
_CPUCLOCK_OF_THREAD = 6
"""CPUCLOCK_PERTHREAD_MASK and CPUCLOCK_SCHED of Linux."""


class MaskThreads:
    """Computes masks for one engine. Used by its thread alone, but for what the threads call."""

    def __init__(self, on_late: Callable[[], None]) -> None:
        """``on_late`` is called on a thread of these whenever a mask that was late is ready."""
        self._on_late = on_late
        self._usual = ThreadPoolExecutor(_USUAL_THREADS, "masks")
        self._unstarted: deque[ConstraintMatcher] = deque()
        """Those of no slow grammar whose turn has not come."""
        self._slow = ThreadPoolExecutor(_SLOW_THREADS, "slow-masks", _be_nice)
        self._hostile = ThreadPoolExecutor(_SLOW_THREADS, "hostile-masks", _take_what_is_left)
        self._done = threading.Condition()
        self._consumers = threading.local()

    def start(self, matchers: Sequence[ConstraintMatcher]) -> None:
        """Have the masks computed that neither are nor are being computed."""
        n_before = len(self._unstarted)
        for matcher in matchers:
            matcher.on_slow = self._follow
            if matcher.is_pending or matcher.is_prepared or matcher.is_free:
                continue
            matcher.is_pending = True
            if matcher.is_slow:
                self._threads_of(matcher).submit(self._run, matcher)
            else:
                self._unstarted.append(matcher)
        if len(self._unstarted) > n_before:
            self._usual.submit(self._run_unstarted)

    def wait(self, matchers: Sequence[ConstraintMatcher], grace: float) -> None:
        """Wait for masks, in seconds: ``grace`` for those of grammars that are slow."""
        if not any(matcher.is_pending for matcher in matchers):
            return
        usual = [matcher for matcher in matchers if not matcher.is_slow]
        with self._done:
            n_waits = 1
            while not self._done.wait_for(lambda: not any(m.is_pending for m in usual), _GRACE_S):
                if self._unstarted and n_waits < _USUAL_THREADS:
                    self._usual.submit(self._run_unstarted)  # the others are stuck
                elif n_waits > 1:
                    break
                n_waits += 1
            self._done.wait_for(lambda: not any(m.is_pending for m in matchers), grace)

    def is_late(self, matcher: ConstraintMatcher) -> bool:
        """Whether a mask isn't ready. Then ``on_late`` is called once it is."""
        if not matcher.is_pending:
            return False
        with self._done:
            matcher.is_late = matcher.is_pending
            return matcher.is_late

    def close(self) -> None:
        """End the threads, waiting for the masks that they are at."""
        pools = self._usual, self._slow, self._hostile
        for threads in pools:
            threads.shutdown(wait=False, cancel_futures=True)
        for threads in pools:
            threads.shutdown()

    def _threads_of(self, matcher: ConstraintMatcher) -> ThreadPoolExecutor:
        return self._hostile if matcher.is_hostile else self._slow

    def _follow(self, matcher: ConstraintMatcher, token: int) -> None:
        """Have a token taken, and the mask for the next one computed."""
        matcher.is_pending = True
        self._threads_of(matcher).submit(self._run, matcher, token)

    def _run_unstarted(self) -> None:
        while True:
            try:
                matcher = self._unstarted.popleft()
            except IndexError:
                return
            self._run(matcher)

    def _run(self, matcher: ConstraintMatcher, token: int | None = None) -> None:
        try:
            if token is not None:
                consumer = self._own_consumer()
                matcher.take(token, consumer.consume, consumer.clock)
            matcher.prepare()
        except Exception:  # of one sequence, which ends
            _log.exception("the mask of a constraint failed")
            matcher.fail("following it failed")
        with self._done:
            was_late, matcher.is_late, matcher.is_pending = matcher.is_late, False, False
            self._done.notify_all()
        if was_late:
            self._on_late()

    def _own_consumer(self) -> TokenConsumer:
        """The calling thread's."""
        consumers = self._consumers
        if not hasattr(consumers, "own"):
            consumers.own = TokenConsumer()
        own: TokenConsumer = consumers.own
        return own


class TokenConsumer:
    """`LLMatcher.consume_token`, which holds the interpreter, without that.

    `LLExecutor` lets go of it, for two matchers or more. So there is a second one beside, which has
    failed and takes no time. It computes on a thread of its own.
    """

    def __init__(self) -> None:
        self._failed = LLMatcher(LLTokenizer("byte"), "", log_level=0)
        with _starting:
            before = _threads_here()
            self._executor = LLExecutor(1)
            started = _threads_here() - before
        self.clock = _clock_of(started)
        """Processor time of that thread. By the wall clock, where it can't be told from others that
        have just started."""

    def consume(self, matcher: LLMatcher, token: int) -> bool:
        """Have ``matcher`` take a token; False where its grammar does not allow it."""
        pairs = [(matcher, token), (self._failed, token)]
        is_taken, _ = self._executor.consume_token_par(pairs)
        return bool(is_taken)


_starting = threading.Lock()


def _threads_here() -> set[int]:
    """Ids of this process's threads; none where the system has no such list."""
    try:
        return {int(entry) for entry in os.listdir("/proc/self/task")}
    except OSError:
        return set()


def _clock_of(threads: set[int]) -> Clock:
    """Processor time of a thread, if there is one: what ``pthread_getcpuclockid`` makes of its id.

    https://man7.org/linux/man-pages/man3/pthread_getcpuclockid.3.html
    """
    if len(threads) == 1:
        clock = partial(time.clock_gettime, ~threads.pop() << 3 | _CPUCLOCK_OF_THREAD)
        with suppress(OSError):  # not every sandbox has it
            clock()
            return clock
    return time.perf_counter


def _be_nice() -> None:
    """Have the calling thread, and those it starts, take little of what others want."""
    if sys.platform == "linux":  # elsewhere a thread has no priority of its own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICEST)


def _take_what_is_left() -> None:
    """Have the calling thread, and those it starts, run where no other wants to: `SCHED_IDLE`.

    A nice value alone is not enough: a thread that has a processor to itself keeps it, and two of
    llama.cpp's share the other one for as long as a decode takes.
    https://man7.org/linux/man-pages/man7/sched.7.html
    """
    _be_nice()
    if sys.platform == "linux":
        with suppress(OSError):  # gVisor, which Modal runs functions in, does not know it
            os.sched_setscheduler(threading.get_native_id(), os.SCHED_IDLE, os.sched_param(0))
