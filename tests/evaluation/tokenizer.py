"""A GGUF file's tokenizer in the files that Hugging Face's libraries load."""

from __future__ import annotations

import json
from pathlib import Path

from gguf import GGUFReader, TokenType


def write_tokenizer(model: Path, directory: Path) -> None:
    """Write ``tokenizer.json`` and ``tokenizer_config.json`` for the model to ``directory``.

    For byte-level BPE with GPT-2's pre-tokenizer, which the built-in model has. Raises
    `AssertionError` for others: their rules aren't all in the GGUF file.
    """
    fields = GGUFReader(model).fields

    def value(name: str) -> object:
        return fields[f"tokenizer.{name}"].contents()

    assert (value("ggml.model"), value("ggml.pre")) == ("gpt2", "gpt-2")
    texts, types = value("ggml.tokens"), value("ggml.token_type")
    assert isinstance(texts, list)
    assert isinstance(types, list)
    added = [
        {
            "id": token,
            "content": text,
            "special": kind == TokenType.CONTROL,
            **dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False),
        }
        for token, (text, kind) in enumerate(zip(texts, types, strict=True))
        if kind != TokenType.NORMAL
    ]
    byte_level = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": False,
        "use_regex": True,
    }
    tokenizer = {
        "version": "1.0",
        "added_tokens": added,
        "pre_tokenizer": byte_level,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "vocab": {text: token for token, text in enumerate(texts)},
            "merges": value("ggml.merges"),
        },
    }
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": texts[_token_id(value("ggml.bos_token_id"))],
        "eos_token": texts[_token_id(value("ggml.eos_token_id"))],
        "chat_template": value("chat_template"),
        "clean_up_tokenization_spaces": False,
    }
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in (("tokenizer.json", tokenizer), ("tokenizer_config.json", config)):
        (directory / name).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def _token_id(value: object) -> int:
    assert isinstance(value, int)
    return value
