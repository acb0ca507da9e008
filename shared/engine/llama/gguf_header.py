"""GGUF header: what a file says of itself, read before llama.cpp loads the model.

https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

Scalar = bool | int | float | str

_HEAD_BYTES = 2**17
"""What is read of a file. Models say what they are in some KiB, and then list their vocabulary."""
_STRING, _ARRAY = 8, 9
_NUMBERS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?"} | {
    10: "<Q",
    11: "<q",
    12: "<d",
}
"""The other types of values (gguf_type), as `struct` has them."""


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """``metadata``: single values, and the first element of arrays that have one.

    ``n_tensors`` is None where the file ends before it says so.
    """

    n_tensors: int | None = None
    metadata: Mapping[str, Scalar] = field(default_factory=dict)


def read_header(path: str | os.PathLike[str]) -> GgufHeader:
    """What the file's first 128 KiB say, as far as that can be read.

    All of a large vocabulary would take 0.1 s. What stands behind it, llama.cpp tells once the
    model is loaded, and what is damaged it refuses. Raises `OSError`.
    """
    with open(path, "rb") as file:
        reader = _Reader(file.read(_HEAD_BYTES))
    metadata: dict[str, Scalar] = {}
    n_tensors: int | None = None
    try:
        reader.skip(8)  # magic and version
        n_tensors = int(reader.number("<Q"))
        for _ in range(int(reader.number("<Q"))):
            key, value = reader.string(), reader.value()
            if value is not None:
                metadata[key] = value
    except (struct.error, KeyError):
        pass
    return GgufHeader(n_tensors, metadata)


class _Reader:
    """Reads values one after the other; raises `struct.error` at the end of what there is."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._position = 0

    def skip(self, n_bytes: int) -> None:
        self._position += n_bytes
        if self._position > len(self._content):
            raise struct.error("the end")

    def number(self, form: str) -> int | float:
        (value,) = struct.unpack_from(form, self._content, self._position)
        self._position += struct.calcsize(form)
        number: int | float = value
        return number

    def string(self) -> str:
        start = self._position + 8
        self.skip(8 + int(struct.unpack_from("<Q", self._content, self._position)[0]))
        return self._content[start : self._position].decode("utf-8", "replace")

    def value(self) -> Scalar | None:
        """A value of any type; raises `KeyError` for an unknown one."""
        kind = int(self.number("<I"))
        if kind != _ARRAY:
            return self._single(kind)
        kind, count = int(self.number("<I")), int(self.number("<Q"))
        first = self._single(kind) if count else None
        if kind == _STRING:
            for _ in range(count - 1):
                self.string()
        elif count:
            self.skip((count - 1) * struct.calcsize(_NUMBERS[kind]))
        return first

    def _single(self, kind: int) -> Scalar:
        return self.string() if kind == _STRING else self.number(_NUMBERS[kind])
