"""Prefault after a restore: the first pass over weights whose pages come one at a time.

    python -m benchmarks.prefault FILE

The restore is reproduced by a file that is in no cache, mapped without read-ahead: the touch of a
page waits for the disk. One thread reads all of it in order, as llama.cpp does for its first token,
while others read ahead of it. Of a model (GGUF), llama.cpp itself evaluates a prompt, too, with
weights that have left the memory since it was loaded.
"""

from __future__ import annotations

import argparse
import ctypes
import mmap
import os
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from shared.engine.config import EngineConfig
from shared.engine.llama.context import Batch
from shared.engine.llama.context_fit import new_context
from shared.engine.llama.model import Model
from shared.engine.llama.offload import Offload
from shared.engine.llama.tokenizer import as_tokens
from shared.host.memory_map import Region, mappings, regions_of
from shared.host.prefault import Prefault
from shared.models.files import GGUF_MAGIC

_THREADS = (0, 1, 2, 4, 8, 16)
_ROW = 2**16
"""Bytes that are computed with at a time."""
_PROMPT = 10
_libc = ctypes.CDLL(None, use_errno=True)


def first_pass(path: Path, n_threads: int) -> float:
    """Seconds for reading a file that is in no cache."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            mapped.madvise(mmap.MADV_RANDOM)
            data = np.frombuffer(mapped, np.uint8)
            address = data.ctypes.data
            prefault = Prefault([Region(address, address + data.size)], n_threads)
            started = time.perf_counter()
            prefault.start()
            for begin in range(0, data.size, _ROW):
                data[begin : begin + _ROW].max()
            seconds = time.perf_counter() - started
            prefault.stop()
            del data
    return seconds


class LazyModel:
    """A loaded model whose weights can be made to come from the disk again, page by page."""

    def __init__(self, path: Path) -> None:
        before = mappings()
        self._model = Model(path, offload=Offload(repack=False))
        self._regions = regions_of([path], [each for each in mappings() if each not in before])
        self._context, _ = new_context(self._model, EngineConfig(n_ctx=4096, n_parallel=1))
        self._path = path
        self._n_evaluated = 0

    def first_token(self, n_threads: int) -> float:
        """Seconds for the evaluation of a prompt, as a restored process has its weights."""
        self._forget()
        batch = Batch(_PROMPT)
        tokens = as_tokens(range(1000, 1000 + _PROMPT))
        batch.add_chunk(tokens, self._n_evaluated, 0, outputs="last")
        self._n_evaluated += _PROMPT
        prefault = Prefault(self._regions, n_threads)
        started = time.perf_counter()
        prefault.start()
        self._context.decode(batch)
        self._context.logits(1)
        seconds = time.perf_counter() - started
        prefault.stop()
        return seconds

    def _forget(self) -> None:
        """Have the weights in no page table and in no cache."""
        for region in self._regions:
            for advice in (mmap.MADV_DONTNEED, mmap.MADV_RANDOM):
                length = ctypes.c_size_t(region.end - region.start)
                assert _libc.madvise(ctypes.c_void_p(region.start), length, advice) == 0
        with self._path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--rounds", type=int, default=3, help="the tables give medians")
    options = parser.parse_args(arguments)
    path, rounds = options.file, options.rounds
    _measure("first pass", partial(first_pass, path), path, rounds)
    with path.open("rb") as file:
        is_model = file.read(len(GGUF_MAGIC)) == GGUF_MAGIC
    if is_model:
        _measure(
            f"first token after a prompt of {_PROMPT}", LazyModel(path).first_token, path, rounds
        )


def _measure(title: str, seconds_with: Callable[[int], float], path: Path, rounds: int) -> None:
    size = path.stat().st_size
    found: dict[int, list[float]] = {n: [] for n in _THREADS}
    for _ in range(rounds):
        for n_threads, seconds in found.items():
            seconds.append(seconds_with(n_threads))
    alone = statistics.median(found[0])
    print(f"{title}:\n")
    print("| threads that read ahead | s | MB/s | times as fast |\n|---|---|---|---|")
    for n_threads, seconds in found.items():
        took = statistics.median(seconds)
        print(f"| {n_threads} | {took:.2f} | {size / took / 1e6:.0f} | {alone / took:.1f} |")
    print()


if __name__ == "__main__":
    main()
