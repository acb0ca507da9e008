"""The built-in model with another vocabulary: SentencePiece's, as Llama 2 and Phi 3 have it."""

from __future__ import annotations

import string
from collections.abc import Sequence
from pathlib import Path

from gguf import GGUFReader, GGUFValueType, GGUFWriter, TokenType

from shared.models.sources import BUILTIN_PATH

CONTROL = ("<s>", "</s>", "<|im_end|>", "<|user|>", "<|endoftext|>")
_PIECES = ("</", "s>", "</s", "▁", "▁the", "the", "th", "he", "im", "end", "<|", "|>", "▁Hi", "Hi")
"""Some of which make a control token's text, if they are put together."""
_ELSEWHERE = ("GGUF.", "general.architecture", "general.name", "tokenizer.")


def write_sentencepiece(path: Path, name: str, own: Sequence[str] = ("<tool>",)) -> Path:
    """A model at ``path``; llama.cpp knows by the ``name`` phi-3 that tokens eat white space.

    ``own``: its user-defined tokens.
    """
    source = GGUFReader(BUILTIN_PATH)
    writer = GGUFWriter(path, "llama")
    for key, field in source.fields.items():
        if not key.startswith(_ELSEWHERE):
            kind = field.types[0]
            element = field.types[1] if kind == GGUFValueType.ARRAY else None
            writer.add_key_value(key, field.contents(), kind, element)
    tokens = {"<unk>": TokenType.UNKNOWN}
    tokens |= dict.fromkeys(CONTROL, TokenType.CONTROL)
    tokens |= {f"<0x{byte:02X}>": TokenType.BYTE for byte in range(256)}
    tokens |= dict.fromkeys([*_PIECES, *string.printable[:95]], TokenType.NORMAL)
    tokens |= dict.fromkeys(own, TokenType.USER_DEFINED)
    n_vocab = len(source.fields["tokenizer.ggml.tokens"].contents())
    while len(tokens) < n_vocab:
        tokens[f"<unused{len(tokens)}>"] = TokenType.UNUSED
    writer.add_name(name)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(list(tokens))
    writer.add_token_scores([-float(rank) for rank in range(n_vocab)])
    writer.add_token_types(list(tokens.values()))
    ids = {token: i for i, token in enumerate(tokens)}
    writer.add_unk_token_id(ids["<unk>"])
    writer.add_bos_token_id(ids["<s>"])
    writer.add_eos_token_id(ids["</s>"])
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(True)
    for tensor in source.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
