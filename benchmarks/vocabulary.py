"""A byte-level BPE vocabulary of real size, made without a training corpus."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from benchmarks.words import english_like_words

VOCABULARY_SIZE = 151_936
"""Entries, as Qwen2 has them: sampling and detokenizing cost what they cost with a real model."""

CONTROL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")

SPACE = "Ġ"
"""How GPT-2's byte alphabet writes a space."""

_SPACED_SHARE = 0.7
"""Part of the merges that build words after a space; the rest builds words after anything else."""


@dataclass(frozen=True)
class Vocabulary:
    """Tokens in id order (bytes, merged tokens, control tokens) and the merges in rank order."""

    tokens: list[str]
    merges: list[str]

    def token_id(self, token: str) -> int:
        """The id of ``token``. Raises ``ValueError`` if it isn't in the vocabulary."""
        return self.tokens.index(token)


def byte_alphabet() -> list[str]:
    """The 256 printable characters by which GPT-2's tokenizer writes bytes, in its order of ids.

    Printable Latin-1 characters stand for themselves, the others move above U+0100.
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + n) for n in range(len(others))]


def build_vocabulary(size: int = VOCABULARY_SIZE) -> Vocabulary:
    """Build a vocabulary of ``size`` entries in which ordinary English takes about a token a word.

    Each word grows from left to right, one letter a merge, so every prefix of a word is a token.
    Merges after a space rank before the others: BPE applies the lowest rank first, so a word's
    beginning is never spent on a merge inside it. Shorter prefixes rank before longer ones.
    """
    alphabet = byte_alphabet()
    merge_count = size - len(alphabet) - len(CONTROL_TOKENS)
    spaced_count = int(merge_count * _SPACED_SHARE)
    spaced = _prefix_merges((SPACE + word for word in english_like_words()), spaced_count)
    bare = _prefix_merges(english_like_words(), merge_count - spaced_count)
    merges = list(chain(spaced, bare))
    merged_tokens = (left + right for left, right in merges)
    return Vocabulary(
        tokens=[*alphabet, *merged_tokens, *CONTROL_TOKENS],
        merges=[f"{left} {right}" for left, right in merges],
    )


def _prefix_merges(words: Iterator[str], count: int) -> list[tuple[str, str]]:
    """The first ``count`` distinct pairs (prefix, next letter), short prefixes first."""
    pairs: dict[tuple[str, str], None] = {}
    for word in words:
        pairs.update(((word[:end], word[end]), None) for end in range(1, len(word)))
        if len(pairs) >= count:
            break
    return sorted(list(pairs)[:count], key=lambda pair: len(pair[0]))
