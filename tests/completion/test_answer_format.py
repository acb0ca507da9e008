"""Answers with many log probabilities: made, and forgotten, where no event loop waits for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from shared.completion.answer_format import AnswerFormat
from shared.engine.types import Logprob, TokenLogprobs
from shared.protocol.choices import Choice


class _Dialect:
    """Writes how many log probabilities there are, and notes on which thread."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []
        self.context = SimpleNamespace(on_thread=self._on_thread)

    async def _on_thread(self, work: Callable[[], bytes]) -> bytes:
        return await asyncio.to_thread(work)

    def body(self, choices: list[Choice], _cost: float | None) -> bytes:
        self.threads.append(threading.current_thread())
        return b"%d" % sum(len(each.logprobs) + len(each.prompt_logprobs) for each in choices)


def choice(n_tokens: int) -> Choice:
    entry = TokenLogprobs(Logprob(1, -1.0), ())
    return Choice(logprobs=[entry] * n_tokens, prompt_logprobs=[None, *[entry] * n_tokens])


@pytest.mark.parametrize(("n_tokens", "is_large"), [(10, False), (1000, True)])
def test_many_log_probabilities_are_forgotten_on_the_thread_that_wrote_them(
    n_tokens: int, is_large: bool
) -> None:
    dialect, choices = _Dialect(), [choice(n_tokens), choice(n_tokens)]
    answers = AnswerFormat(cast("Any", dialect), [], None)
    assert asyncio.run(answers.body(choices)) == b"%d" % (4 * n_tokens + 2)
    assert (dialect.threads[0] is not threading.main_thread()) == is_large
    left = [(len(each.logprobs), len(each.prompt_logprobs)) for each in choices]
    assert left == [(0, 0) if is_large else (n_tokens, n_tokens + 1)] * 2


def test_what_is_shown_again_is_kept() -> None:
    choices = [choice(1000)]
    verbose = SimpleNamespace(body=lambda body, shown: body + b" %d" % len(shown[0].logprobs))
    answers = AnswerFormat(cast("Any", _Dialect()), [], cast("Any", verbose))
    assert asyncio.run(answers.body(choices)) == b"2001 1000"
