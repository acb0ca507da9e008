"""Models with recurrent state, with random weights and the built-in model's vocabulary."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from gguf import GGUFReader, GGUFValueType, GGUFWriter

from shared.models.sources import BUILTIN_PATH

WIDTH = 256
INNER, STATE, RANK, KERNEL = 2 * WIDTH, 16, 4, 4
"""Mamba's."""
LFM2_KERNEL = 64
"""Tokens that LFM2's convolutions look at: many, for a state that is not lost in rounding."""

_MAMBA = {
    "attn_norm.weight": (WIDTH,),
    "ssm_in.weight": (2 * INNER, WIDTH),
    "ssm_conv1d.weight": (INNER, KERNEL),
    "ssm_conv1d.bias": (INNER,),
    "ssm_x.weight": (RANK + 2 * STATE, INNER),
    "ssm_dt.weight": (INNER, RANK),
    "ssm_dt.bias": (INNER,),
    "ssm_a": (INNER, STATE),
    "ssm_d": (INNER,),
    "ssm_out.weight": (WIDTH, INNER),
}
_BLOCK = {
    "attn_norm.weight": (WIDTH,),
    "ffn_norm.weight": (WIDTH,),
    "ffn_gate.weight": (2 * WIDTH, WIDTH),
    "ffn_up.weight": (2 * WIDTH, WIDTH),
    "ffn_down.weight": (WIDTH, 2 * WIDTH),
}
_CONVOLUTION = _BLOCK | {
    "shortconv.conv.weight": (WIDTH, LFM2_KERNEL),
    "shortconv.in_proj.weight": (3 * WIDTH, WIDTH),
    "shortconv.out_proj.weight": (WIDTH, WIDTH),
}
_ATTENTION = _BLOCK | {
    "attn_q_norm.weight": (WIDTH // 2,),
    "attn_k_norm.weight": (WIDTH // 2,),
    **{f"attn_{part}.weight": (WIDTH, WIDTH) for part in ("q", "k", "v", "output")},
}


def write_mamba(path: Path) -> Path:
    """A model of two layers, all with recurrent states, none with keys and values."""
    writer = _writer(path, "mamba", n_layers=2)
    writer.add_ssm_conv_kernel(KERNEL)
    writer.add_ssm_inner_size(INNER)
    writer.add_ssm_state_size(STATE)
    writer.add_ssm_time_step_rank(RANK)
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    return _write(writer, [_MAMBA, _MAMBA], path, "output_norm")


def write_lfm2(path: Path) -> Path:
    """A hybrid model: one layer with a recurrent state, one with keys and values."""
    writer = _writer(path, "lfm2", n_layers=2)
    writer.add_uint32("lfm2.shortconv.l_cache", LFM2_KERNEL)
    writer.add_feed_forward_length(2 * WIDTH)
    writer.add_head_count(2)
    writer.add_head_count_kv([0, 2])
    return _write(writer, [_CONVOLUTION, _ATTENTION], path, "token_embd_norm")


def _writer(path: Path, architecture: str, *, n_layers: int) -> GGUFWriter:
    writer = GGUFWriter(path, architecture)
    writer.add_block_count(n_layers)
    writer.add_context_length(512)
    writer.add_embedding_length(WIDTH)
    writer.add_layer_norm_rms_eps(1e-5)
    for key, field in GGUFReader(BUILTIN_PATH).fields.items():
        if key.startswith("tokenizer."):
            kind = field.types[0]
            element = field.types[1] if kind == GGUFValueType.ARRAY else None
            writer.add_key_value(key, field.contents(), kind, element)
    return writer


def _write(
    writer: GGUFWriter, layers: list[dict[str, tuple[int, ...]]], path: Path, norm: str
) -> Path:
    n_vocab = len(GGUFReader(BUILTIN_PATH).fields["tokenizer.ggml.tokens"].contents())
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (n_vocab, WIDTH),
        f"{norm}.weight": (WIDTH,),
        **{
            f"blk.{i}.{name}": shape
            for i, each in enumerate(layers)
            for name, shape in each.items()
        },
    }
    random = np.random.default_rng(0)
    for name, shape in shapes.items():
        writer.add_tensor(name, (random.standard_normal(shape) * 0.02).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
