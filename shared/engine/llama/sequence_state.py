"""State of a sequence as llama.cpp serializes it, cut into ranges of tokens and put together again.

``llama_state_seq_get_data`` gives all cells of a sequence: 12.6 MB for 1,024 tokens of a model of
0.5 B parameters, in 5 ms. What is kept of a prompt are ranges of its tokens, so that prompts with
the same beginning have it once, and a longer one adds only its end. llama.cpp has no such ranges;
but the bytes of a cell lie at computable places, layer by layer.

A model without attention, or with a window of it, has no state of this kind: see `is_divisible`.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]

_BEGINNING = struct.Struct("<Ii")
"""A magic number and the sequence id."""
_COUNT = struct.Struct("<I")
_LAYERS = struct.Struct("<II")
"""Whether values are transposed, and the number of layers."""
_KEYS = struct.Struct("<iQ")
"""The type of keys, or of values that are not transposed, and the bytes of a cell."""
_VALUES = struct.Struct("<iII")
"""The type of transposed values, the bytes of a number, and the numbers of a cell."""
_CELL = np.dtype([("position", "<i4"), ("n_sequences", "<u4"), ("sequence", "<i4")])


class StateFormatError(Exception):
    """A state is not what this module knows how to cut."""


@dataclass(frozen=True, slots=True)
class _Tensor:
    """Keys or values of one layer: its header, and ``n_rows`` of ``width`` bytes for each cell.

    Where there are several rows, that is transposed values, all cells' first ones come first.
    """

    header: bytes
    width: int
    n_rows: int = 1

    @property
    def cell_size(self) -> int:
        return self.width * self.n_rows


@dataclass(frozen=True, slots=True)
class StateLayout:
    """Where the bytes of a cell lie in the state of a sequence."""

    magic: int
    layers: bytes
    tensors: tuple[_Tensor, ...]

    @property
    def cell_size(self) -> int:
        """Bytes of a token's keys and values in all layers."""
        return sum(tensor.cell_size for tensor in self.tensors)

    @property
    def identity(self) -> bytes:
        """The same for states whose bytes mean the same."""
        return self.layers + b"".join(tensor.header for tensor in self.tensors)

    @classmethod
    def of(cls, state: Bytes) -> StateLayout:
        """Read the layout from a state with cells; raises `StateFormatError`."""
        try:
            return cls._read(state.tobytes())
        except struct.error as error:
            raise StateFormatError(str(error)) from error

    @classmethod
    def _read(cls, state: bytes) -> StateLayout:
        magic, _ = _BEGINNING.unpack_from(state)
        n_cells, offset = _cells(state)
        offset += n_cells * _CELL.itemsize
        layers = state[offset : offset + _LAYERS.size]
        is_transposed, n_layers = _LAYERS.unpack_from(state, offset)
        if is_transposed > 1 or n_layers > len(state):
            raise StateFormatError(f"{n_layers} layers, transposed: {is_transposed}")
        offset += _LAYERS.size
        tensors: list[_Tensor] = []
        while offset < len(state) and len(tensors) < 2 * n_layers:
            if is_transposed and len(tensors) >= n_layers:
                _, width, n_rows = _VALUES.unpack_from(state, offset)
                size = _VALUES.size
            else:
                _, width = _KEYS.unpack_from(state, offset)
                n_rows, size = 1, _KEYS.size
            tensor = _Tensor(state[offset : offset + size], width, n_rows)
            tensors.append(tensor)
            offset += size + n_cells * tensor.cell_size
        if len(tensors) not in (n_layers, 2 * n_layers) or not n_layers:
            raise StateFormatError(f"{len(tensors)} tensors of {n_layers} layers")
        streams = state[offset:]
        if any(streams) or len(streams) % _COUNT.size:
            raise StateFormatError(f"{len(streams)} bytes too many")
        return cls(magic, layers, tuple(tensors))

    def divide(self, state: Bytes, ranges: Sequence[tuple[int, int]]) -> list[Bytes]:
        """The bytes of the tokens from each range's start to its end; copies.

        Raises `StateFormatError` for a state that has not just the cells of all positions from 0.
        """
        head = state[: 8 + 4 * 1024].tobytes()
        n_cells, offset = _cells(head)
        size = n_cells * _CELL.itemsize
        cells = state[offset : offset + size].view(_CELL)
        offset += size
        if state[offset : offset + len(self.layers)].tobytes() != self.layers:
            raise StateFormatError("other layers")
        offset += len(self.layers)
        order = _order(cells["position"])
        parts: list[list[Bytes]] = [[] for _ in ranges]
        for tensor in self.tensors:
            if state[offset : offset + len(tensor.header)].tobytes() != tensor.header:
                raise StateFormatError("another tensor")
            offset += len(tensor.header)
            size = n_cells * tensor.cell_size
            data = state[offset : offset + size].reshape(tensor.n_rows, n_cells, tensor.width)
            for part, (start, end) in zip(parts, ranges, strict=True):
                chosen = data[:, start:end] if order is None else data[:, order[start:end]]
                part.append(chosen.reshape(-1))
            offset += size
        return [np.concatenate(part) for part in parts]

    def join(self, ranges: Sequence[Bytes], n_streams: int) -> Bytes:
        """A state of what `divide` gave of consecutive ranges from position 0 on.

        ``n_streams``: parts of the KV cache that it is for, as `Context.n_streams` has them.
        """
        counts = [len(each) // self.cell_size for each in ranges]
        if any(len(r) != n * self.cell_size for r, n in zip(ranges, counts, strict=True)):
            raise StateFormatError("no whole number of cells")
        n_cells = sum(counts)
        cells = np.zeros(n_cells, dtype=_CELL)
        cells["position"] = np.arange(n_cells)
        cells["n_sequences"] = 1
        beginning = b"".join(
            (_BEGINNING.pack(self.magic, 0), _COUNT.pack(n_streams), _COUNT.pack(n_cells))
        )
        headers = sum(len(tensor.header) for tensor in self.tensors)
        size = len(beginning) + cells.nbytes + len(self.layers) + headers
        rest = bytes(_COUNT.size * (n_streams - 1))
        state = np.empty(size + n_cells * self.cell_size + len(rest), dtype=np.uint8)
        position = 0

        def put(part: bytes | Bytes) -> None:
            nonlocal position
            end = position + len(part)
            state[position:end] = np.frombuffer(part, dtype=np.uint8)
            position = end

        for part in (beginning, cells.view(np.uint8), self.layers):
            put(part)
        starts = [0] * len(ranges)
        for tensor in self.tensors:
            put(tensor.header)
            end = position + n_cells * tensor.cell_size
            data = state[position:end].reshape(tensor.n_rows, n_cells, tensor.width)
            first = 0
            for i, (each, count) in enumerate(zip(ranges, counts, strict=True)):
                stop = starts[i] + count * tensor.cell_size
                chunk = each[starts[i] : stop].reshape(tensor.n_rows, count, tensor.width)
                data[:, first : first + count] = chunk
                starts[i], first = stop, first + count
            position = end
        put(rest)
        return state


def _cells(state: bytes) -> tuple[int, int]:
    """The number of cells, and the offset of what is told of them.

    They are in one of the parts of the KV cache. For the others there is a count of 0 each.
    """
    offset = _BEGINNING.size
    (n_streams,) = _COUNT.unpack_from(state, offset)
    for _ in range(n_streams):
        offset += _COUNT.size
        (n_cells,) = _COUNT.unpack_from(state, offset)
        if n_cells:
            return n_cells, offset + _COUNT.size
    raise StateFormatError("no cells")


def _order(positions: npt.NDArray[np.int32]) -> npt.NDArray[np.intp] | None:
    """How to sort cells by position; None where they are sorted."""
    expected = np.arange(len(positions))
    if np.array_equal(positions, expected):
        return None
    order = np.argsort(positions)
    if not np.array_equal(positions[order], expected):
        raise StateFormatError("positions are missing")
    return order
