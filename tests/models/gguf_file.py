"""GGUF files with anything in them, also what no writer would write.

https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Self

from shared.models.sources import BUILTIN_PATH

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
"""Types of values (gguf_type)."""
_FORMATS = dict(enumerate(["B", "b", "H", "h", "I", "i", "f", "B", "", "", "Q", "q", "d"]))


@dataclass(frozen=True)
class Value:
    """A value of the metadata; ``items``: the type of an array's elements.

    ``length`` is what an array or a string says its length is, if not the truth.
    """

    type: int
    data: Any
    items: int = U32
    length: int | None = None

    def encoded(self) -> bytes:
        return _encoded(self.type, self.data, self.items, self.length)


@dataclass(frozen=True)
class Tensor:
    """What a file says of a tensor; ``n_bytes`` of data follow for it."""

    name: str
    shape: list[int]
    type: int
    offset: int
    n_dims: int | None = None


@dataclass
class GgufFile:
    """The parts of a file, in its order; counts are what it says, if not the truth."""

    metadata: dict[str, Value]
    tensors: list[Tensor]
    data: bytes = b""
    version: int = 3
    magic: bytes = b"GGUF"
    n_tensors: int | None = None
    n_metadata: int | None = None
    alignment: int = 32

    @classmethod
    def builtin(cls) -> Self:
        """The built-in model; what it holds is the caller's to replace, not to change."""
        metadata, tensors, data = _builtin()
        return cls(dict(metadata), list(tensors), data)

    def with_(self, **metadata: Value) -> Self:
        return replace(self, metadata={**self.metadata, **metadata})

    def encoded(self) -> bytes:
        head = self.magic + struct.pack(
            "<IQQ",
            self.version,
            len(self.tensors) if self.n_tensors is None else self.n_tensors,
            len(self.metadata) if self.n_metadata is None else self.n_metadata,
        )
        for name, value in self.metadata.items():
            head += _string(name) + struct.pack("<I", value.type) + value.encoded()
        for tensor in self.tensors:
            n_dims = len(tensor.shape) if tensor.n_dims is None else tensor.n_dims
            head += _string(tensor.name) + struct.pack("<I", n_dims)
            head += b"".join(struct.pack("<Q", n % 2**64) for n in tensor.shape)
            head += struct.pack("<IQ", tensor.type, tensor.offset)
        return head + bytes(-len(head) % self.alignment) + self.data

    def write(self, path: Path) -> Path:
        path.write_bytes(self.encoded())
        return path


def _string(text: str | bytes, length: int | None = None) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(data) if length is None else length) + data


def _encoded(kind: int, data: Any, items: int, length: int | None = None) -> bytes:
    if kind == STRING:
        return _string(data, length)
    if kind == ARRAY:
        head = struct.pack("<IQ", items, len(data) if length is None else length)
        if items in (STRING, ARRAY):
            return head + b"".join(_encoded(items, item, U32) for item in data)
        return head + struct.pack(f"<{len(data)}{_FORMATS[items]}", *data)
    return struct.pack(f"<{_FORMATS[kind]}", data)


@cache
def _builtin() -> tuple[dict[str, Value], list[Tensor], bytes]:
    content = BUILTIN_PATH.read_bytes()
    reader = _Reader(content, 8)
    n_tensors, n_metadata = reader.number("Q"), reader.number("Q")
    metadata = dict(reader.entry() for _ in range(n_metadata))
    tensors = [reader.tensor() for _ in range(n_tensors)]
    start = -(-reader.position // 32) * 32
    return metadata, tensors, content[start:]


class _Reader:
    def __init__(self, content: bytes, position: int) -> None:
        self.content, self.position = content, position

    def number(self, form: str) -> Any:
        (value,) = struct.unpack_from(f"<{form}", self.content, self.position)
        self.position += struct.calcsize(form)
        return value

    def string(self) -> bytes:
        n = self.number("Q")
        self.position += n
        return self.content[self.position - n : self.position]

    def entry(self) -> tuple[str, Value]:
        name, kind = self.string().decode(), self.number("I")
        if kind != ARRAY:
            return name, Value(kind, self.value(kind))
        items, n = self.number("I"), self.number("Q")
        return name, Value(ARRAY, [self.value(items) for _ in range(n)], items)

    def value(self, kind: int) -> Any:
        return self.string() if kind == STRING else self.number(_FORMATS[kind])

    def tensor(self) -> Tensor:
        name, n = self.string().decode(), self.number("I")
        shape = [self.number("Q") for _ in range(n)]
        return Tensor(name, shape, self.number("I"), self.number("Q"))
