"""Random texts of a schema: what a model that knows nothing writes under its grammar."""

from __future__ import annotations

import random

import numpy as np
from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper

from shared.engine.grammar.errors import ConstraintError
from shared.engine.grammar.grammar import grammar
from tests.json_schema.schemas import Schema

_END = 256
_CLOSING = b'"}]'
_LIKELY = b'abxyz019-+.eET:@/"\\u{}[],ntf'


class _Bytes:
    """A vocabulary of single bytes and an end."""

    bos_token_id = None
    eos_token_id = _END

    def __init__(self) -> None:
        self.tokens = [*(bytes([byte]) for byte in range(256)), b"\xff<end>"]
        self.special_token_ids: list[int] = []

    def __call__(self, text: bytes | str) -> list[int]:
        return list(text if isinstance(text, bytes) else text.encode())


_TOKENIZER = LLTokenizer(TokenizerWrapper(_Bytes()), slices=[])


class Texts:
    """Texts that the server's grammar for a schema lets through."""

    def __init__(self, schema: Schema) -> None:
        """Raises `ConstraintError` for a schema that can't be followed."""
        self._matcher = LLMatcher(_TOKENIZER, grammar("json_schema", schema), log_level=0)
        if self._matcher.is_error():
            raise ConstraintError(self._matcher.get_error())

    def allows(self, text: str) -> bool:
        """Whether ``text`` is a whole answer."""
        matcher = self._matcher.deep_copy()
        tokens = list(text.encode())
        if matcher.validate_tokens(tokens) < len(tokens):
            return False
        matcher.consume_tokens(tokens)
        return bool(matcher.is_stopped() or matcher.is_accepting())

    def write(self, seed: int, length: int = 300, most: int = 1500) -> str | None:
        """A text that tries to end after ``length`` bytes; None if it has not after ``most``."""
        matcher, draw = self._matcher.deep_copy(), random.Random(seed)
        text = bytearray()
        while not matcher.is_stopped():
            if len(text) == most:
                return None
            bits = np.frombuffer(matcher.compute_bitmask(), dtype=np.uint8)
            allowed = np.flatnonzero(np.unpackbits(bits, bitorder="little")[: _END + 1]).tolist()
            if allowed == [_END] or (_END in allowed and draw.random() < 0.5):
                break
            bytes_ = [byte for byte in allowed if byte != _END]
            weights = [self._weight(byte, is_late=len(text) > length) for byte in bytes_]
            (byte,) = draw.choices(bytes_, weights)
            text.append(byte)
            assert matcher.consume_token(byte), matcher.get_error()
        assert not matcher.is_error(), matcher.get_error()
        return text.decode()

    @staticmethod
    def _weight(byte: int, *, is_late: bool) -> float:
        if byte in _CLOSING:
            return 500 if is_late else 8
        if byte in _LIKELY:
            return 4
        return 0.3 if byte < 128 else 0.05
