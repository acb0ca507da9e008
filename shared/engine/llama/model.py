"""Model of llama.cpp: a GGUF file's weights, tokenizer and metadata, loaded."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from shared.engine.llama.abort import saying
from shared.engine.llama.bindings import lib
from shared.engine.llama.errors import ModelLoadError
from shared.engine.llama.gguf_header import read_header
from shared.engine.llama.log import forget_errors, last_errors, logged_ends, recorded_log
from shared.engine.llama.log_sizes import MissingSizeError, SizeLine, read_sizes
from shared.engine.llama.model_kind import file_problem, kind_of_other
from shared.engine.llama.offload import Offload, SplitMode
from shared.engine.llama.tokenizer import Tokenizer
from shared.engine.llama.vocabulary_check import vocabulary_problem
from shared.host.memory_map import (
    Mapping,
    Region,
    allocated,
    mappings,
    regions_of,
    still_readable,
)
from shared.host.prefault import Prefault

lib.llama_backend_init()


_WEIGHTS = SizeLine("load_tensors: NAME model buffer size = SIZE MiB")
"""One for each buffer; every model has one at least."""
_SPLIT_MODES: dict[SplitMode, int] = {"none": 0, "layer": 1, "row": 2}
_DEFAULT_OFFLOAD = Offload()
_LARGE = 16 * 2**20
"""Bytes from which on a buffer of weights is looked for among what was allocated."""
_ROUNDED = 2**20
"""Bytes that a buffer's size in the log may be off."""
_PREFAULT_THREADS = 16


