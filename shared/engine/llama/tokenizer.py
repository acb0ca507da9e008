"""Tokenizer of llama.cpp: texts to token ids and back, and a vocabulary's control tokens."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

from shared.engine.llama.bindings import lib
from shared.engine.llama.errors import LlamaError
from shared.engine.llama.special_tokens import STEP, SpecialTokens

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

# NumPy is imported where arrays are made: the load of a model need not wait for it.
TokenArray: TypeAlias = "npt.NDArray[np.int32]"


class Tokenizer:
    """Tokenizer of a loaded model. Immutable and safe to share."""

    def __init__(self, vocab: Any) -> None:
        """``vocab`` is the model's ``llama_vocab *``."""
        self.vocab = vocab
        self.n_vocab: int = lib.llama_vocab_n_tokens(vocab)
        self.bos: int = lib.llama_vocab_bos(vocab)
        self.eos: int = lib.llama_vocab_eos(vocab)
        self.adds_bos: bool = lib.llama_vocab_get_add_bos(vocab)
        self.logged_ends: Sequence[int] = ()
        """What llama.cpp logged as ends of generations when it loaded the vocabulary, if known."""
        self._pieces: dict[int, bytes] = {}
        self._piece_buffer = ctypes.create_string_buffer(512)
        self._end_of_generation: dict[int, bool] = {}

    def tokenize(
        self, text: str, *, add_special: bool = True, parse_special: bool = True
    ) -> list[int]:
        """Token ids of ``text``. Thread-safe; releases the GIL.

        ``add_special`` adds BOS/EOS where the model's tokenizer is configured to;
        ``parse_special`` reads control tokens written out in the text as those tokens.
        """
        if len(text) <= 2 * STEP:
            return self._tokenize(text, add_special, parse_special)
        added = self._tokenize("", True, parse_special) if add_special else []
        special = self._special_on_request if parse_special else self._special_always
        tokens = added[: self.adds_bos]
        for piece in special.pieces(text):
            tokens += self._tokenize(piece, False, parse_special)
        return tokens + added[self.adds_bos :]

    @cached_property
    def _special_on_request(self) -> SpecialTokens:
        return SpecialTokens(self.vocab, self.n_vocab, parse_special=True)

    @cached_property
    def _special_always(self) -> SpecialTokens:
        return SpecialTokens(self.vocab, self.n_vocab, parse_special=False)

    def _tokenize(self, text: str, add_special: bool, parse_special: bool) -> list[int]:
        data = text.encode("utf-8")
        capacity = len(data) + 8  # a token is at least a byte, plus what add_special adds
        for _ in range(2):
            # ctypes' own arrays have a class for each length, of 11 to 49 us.
            tokens = array("i", bytes(4 * capacity))
            count = lib.llama_tokenize(
                self.vocab,
                data,
                len(data),
                ctypes.byref(ctypes.c_int32.from_buffer(tokens)),
                capacity,
                add_special,
                parse_special,
            )
            if count >= 0:
                return tokens[:count].tolist()
            capacity = -count
        raise LlamaError(f"llama.cpp can't tokenize a text of {len(data)} bytes")

    def piece(self, token: int) -> bytes:
        """The bytes that ``token`` adds to a text; empty for control tokens."""
        found = self._pieces.get(token)
        if found is None:
            found = self._pieces[token] = self.render(token, special=False)
        return found

    def render(self, token: int, *, special: bool) -> bytes:
        """The bytes of ``token``; ``special`` writes control tokens out (``<|im_end|>``)."""
        buffer = self._piece_buffer if not special else ctypes.create_string_buffer(512)
        length = lib.llama_token_to_piece(self.vocab, token, buffer, len(buffer), 0, special)
        if length < 0:
            buffer = ctypes.create_string_buffer(-length)
            length = lib.llama_token_to_piece(self.vocab, token, buffer, len(buffer), 0, special)
        return buffer.raw[:length]

    def detokenize(self, tokens: TokenArray, *, special: bool) -> bytes:
        """The text of ``tokens``; ``special`` writes control tokens out. Releases the GIL."""
        array = tokens.ctypes.data_as(ctypes.POINTER(ctypes.c_int32))
        size = 16 * len(tokens)
        while True:
            buffer = ctypes.create_string_buffer(size)
            length = lib.llama_detokenize(
                self.vocab, array, len(tokens), buffer, size, False, special
            )
            if length >= 0:
                return buffer.raw[:length]
            size = -length

    @cached_property
    def end_tokens(self) -> TokenArray:
        """All tokens that end a generation.

        To ask for each of 152,000 takes 80 ms; those that were logged are asked for again, since
        llama.cpp may have taken one out later.
        """
        import numpy as np

        is_end = lib.llama_vocab_is_eog
        tokens = self.logged_ends or range(self.n_vocab)
        found = [token for token in tokens if is_end(self.vocab, token)]
        return np.array(found, dtype=np.int32)

    @cached_property
    def fill_in_tokens(self) -> tuple[int, int, int] | None:
        """The tokens before the beginning, the ending and the middle of a text to fill in."""
        find = (lib.llama_vocab_fim_pre, lib.llama_vocab_fim_suf, lib.llama_vocab_fim_mid)
        before, after, middle = (int(token(self.vocab)) for token in find)
        return (before, after, middle) if min(before, after, middle) >= 0 else None

    def is_control(self, token: int) -> bool:
        """Whether ``token`` steers the model rather than standing for text."""
        return bool(lib.llama_vocab_is_control(self.vocab, token))

    def is_end_of_generation(self, token: int) -> bool:
        """Whether sampling ``token`` ends a completion (EOS, end of turn, ...)."""
        found = self._end_of_generation.get(token)
        if found is None:
            found = bool(lib.llama_vocab_is_eog(self.vocab, token))
            self._end_of_generation[token] = found
        return found


def as_tokens(tokens: Sequence[int] | TokenArray) -> TokenArray:
    """``tokens`` as the array type that batches take."""
    import numpy as np

    return np.asarray(tokens, dtype=np.int32)
