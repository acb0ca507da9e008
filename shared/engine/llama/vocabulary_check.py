"""Vocabulary check at load: a tokenizer without all bytes would end the process."""

from __future__ import annotations

from typing import Any

from shared.engine.llama.bindings import lib


def vocabulary_problem(vocab: Any) -> str | None:
    """Why no text can be tokenized with a ``llama_vocab *``; None if all can.

    A character that a SentencePiece vocabulary lacks is written in bytes (``<0x41>``). Where one of
    those is missing, llama.cpp throws what nobody catches.
    """
    kind = lib.llama_vocab_type(vocab)
    if kind == lib.LLAMA_VOCAB_TYPE_NONE:
        return "it has no vocabulary"
    if kind != lib.LLAMA_VOCAB_TYPE_SPM:
        return None
    missing = {f"<0x{byte:02X}>".encode(): byte for byte in range(256)}
    characters = {bytes([byte]): f"<0x{byte:02X}>".encode() for byte in range(256)}
    for token in range(lib.llama_vocab_n_tokens(vocab)):
        text = lib.llama_vocab_get_text(vocab, token)
        missing.pop(characters.get(text, text), None)
        if not missing:  # models have them among their first tokens
            return None
    return f"its vocabulary lacks {len(missing)} of the 256 bytes that other characters consist of"
