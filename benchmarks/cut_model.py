"""Cut the built-in model down to its first layer: a model whose computing is nearly free.

What it says makes no sense, which the time it takes does not depend on.
"""

import sys
from pathlib import Path

from gguf import GGUFReader, GGUFValueType, GGUFWriter

from benchmarks import CACHE_DIRECTORY

BUILTIN_MODEL = Path(__file__).parent.parent / "shared" / "models" / "builtin.gguf"
CUT_MODEL_PATH = CACHE_DIRECTORY / "builtin-one-layer.gguf"

_BLOCK_COUNT = "llama.block_count"
_WRITTEN_ANYWAY = ("GGUF.", "general.architecture")


def ensure_cut_model() -> Path:
    """The path of the one-layer model, made anew if the built-in model is newer."""
    path = CUT_MODEL_PATH
    if not path.exists() or path.stat().st_mtime < BUILTIN_MODEL.stat().st_mtime:
        print(f"making {path.name}", file=sys.stderr, flush=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_first_layer(GGUFReader(BUILTIN_MODEL), path)
    return path


def _write_first_layer(source: GGUFReader, path: Path) -> None:
    writer = GGUFWriter(path, "llama")
    for key, field in source.fields.items():
        if key.startswith(_WRITTEN_ANYWAY):
            continue
        kind = field.types[0]
        element = field.types[1] if kind == GGUFValueType.ARRAY else None
        value = 1 if key == _BLOCK_COUNT else field.contents()
        writer.add_key_value(key, value, kind, element)
    for tensor in source.tensors:
        if not tensor.name.startswith("blk.") or tensor.name.startswith("blk.0."):
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
