"""Prompts that no server has seen before in its life.

A prompt that repeats is answered from a prompt cache, which is another benchmark.
"""

import random
from itertools import islice

from benchmarks.words import english_like_words

LEXICON = list(islice(english_like_words(), 4000))
"""Words that the benchmark model's vocabulary holds whole: a prompt has about one token a word."""


class Prompts:
    """An endless supply of unique prompts; the same seed gives the same ones.

    Every contestant is given the same prompts in the same order, each in a process of its own.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._seen: set[str] = set()

    @property
    def given(self) -> int:
        """How many prompts have been given out."""
        return len(self._seen)

    def next(self, words: int) -> str:
        """A prompt of ``words`` random words."""
        while True:
            prompt = " ".join(self._random.choices(LEXICON, k=words))
            if prompt not in self._seen:
                self._seen.add(prompt)
                return prompt
