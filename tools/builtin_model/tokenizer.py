"""A byte-level BPE tokenizer that llama.cpp reproduces token for token."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import gguf
from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split
from tokenizers.trainers import BpeTrainer

from .chat import CONTROL_TOKENS, TEXT_TOKENS

# While merges are learnt, digits stand alone and nothing is joined to the capital letter that
# follows it. So " Paris" and "Paris" end in the same tokens, which makes copying a name from the
# question into JSON a matter of repeating tokens, and numbers are copied digit by digit.
_NO_MERGE_ACROSS = Regex(r"\p{N}|\s(?=\p{Lu})|[^\p{L}](?=\p{Lu})")


def train(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Learn merges from `texts`. Added tokens count towards `vocab_size`.

    The returned tokenizer splits as GPT-2 does, llama.cpp's pre-tokenizer "gpt-2".
    """
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = Sequence(
        [Split(_NO_MERGE_ACROSS, "isolated"), ByteLevel(add_prefix_space=False, use_regex=True)]
    )
    tokenizer.decoder = ByteLevelDecoder()
    added = len(CONTROL_TOKENS) + len(TEXT_TOKENS)
    trainer = BpeTrainer(
        vocab_size=vocab_size - added,
        initial_alphabet=ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in CONTROL_TOKENS])
    tokenizer.add_tokens(
        [AddedToken(token, special=False, normalized=False) for token in TEXT_TOKENS]
    )
    if tokenizer.get_vocab_size() != vocab_size:
        raise ValueError(f"the corpus yields {tokenizer.get_vocab_size()} tokens, not {vocab_size}")
    return tokenizer


def load(path: Path) -> Tokenizer:
    """The tokenizer that a GGUF file describes, built without llama.cpp."""
    reader = gguf.GGUFReader(path)
    tokens = reader.fields["tokenizer.ggml.tokens"].contents()
    merges = reader.fields["tokenizer.ggml.merges"].contents()
    added = len(CONTROL_TOKENS) + len(TEXT_TOKENS)
    vocabulary = {token: i for i, token in enumerate(tokens[:-added])}
    tokenizer = Tokenizer(BPE(vocabulary, [tuple(merge.split(" ")) for merge in merges]))
    tokenizer.decoder = ByteLevelDecoder()
    _finish(tokenizer)
    return tokenizer


def _finish(tokenizer: Tokenizer) -> None:
    """Give the tokenizer GPT-2's pre-tokenizer and the added tokens."""
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in CONTROL_TOKENS])
    tokenizer.add_tokens(
        [AddedToken(token, special=False, normalized=False) for token in TEXT_TOKENS]
    )
