"""Gains by drafts from texts: what steps would take with and without, where costs are given."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from shared.engine.speculation.drafter import Drafter
from shared.engine.speculation.lengths import choose_lengths
from shared.engine.speculation.texts import DraftTexts

N_MAX = 16
DEAR = (28, 94, 99, 103, 155, 176, 187, 143, 204, 225, 238, 196, 252, 258, 287, 236, 270)
"""What 1, 2, ... 17 rows take on a CPU whose tiles have four of them."""


def dear(n_rows: int) -> float:
    return DEAR[n_rows - 1]


def cheap(n_rows: int) -> float:
    return 1 + 0.01 * (n_rows - 1)


def speed_up(prompt: list[int], answer: list[int], cost: Callable[[int], float]) -> float:
    """The time of one token a step by that with drafts, of a single stream."""
    texts = DraftTexts(np.array(prompt, dtype=np.int32), [])
    following = Drafter(texts, len(prompt) + len(answer), looks_up=True)
    n_sampled, time = 1, 0.0
    while n_sampled < len(answer):
        n_most = min(N_MAX, len(answer) - n_sampled - 1)
        draft = following.draft(answer[:n_sampled], n_most) if n_most else None
        drafts = {} if draft is None else {0: draft}
        length = choose_lengths(drafts, 1, cost, N_MAX).get(0, 0)
        time += cost(1 + length)
        if draft is not None:
            for token in draft.tokens[:length]:
                if token != answer[n_sampled]:
                    break
                n_sampled += 1
        n_sampled += 1
    return (len(answer) - 1) * cost(1) / time


def rewritten() -> tuple[list[int], list[int]]:
    """A text, and the same with one word in 20 replaced, left out or added."""
    answer = list(range(1000, 1256))
    text: list[int] = []
    for i, word in enumerate(answer):
        edit = i // 20 % 3 if i % 20 == 19 else None
        text += {None: [word], 0: [i], 1: [i, word], 2: []}[edit]
    return text, answer


def extracted() -> tuple[list[int], list[int]]:
    """A long text, and passages of 16 words of it, in another order."""
    answer = list(range(1000, 1256))
    starts = [(5 * i % 16) * 16 for i in range(16)]
    text = [word for i in starts for word in [*range(3 * i, 3 * i + 48), *answer[i : i + 16]]]
    return text, answer


def repeated() -> tuple[list[int], list[int]]:
    """A short passage that comes again and again, with five new words in between."""
    text = list(range(16))
    return text, [word for i in range(20) for word in [*text, *range(1000 + 5 * i, 1005 + 5 * i)]]


def new() -> tuple[list[int], list[int]]:
    """What shares three words now and then with the prompt, which go on otherwise there."""
    answer = list(range(1000, 1256))
    text = [w for i in range(5, 250, 20) for w in [*answer[i : i + 3], *range(i, i + 20)]]
    return text, answer


@pytest.mark.parametrize(
    ("texts", "cost", "least"),
    [
        pytest.param(rewritten, dear, 1.4, id="rewritten, dear rows"),
        pytest.param(extracted, dear, 1.4, id="extracted, dear rows"),
        pytest.param(repeated, dear, 1.25, id="repeated, dear rows"),
        pytest.param(new, dear, 0.98, id="new, dear rows"),
        pytest.param(rewritten, cheap, 5.0, id="rewritten, cheap rows"),
        pytest.param(extracted, cheap, 6.0, id="extracted, cheap rows"),
        pytest.param(repeated, cheap, 2.5, id="repeated, cheap rows"),
        pytest.param(new, cheap, 0.98, id="new, cheap rows"),
    ],
)
def test_copied_texts_gain_and_new_ones_lose_next_to_nothing(
    texts: Callable[[], tuple[list[int], list[int]]], cost: Callable[[int], float], least: float
) -> None:
    assert speed_up(*texts(), cost) >= least
