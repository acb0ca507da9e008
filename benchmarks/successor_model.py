"""Make the model to measure speculative decoding with: each token has one successor.

A model with random weights repeats nothing, and one that does is no model to publish figures of
unless everybody has the same. So this one has the shape of `make_model`'s and computes all that it
computes, but its layers add nothing (their output matrices are zero), and its output matrix is the
embedding with its rows moved: behind each word it expects another one, always the same. Whoever
knows the order (`Successors`) can write a prompt that has in it what the model will say.

A draft model for it has the same vocabulary and is a seventh as large as the one of 0.5 B. It knows
the order but for one word in 24, and a part of the words not at all.

    python -m benchmarks.successor_model [SHAPE]
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType, GGUFWriter

from benchmarks import CACHE_DIRECTORY
from benchmarks.make_model import (
    DEFAULT_SHAPE,
    SHAPES,
    Shape,
    add_hyperparameters,
    add_tokenizer,
    tensors,
)
from benchmarks.vocabulary import CONTROL_TOKENS, SPACE, build_vocabulary
from benchmarks.words import SEED

DRAFT_MODEL_PATH = CACHE_DIRECTORY / "qwen2-shaped-draft-successors-q8_0.gguf"

KNOWN_PART = 0.75
"""Of the words in their order, those whose successors the draft model knows."""
_WRONG_EVERY = 24
"""Words of these of which it expects another one behind one."""
_DRAFT_SHAPE = Shape(layers=4, width=256, heads=4, feed_forward=1024)

_WORD_LENGTHS = range(4, 12)
"""Characters of the words that are said, the space included."""


class Successors:
    """The words in the order in which the model says them; behind the last comes the first."""

    def __init__(self) -> None:
        tokens = build_vocabulary().tokens
        self._tokens = tokens
        ids = [
            i
            for i, token in enumerate(tokens)
            if token.startswith(SPACE) and len(token) in _WORD_LENGTHS and token[1:].isalpha()
        ]
        self.ids: npt.NDArray[np.int64] = np.random.default_rng(SEED).permutation(ids)

    def words(self, start: int, count: int) -> list[str]:
        """``count`` words from place ``start`` on, each with its space."""
        places = np.arange(start, start + count) % len(self.ids)
        return [" " + self._tokens[i][1:] for i in self.ids[places]]


def ensure_model(shape: str = DEFAULT_SHAPE) -> Path:
    """The model of a shape in `SHAPES`, made first if the file isn't there. Takes about 10 s."""
    path = CACHE_DIRECTORY / f"qwen2-shaped-{shape}-successors-q8_0.gguf"
    return _ensure(path, SHAPES[shape], Successors().ids)


def ensure_draft_model(path: Path = DRAFT_MODEL_PATH) -> Path:
    """The same of the draft model."""
    ids = Successors().ids
    n_known = int(KNOWN_PART * len(ids))
    believed = ids.copy()
    believed[n_known:] = np.random.default_rng(SEED).permutation(ids[n_known:])
    wrong = np.arange(_WRONG_EVERY, n_known, _WRONG_EVERY)
    believed[wrong] = np.roll(believed[wrong], 1)
    return _ensure(path, _DRAFT_SHAPE, ids, believed)


def _ensure(
    path: Path,
    shape: Shape,
    ids: npt.NDArray[np.int64],
    believed: npt.NDArray[np.int64] | None = None,
) -> Path:
    if not path.exists():
        print(f"making {path.name} (once)", file=sys.stderr, flush=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".unfinished")
        _write_model(unfinished, shape, ids, ids if believed is None else believed)
        unfinished.rename(path)
    return path


def _write_model(
    path: Path, shape: Shape, ids: npt.NDArray[np.int64], believed: npt.NDArray[np.int64]
) -> None:
    vocabulary = build_vocabulary()
    writer = GGUFWriter(path, "qwen2")
    add_hyperparameters(writer, shape)
    add_tokenizer(writer, vocabulary)
    for name, tensor in _tensors(shape, len(vocabulary.tokens), ids, believed):
        kind = GGMLQuantizationType.Q8_0 if tensor.dtype == np.uint8 else None
        writer.add_tensor(name, tensor, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _tensors(
    shape: Shape, n_vocab: int, ids: npt.NDArray[np.int64], believed: npt.NDArray[np.int64]
) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """Behind each of ``ids`` comes the one of ``believed`` at the next place."""
    for name, tensor in tensors(np.random.default_rng(SEED), n_vocab, shape):
        if name.endswith(("attn_output.weight", "ffn_down.weight")):
            yield name, np.zeros_like(tensor)
        elif name == "output_norm.weight":
            yield name, np.ones_like(tensor)
        else:
            yield name, tensor
        if name == "token_embd.weight":
            output = np.zeros_like(tensor)
            output[believed[1:]], output[believed[0]] = tensor[ids[:-1]], tensor[ids[-1]]
            output[-len(CONTROL_TOKENS) :] = 0
            yield "output.weight", output


if __name__ == "__main__":
    print(ensure_model(*sys.argv[1:2]), ensure_draft_model())
