"""Make the model to measure throughput with: random weights in a shape of Qwen2's, Q8_0.

Speed depends on shapes and types, not on what a model has learned, so nothing needs downloading.
Run as a script, it writes the file and prints its path::

    python -m benchmarks.make_model [SHAPE]
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType, TokenType

from benchmarks import CACHE_DIRECTORY
from benchmarks.vocabulary import CONTROL_TOKENS, Vocabulary, build_vocabulary
from benchmarks.words import SEED

CONTEXT_LENGTH = 32_768


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Hyperparameters of a model of Qwen2's kind; those of the 0.5 B one unless said otherwise."""

    layers: int = 24
    width: int = 896
    heads: int = 14
    kv_heads: int = 2
    feed_forward: int = 4864


SHAPES = {
    "0.5b": Shape(),
    "1.5b": Shape(layers=28, width=1536, heads=12, feed_forward=8960),
    "7b": Shape(layers=28, width=3584, heads=28, kv_heads=4, feed_forward=18_944),
}
"""By their names for ``--shape``. Weights of 0.5 and 1.6 GB, for CPUs, and of 7.6 GB, for GPUs."""

DEFAULT_SHAPE = "0.5b"

LOGIT_DEVIATION = 3.0
"""Standard deviation of the logits. With 152k tokens it leaves about 7 nats of entropy."""

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)

_BLOCK = 32
"""Weights in a Q8_0 block, which is one float16 scale and 32 int8 (ggml-common.h)."""

_INT8_DEVIATION = np.sqrt((255**2 - 1) / 12)
"""Standard deviation of integers drawn evenly from -127..127."""

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


def model_path(shape: str = DEFAULT_SHAPE) -> Path:
    """Where the model of a shape in `SHAPES` is, or will be."""
    return CACHE_DIRECTORY / f"qwen2-shaped-{shape}-q8_0.gguf"


def ensure_model(shape: str = DEFAULT_SHAPE) -> Path:
    """Return `model_path`, making the model first if the file isn't there.

    That takes about 10 s with 0.5 B weights, minutes with 7 B.
    """
    path = model_path(shape)
    if not path.exists():
        print(f"making {path.name} (once)", file=sys.stderr, flush=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".unfinished")
        write_model(unfinished, SHAPES[shape])
        unfinished.rename(path)
    return path


def write_model(path: Path, shape: Shape) -> None:
    """Write the model to ``path``; the same bytes every time."""
    vocabulary = build_vocabulary()
    writer = GGUFWriter(path, "qwen2")
    add_hyperparameters(writer, shape)
    add_tokenizer(writer, vocabulary)
    generator = np.random.default_rng(SEED)
    for name, tensor in tensors(generator, len(vocabulary.tokens), shape):
        kind = GGMLQuantizationType.Q8_0 if tensor.dtype == np.uint8 else None
        writer.add_tensor(name, tensor, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_hyperparameters(writer: GGUFWriter, shape: Shape) -> None:
    """Write the shape of a model."""
    writer.add_name(f"pilotlight benchmark, {shape.layers} layers of Qwen2 of width {shape.width}")
    writer.add_file_type(LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(2)
    writer.add_context_length(CONTEXT_LENGTH)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_rope_freq_base(1_000_000.0)
    writer.add_layer_norm_rms_eps(1e-6)


def add_tokenizer(writer: GGUFWriter, vocabulary: Vocabulary) -> None:
    """Write the vocabulary and the chat template."""
    ordinary = len(vocabulary.tokens) - len(CONTROL_TOKENS)
    types = [TokenType.NORMAL] * ordinary + [TokenType.CONTROL] * len(CONTROL_TOKENS)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(types)
    writer.add_token_merges(vocabulary.merges)
    writer.add_eos_token_id(vocabulary.token_id("<|im_end|>"))
    writer.add_pad_token_id(vocabulary.token_id("<|endoftext|>"))
    writer.add_bos_token_id(vocabulary.token_id("<|endoftext|>"))
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def tensors(
    generator: np.random.Generator, vocabulary_size: int, shape: Shape
) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """Yield every tensor by llama.cpp's name. The output matrix is the embedding, as in Qwen2.

    Control tokens have zero rows and so a logit of zero, 7e-8 of the probability: generation
    practically never ends before the number of tokens that was asked for, also on servers that
    don't know ``ignore_eos``.
    """
    width, feed_forward = shape.width, shape.feed_forward
    embedding = _q8_0(generator, vocabulary_size, width)
    embedding[-len(CONTROL_TOKENS) :] = 0
    yield "token_embd.weight", embedding
    # Rows have ``width`` elements of deviation 1/sqrt(width), the normalized state has deviation 1.
    yield "output_norm.weight", np.full(width, LOGIT_DEVIATION, dtype=np.float32)
    kv_width = shape.kv_heads * width // shape.heads
    for layer in range(shape.layers):
        prefix = f"blk.{layer}"
        yield f"{prefix}.attn_norm.weight", np.ones(width, dtype=np.float32)
        yield f"{prefix}.ffn_norm.weight", np.ones(width, dtype=np.float32)
        for name, rows in (("attn_q", width), ("attn_k", kv_width), ("attn_v", kv_width)):
            yield f"{prefix}.{name}.weight", _q8_0(generator, rows, width)
            yield f"{prefix}.{name}.bias", _bias(generator, rows)
        yield f"{prefix}.attn_output.weight", _q8_0(generator, width, width)
        yield f"{prefix}.ffn_gate.weight", _q8_0(generator, feed_forward, width)
        yield f"{prefix}.ffn_up.weight", _q8_0(generator, feed_forward, width)
        yield f"{prefix}.ffn_down.weight", _q8_0(generator, width, feed_forward)


def _bias(generator: np.random.Generator, width: int) -> Floats:
    return (0.1 * generator.standard_normal(width)).astype(np.float32)


def _q8_0(generator: np.random.Generator, rows: int, columns: int) -> Bytes:
    """A random Q8_0 matrix of deviation ``1 / sqrt(columns)``: raw bytes ``[rows, bytes a row]``.

    Blocks are drawn directly, integers and one common scale, which is far quicker than quantizing
    floats and just as random.
    """
    blocks = rows * columns // _BLOCK
    scale = np.float16(1 / (np.sqrt(columns) * _INT8_DEVIATION))
    raw = np.empty((blocks, 2 + _BLOCK), dtype=np.uint8)
    raw[:, :2] = np.frombuffer(scale.tobytes(), dtype=np.uint8)
    raw[:, 2:] = generator.integers(-127, 128, size=(blocks, _BLOCK), dtype=np.int8).view(np.uint8)
    return raw.reshape(rows, -1)


if __name__ == "__main__":
    print(ensure_model(*sys.argv[1:2]))
