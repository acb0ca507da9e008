"""An embedding model (BERT) with random weights, as GGUF's own library writes it."""

from __future__ import annotations

import string
from pathlib import Path

import numpy as np
from gguf import GGUFWriter

_WIDTH, _CONTEXT = 64, 512
_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_LETTERS = string.ascii_lowercase
_TOKENS = [*_SPECIAL, *(f"▁{letter}" for letter in _LETTERS), *_LETTERS]
_SHAPES = {
    "token_embd.weight": (len(_TOKENS), _WIDTH),
    "token_types.weight": (2, _WIDTH),
    "position_embd.weight": (_CONTEXT, _WIDTH),
    **{
        f"{norm}.{part}": (_WIDTH,)
        for norm in ("token_embd_norm", "blk.0.attn_output_norm", "blk.0.layer_output_norm")
        for part in ("weight", "bias")
    },
    **{f"blk.0.attn_{part}.weight": (_WIDTH, _WIDTH) for part in ("q", "k", "v", "output")},
    **{f"blk.0.attn_{part}.bias": (_WIDTH,) for part in ("q", "k", "v", "output")},
    "blk.0.ffn_up.weight": (2 * _WIDTH, _WIDTH),
    "blk.0.ffn_up.bias": (2 * _WIDTH,),
    "blk.0.ffn_down.weight": (_WIDTH, 2 * _WIDTH),
    "blk.0.ffn_down.bias": (_WIDTH,),
}


def write_embedding_model(path: Path) -> Path:
    """Write it to ``path``; llama.cpp loads it without complaint."""
    writer = GGUFWriter(path, "bert")
    writer.add_block_count(1)
    writer.add_context_length(_CONTEXT)
    writer.add_embedding_length(_WIDTH)
    writer.add_feed_forward_length(2 * _WIDTH)
    writer.add_head_count(4)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    writer.add_uint32("bert.pooling_type", 1)
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(_TOKENS)
    writer.add_token_scores([0.0] * len(_TOKENS))
    writer.add_token_types([3] * len(_SPECIAL) + [1] * (len(_TOKENS) - len(_SPECIAL)))
    writer.add_token_type_count(2)
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(3)
    writer.add_unk_token_id(1)
    writer.add_sep_token_id(3)
    writer.add_pad_token_id(0)
    writer.add_mask_token_id(4)
    random = np.random.default_rng(0)
    for name, shape in _SHAPES.items():
        writer.add_tensor(name, (random.standard_normal(shape) * 0.02).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
