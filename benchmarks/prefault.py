"""Prefault after a restore: the first pass over weights whose pages come one at a time.

    python -m benchmarks.prefault FILE

The restore is reproduced by a file that is in no cache, mapped without read-ahead: the touch of a
page waits for the disk. One thread reads all of it in order, as llama.cpp does for its first token,
while others read ahead of it.
"""

from __future__ import annotations

import argparse
import mmap
import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from shared.host.memory_map import Region
from shared.host.prefault import Prefault

_THREADS = (0, 1, 2, 4, 8, 16)
_ROUNDS = 3
_ROW = 2**16
"""Bytes that are computed with at a time."""


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


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    path = parser.parse_args(arguments).file
    size = path.stat().st_size
    found: dict[int, list[float]] = {n: [] for n in _THREADS}
    for _ in range(_ROUNDS):
        for n_threads, seconds in found.items():
            seconds.append(first_pass(path, n_threads))
    alone = statistics.median(found[0])
    print("| threads that read ahead | s | MB/s | times as fast |\n|---|---|---|---|")
    for n_threads, seconds in found.items():
        took = statistics.median(seconds)
        print(f"| {n_threads} | {took:.2f} | {size / took / 1e6:.0f} | {alone / took:.1f} |")


if __name__ == "__main__":
    main()
