"""The built-in model with other metadata: what models with other habits look like."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gguf import GGUFReader, GGUFValueType, GGUFWriter

from shared.models.sources import BUILTIN_PATH

_WRITTEN_ANYWAY = ("GGUF.", "general.architecture")


def write_variant(
    path: Path, metadata: Mapping[str, int | bool | str], *, tensors_per_file: int = 0
) -> Path:
    """A copy of the built-in model at ``path`` with ``metadata`` added or replaced.

    With ``tensors_per_file`` it is split, and ``path`` is what the files' names derive from.
    """
    source = GGUFReader(BUILTIN_PATH)
    writer = GGUFWriter(path, "llama", split_max_tensors=tensors_per_file)
    for key, field in source.fields.items():
        if not key.startswith(_WRITTEN_ANYWAY) and key not in metadata:
            kind = field.types[0]
            element = field.types[1] if kind == GGUFValueType.ARRAY else None
            writer.add_key_value(key, field.contents(), kind, element)
    for key, value in metadata.items():
        if isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        else:
            writer.add_string(key, value)
    for tensor in source.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_split(directory: Path) -> list[Path]:
    """The built-in model in several files."""
    write_variant(directory / "split.gguf", {}, tensors_per_file=16)
    return sorted(directory.glob("split-*.gguf"))