class Model(Tokenizer):
    """A loaded GGUF model: weights, vocabulary and metadata. Immutable and safe to share.

    Raises `ModelLoadError` when llama.cpp can't load it.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *further_paths: str | os.PathLike[str],
        offload: Offload = _DEFAULT_OFFLOAD,
        on_progress: Callable[[float], bool | None] | None = None,
        is_copied: bool = False,
    ) -> None:
        """Load ``path``, and ``further_paths``: the other files of a split model, in order.

        - ``on_progress`` receives the loaded fraction, 0 to 1, on the calling thread, and ends
          the load by returning False.
        - ``is_copied``: nothing of the files is mapped, so they may go.
        """
        self.path = Path(path)
        self._prefault: Prefault | None = None
        self._check_header()
        params = lib.llama_model_default_params()
        params.n_gpu_layers = offload.n_gpu_layers
        params.split_mode = _SPLIT_MODES[offload.split_mode]
        params.main_gpu = offload.main_gpu
        params.tensor_split = self._shares(offload.tensor_split)
        if is_copied:
            params.load_mode = lib.LLAMA_LOAD_MODE_NONE
        params.use_extra_bufts = offload.repack and not has_amx_kernels()

        @lib.llama_progress_callback  # type: ignore[untyped-decorator]
        def progress(fraction: float, _user_data: object) -> bool:
            return on_progress is None or on_progress(fraction) is not False

        params.progress_callback = progress
        forget_errors()
        paths = [os.fsencode(each) for each in (path, *further_paths)]
        # Given just one, llama.cpp would look for the others of a split model by their names.
        before = mappings()
        with recorded_log() as lines, saying(f"can't load {path}"):
            self._model = lib.llama_model_load_from_splits(
                (ctypes.c_char_p * len(paths))(*paths), len(paths), params
            )
        if not self._model:
            raise ModelLoadError(self.path, last_errors())
        super().__init__(lib.llama_model_get_vocab(self._model))
        self.logged_ends = logged_ends(lines)
        self._check_loaded()
        self.offload = offload
        self.buffers = self._read_buffers(lines)
        """Bytes of weights by where they are: ``CPU_Mapped``, ``CPU_REPACK``, ``CUDA0``..."""
        after = mappings()
        files = [] if is_copied else [Path(each) for each in (path, *further_paths)]
        self._regions = [
            *regions_of(files, [each for each in after if each not in before]),
            *self._allocated_weights(before, after),
        ]
        self.modified = os.stat(path).st_mtime
        """When the (first) file was written, in seconds since 1970."""
        self.n_ctx_train: int = lib.llama_model_n_ctx_train(self._model)
        self.n_params: int = lib.llama_model_n_params(self._model)
        self.size: int = lib.llama_model_size(self._model)
        """Bytes of all tensors."""
        self.n_swa: int = lib.llama_model_n_swa(self._model)
        """Tokens in the window that attention slides over in some layers; 0 where there is none."""
        self.n_heads: int = lib.llama_model_n_head(self._model)
        self.n_layers: int = lib.llama_model_n_layer(self._model)
        self.n_gpu_layers = _offloaded_layers(offload.n_gpu_layers, self.n_layers)
        """Of ``n_layers`` and the output's one."""
        is_hybrid = bool(lib.llama_model_is_hybrid(self._model))
        # A recurrent state can't be cut back to a prefix, so such models don't share prompts.
        self.is_recurrent = is_hybrid or bool(lib.llama_model_is_recurrent(self._model))
        self.has_kv_cache = is_hybrid or not self.is_recurrent

    def _check_header(self) -> None:
        """Raise `ModelLoadError` for what llama.cpp would end the process for, or misunderstand."""
        try:
            problem = file_problem(read_header(self.path))
        except OSError as error:
            problem = str(error)
        if problem:
            raise ModelLoadError(self.path, problem)

    def _check_loaded(self) -> None:
        """Raise `ModelLoadError` for what the header's beginning didn't tell."""
        kind = kind_of_other(self.metadata())
        if problem := f"it is {kind}" if kind else vocabulary_problem(self.vocab):
            self.close()
            raise ModelLoadError(self.path, problem)
        with saying(f"can't tokenize with {self.path}"):
            self.tokenize("Hello")

    def _read_buffers(self, log: Sequence[str]) -> dict[str, int]:
        try:
            sizes = read_sizes(log, _WEIGHTS)
        except MissingSizeError as error:
            self.close()
            raise ModelLoadError(self.path, str(error)) from error
        found: dict[str, int] = {}
        for name, n_bytes in sizes:
            found[name] = found.get(name, 0) + int(n_bytes)
        return found

    def _allocated_weights(
        self, before: Sequence[Mapping], after: Sequence[Mapping]
    ) -> list[Region]:
        """Where weights are that were copied into the host's memory.

        Told from what other threads allocated meanwhile by their size: what is that large and comes
        and goes is nothing in this process.
        """
        sizes = [n for name, n in self.buffers.items() if name in ("CPU", "CPU_REPACK")]
        large = [n for n in sizes if n >= _LARGE]
        return allocated(before, after, min(large) - _ROUNDED) if large else []

    def _shares(self, proportions: Sequence[float]) -> Any:
        """The array that ``tensor_split`` points to; None leaves it to llama.cpp."""
        n_devices = lib.llama_max_devices()
        if len(proportions) > n_devices:
            raise ModelLoadError(
                self.path, f"--tensor-split is for {len(proportions)} GPUs, of {n_devices} at most"
            )
        return (ctypes.c_float * n_devices)(*proportions) if proportions else None

    def prefault(self) -> Prefault:
        """Have the weights read that are in the host's memory, ahead of who needs them first.

        What other threads allocated while the model was loaded is among the regions. They may have
        freed it since, and reading there would end the process.
        """
        if self._prefault is None:
            regions = still_readable(self._regions, mappings())
            self._prefault = Prefault(regions, _PREFAULT_THREADS)
            self._prefault.start()
        return self._prefault

    def close(self) -> None:
        """Free the weights. Contexts made from the model must be closed before."""
        if self._prefault is not None:
            self._prefault.stop()
        self._regions = []
        if self._model:
            lib.llama_model_free(self._model)
            self._model = None

    @property
    def handle(self) -> Any:
        """The ``llama_model *`` for calls that this wrapper does not cover."""
        return self._model

    @property
    def description(self) -> str:
        """llama.cpp's own short name, such as ``llama 0.5B Q8_0``."""
        buffer = ctypes.create_string_buffer(256)
        lib.llama_model_desc(self._model, buffer, len(buffer))
        text = buffer.value.decode("utf-8", "replace")
        return text.replace(" ?B ", f" {_size_label(self.n_params)} ", 1)  # a size it doesn't know

    @property
    def chat_template(self) -> str | None:
        """The Jinja template in the file's ``tokenizer.chat_template``, if it has one."""
        template = lib.llama_model_chat_template(self._model, None)
        return template.decode("utf-8") if template else None

    def head_width(self, kind: Literal["key", "value"]) -> int:
        """Numbers in one head's keys or values."""
        name = f"{self._value('general.architecture')}.attention.{kind}_length"
        width = self._value(name)
        if width.isdigit():
            return int(width)
        embedding: int = lib.llama_model_n_embd(self._model)
        return embedding // max(self.n_heads, 1)

    @property
    def cell_bytes(self) -> int:
        """Bytes of a token's keys and values in all layers, of 16 bits each."""
        n_heads: int = lib.llama_model_n_head_kv(self._model)
        numbers = self.head_width("key") + self.head_width("value")
        return 2 * self.n_layers * n_heads * numbers

    @property
    def logits_factor(self) -> float:
        """What a token with logits takes, by one without them, where batches are large.

        The output matrix is a good part of a small model with a large vocabulary. It is taken to
        be that of the embeddings, too: of what has two of them this is less than it is.
        """
        embedding: int = lib.llama_model_n_embd(self._model)
        return self.n_params / max(self.n_params - embedding * self.n_vocab, 1)

    @property
    def n_ctx_original(self) -> int:
        """Tokens up to which rotary embeddings are as trained; llama.cpp scales them beyond."""
        name = f"{self._value('general.architecture')}.rope.scaling.original_context_length"
        original = self._value(name)
        return int(original) if original.isdigit() else self.n_ctx_train

    def _value(self, key: str) -> str:
        """A metadata value, as llama.cpp prints it; empty if there is none."""
        buffer = ctypes.create_string_buffer(256)
        lib.llama_model_meta_val_str(self._model, key.encode(), buffer, len(buffer))
        return buffer.value.decode("utf-8", "replace")

    def metadata(self) -> dict[str, str]:
        """All scalar GGUF metadata, values as llama.cpp prints them."""
        found: dict[str, str] = {}
        for i in range(lib.llama_model_meta_count(self._model)):
            key = self._meta_string(lib.llama_model_meta_key_by_index, i)
            found[key] = self._meta_string(lib.llama_model_meta_val_str_by_index, i)
        return found

    def _meta_string(self, read: Callable[..., int], index: int) -> str:
        buffer = ctypes.create_string_buffer(1024)
        length = read(self._model, index, buffer, len(buffer))
        if length >= len(buffer):
            buffer = ctypes.create_string_buffer(length + 1)
            read(self._model, index, buffer, len(buffer))
        return buffer.value.decode("utf-8", "replace")


def _size_label(n_params: int) -> str:
    """A number of parameters as models' names have it: ``1.2M``, ``7.6B``."""
    for unit, size in (("T", 10**12), ("B", 10**9), ("M", 10**6)):
        if n_params >= size:
            return f"{n_params / size:.1f}{unit}"
    return f"{n_params / 1000:.1f}K"


def _offloaded_layers(asked: int, n_layers: int) -> int:
    if not lib.llama_supports_gpu_offload():
        return 0
    return n_layers + 1 if asked < 0 else min(asked, n_layers + 1)


def has_amx_kernels() -> bool:
    """Whether llama.cpp was compiled with AMX kernels, which must be avoided.

    It reaches them through its repacked weight buffers. GCC 12 compiles them wrongly (its intrinsic
    does not say that it reads all 64 bytes of a tile configuration), and the process dies of a
    protection fault on the first Q8_0 matrix: llama.cpp's issue 20824. `tools/bootstrap.py` builds
    without them; a wheel from elsewhere may have them.
    """
    return b"AMX_INT8 = 1" in lib.llama_print_system_info()
