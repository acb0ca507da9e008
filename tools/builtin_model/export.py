"""Write the trained network and its tokenizer as one GGUF file."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf.quants import dequantize, quantize
from tokenizers import Tokenizer

from .chat import CONTROL_TOKENS, END_OF_TEXT, IM_END, TEMPLATE_FILE, TEXT_TOKENS
from .model import LanguageModel, ModelConfig

# Tensor name in the network's layers -> name in GGUF's `llama` architecture.
_LAYER_TENSORS = {
    "attention_norm.weight": "attn_norm.weight",
    "attention.q.weight": "attn_q.weight",
    "attention.k.weight": "attn_k.weight",
    "attention.v.weight": "attn_v.weight",
    "attention.output.weight": "attn_output.weight",
    "feed_forward_norm.weight": "ffn_norm.weight",
    "gate.weight": "ffn_gate.weight",
    "up.weight": "ffn_up.weight",
    "down.weight": "ffn_down.weight",
}
QUANTIZATIONS = {
    "Q8_0": (gguf.GGMLQuantizationType.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0),
    "F16": (gguf.GGMLQuantizationType.F16, gguf.LlamaFileType.MOSTLY_F16),
    "F32": (gguf.GGMLQuantizationType.F32, gguf.LlamaFileType.ALL_F32),
}


def _gguf_name(name: str) -> str:
    if name == "embedding.weight":
        return "token_embd.weight"
    if name == "norm.weight":
        return "output_norm.weight"
    _, layer, rest = name.split(".", 2)
    return f"blk.{layer}.{_LAYER_TENSORS[rest]}"


def _add_metadata(writer: gguf.GGUFWriter, shape: ModelConfig, parameters: int) -> None:
    writer.add_name("pilotlight built-in")
    writer.add_basename("pilotlight-builtin")
    writer.add_description("A very small chat model for demonstrations and tests.")
    writer.add_organization("pilotlight")
    writer.add_license("apache-2.0")
    writer.add_languages(["en"])
    writer.add_size_label(f"{parameters / 1e6:.1f}M")
    writer.add_context_length(shape.context_length)
    writer.add_embedding_length(shape.d_model)
    writer.add_block_count(shape.n_layers)
    writer.add_feed_forward_length(shape.d_ff)
    writer.add_head_count(shape.n_heads)
    writer.add_head_count_kv(shape.n_kv_heads)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_rope_freq_base(shape.rope_theta)
    writer.add_layer_norm_rms_eps(shape.norm_eps)
    writer.add_vocab_size(shape.vocab_size)


def _add_tokenizer(writer: gguf.GGUFWriter, tokenizer: Tokenizer) -> None:
    vocabulary = tokenizer.get_vocab()
    tokens = sorted(vocabulary, key=lambda token: vocabulary[token])
    types = [gguf.TokenType.NORMAL] * len(tokens)
    for token in CONTROL_TOKENS:
        types[vocabulary[token]] = gguf.TokenType.CONTROL
    for token in TEXT_TOKENS:
        types[vocabulary[token]] = gguf.TokenType.USER_DEFINED
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(
        [merge if isinstance(merge, str) else " ".join(merge) for merge in merges]
    )
    writer.add_bos_token_id(vocabulary[END_OF_TEXT])
    writer.add_eos_token_id(vocabulary[IM_END])
    writer.add_eot_token_id(vocabulary[IM_END])
    writer.add_pad_token_id(vocabulary[END_OF_TEXT])
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    writer.add_chat_template(TEMPLATE_FILE.read_text(encoding="utf-8"))


def export(model: LanguageModel, tokenizer: Tokenizer, path: Path, quantization: str) -> None:
    """Write `path`. Matrices are stored as `quantization` says, norms in float32.

    There is no output matrix: llama.cpp then uses the token embedding, to which it is tied.
    """
    tensor_type, file_type = QUANTIZATIONS[quantization]
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, "llama")
    _add_metadata(writer, model.config, sum(weight.numel() for weight in model.parameters()))
    writer.add_file_type(file_type)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    _add_tokenizer(writer, tokenizer)
    for name, weight in model.state_dict().items():
        values = weight.detach().numpy().astype(np.float32)
        if values.ndim == 1:
            writer.add_tensor(_gguf_name(name), values)
        else:
            writer.add_tensor(
                _gguf_name(name), quantize(values, tensor_type), raw_dtype=tensor_type
            )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def read_weights(model: LanguageModel, path: Path) -> dict[str, torch.Tensor]:
    """The weights of a file that `export` wrote, by their names in a model of the same shape."""
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    weights = {}
    for name, weight in model.state_dict().items():
        tensor = tensors[_gguf_name(name)]
        values = dequantize(tensor.data, tensor.tensor_type).reshape(tuple(weight.shape))
        weights[name] = torch.from_numpy(np.array(values, dtype=np.float32))
    return weights
