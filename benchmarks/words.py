"""Synthetic English-like words: what prompts and the benchmark model's vocabulary are made of.

Words are generated rather than taken from a list, so that the benchmark carries no text of others.
The same seed gives the same words on every machine.
"""

import random
from collections.abc import Iterator

SEED = 2024
"""For vocabulary and prompts alike: prompts are made of words that the vocabulary holds."""

_COMMON_TEXT = """
the of and to in a is that for it as was with be by on not he his but at are this have
from or had an they which one you were all her she there would their we him been has when
who will no more if out so up said what its about than into them can only other time new
some could these two may first then do any like my now over such our man me even most made
after also did many off before must well back through years much where your way down
should because long each just state those people too mr how little good world make very
year still see own work men day get here old between both life being under three never
know same last another while us might great go come since against right came take used
himself few house use place during high without again home around small however found part
school once general say number upon every user assistant system question answer write read
hello please thank yes
"""
COMMON_WORDS = _COMMON_TEXT.split()

_ONSETS = (*"bcdfghjklmnprstvwy", "bl", "br", "ch", "cl", "cr", "dr", "fl", "fr", "gl", "gr")
_VOWELS = (*"aaaeeeeiiioooouu", "ai", "ea", "ee", "ie", "oa", "oo", "ou")
_CODAS = ("", "", "", "", "n", "r", "l", "s", "t", "d", "m", "ck", "nd", "ng", "nt", "st", "sh")
_ENDINGS = (*[""] * 12, "s", "s", "ed", "ing", "er", "ly", "ness", "ment", "tion", "able")


def english_like_words(seed: int = SEED) -> Iterator[str]:
    """Yield distinct lower-case words for ever: the common ones first, then invented ones."""
    generator = random.Random(seed)
    seen = set(COMMON_WORDS)
    yield from dict.fromkeys(COMMON_WORDS)
    while True:
        syllables = generator.choices((1, 2, 3), weights=(4, 5, 1))[0]
        word = "".join(
            generator.choice(_ONSETS) + generator.choice(_VOWELS) + generator.choice(_CODAS)
            for _ in range(syllables)
        ) + generator.choice(_ENDINGS)
        if word not in seen:
            seen.add(word)
            yield word
