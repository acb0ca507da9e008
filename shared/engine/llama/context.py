"""``llama_context`` and its batches, as NumPy views on llama.cpp's memory."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

import numpy as np
import numpy.typing as npt

from shared.engine.llama.attention import fuses_attention
from shared.engine.llama.bindings import lib
from shared.engine.llama.errors import LlamaError
from shared.engine.llama.log import forget_errors, last_errors
from shared.engine.llama.memory import CACHE_BLOCK, CacheType, is_quantized
from shared.engine.llama.model import Model
from shared.engine.llama.sequence_state import Bytes, StateLayout
from shared.engine.llama.tokenizer import TokenArray

LogitsArray = npt.NDArray[np.float32]

OutputTokens = Literal["all", "last", "none"]
"""Which tokens of a chunk get logits."""


class KVCacheFullError(LlamaError):
    """``llama_decode`` found no free KV cells for the batch; the memory is as it was before."""


class Batch:
    """A ``llama_batch`` whose arrays are NumPy arrays.

    Each token belongs to one sequence. ``seq_id`` is an array of pointers, all set once to
    consecutive cells of one NumPy array, so that a slice assignment fills it too.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.size = 0
        self.n_outputs = 0
        """Tokens that get logits."""
        self._token = np.zeros(capacity, dtype=np.int32)
        self._pos = np.zeros(capacity, dtype=np.int32)
        self._n_seq_id = np.ones(capacity, dtype=np.int32)
        self._seq_id = np.zeros(capacity, dtype=np.int32)
        self._seq_id_pointers = self._seq_id.ctypes.data + 4 * np.arange(capacity, dtype=np.uintp)
        self._output = np.zeros(capacity, dtype=np.int8)
        self.struct = lib.llama_batch(
            n_tokens=0,
            token=self._token.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)),
            embd=None,
            pos=self._pos.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)),
            n_seq_id=self._n_seq_id.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)),
            seq_id=self._seq_id_pointers.ctypes.data_as(
                ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))
            ),
            logits=self._output.ctypes.data_as(ctypes.POINTER(ctypes.c_int8)),
        )

    def clear(self) -> None:
        """Start a new batch."""
        self.size = self.n_outputs = 0

    def sequence_ids(self) -> TokenArray:
        """The sequence id of every token in the batch (a copy)."""
        return self._seq_id[: self.size].copy()

    def add_decodes(self, tokens: list[int], positions: list[int], seq_ids: list[int]) -> None:
        """Add one token for each of several sequences, all with logits."""
        start, end = self.size, self.size + len(tokens)
        self.n_outputs += len(tokens)
        if len(tokens) == 1:  # 0.5 us, where a list of one takes 3
            self._token[start] = tokens[0]
            self._pos[start] = positions[0]
            self._seq_id[start] = seq_ids[0]
            self._output[start] = 1
            self.size = end
            return
        self._token[start:end] = tokens
        self._pos[start:end] = positions
        self._seq_id[start:end] = seq_ids
        self._output[start:end] = 1
        self.size = end

    def advance(self, tokens: list[int]) -> None:
        """Let each token be the next one of its sequence; there is one of each."""
        if len(tokens) == 1:
            self._token[0] = tokens[0]
            self._pos[0] += 1
            return
        self._token[: self.size] = tokens
        self._pos[: self.size] += 1

    def add_chunk(
        self,
        tokens: TokenArray,
        position: int,
        seq_id: int,
        *,
        outputs: OutputTokens,
    ) -> None:
        """Add consecutive tokens of one sequence, from ``position`` on; ``outputs`` get logits."""
        start, end = self.size, self.size + len(tokens)
        self._token[start:end] = tokens
        self._pos[start:end] = np.arange(position, position + len(tokens), dtype=np.int32)
        self._seq_id[start:end] = seq_id
        self._output[start:end] = outputs == "all"
        if outputs == "all":
            self.n_outputs += len(tokens)
        elif outputs == "last":
            self._output[end - 1] = 1
            self.n_outputs += 1
        self.size = end


@dataclass(frozen=True, kw_only=True)
class ContextParams:
    """What a context is made with; names and units are those of ``llama_context_params``.

    ``kv_unified``: one pool of ``n_ctx`` cells for all sequences, else each sequence has
    ``n_ctx / n_seq_max`` cells of its own. ``flash_attn``: see `fuses_attention`. ``cache_type_k``,
    ``cache_type_v``: what keys and values are kept as.
    """

    n_ctx: int
    n_batch: int
    n_ubatch: int
    n_seq_max: int
    n_outputs_max: int
    n_threads: int
    n_threads_batch: int
    kv_unified: bool
    flash_attn: bool | None
    cache_type_k: CacheType = "f16"
    cache_type_v: CacheType = "f16"
    kv_offload: bool = True


_GGML_TYPES: dict[CacheType, int] = {
    **{"f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q5_0": 6, "q5_1": 7, "q8_0": 8},
    **{"iq4_nl": 20, "bf16": 30},
}
"""ggml_type; the bindings lack bf16's."""


def _check_cache_types(model: Model, params: ContextParams) -> None:
    """Raise `LlamaError` for what llama.cpp can't do, or would end the process for."""
    if is_quantized(params.cache_type_v) and params.flash_attn is False:
        raise LlamaError(
            f"values can't be kept as {params.cache_type_v} without flash attention: set "
            "--flash-attn true, or --cache-type-v f16"
        )
    for flag, cache_type, width in (
        ("--cache-type-k", params.cache_type_k, model.head_width("key")),
        ("--cache-type-v", params.cache_type_v, model.head_width("value")),
    ):
        if is_quantized(cache_type) and width % CACHE_BLOCK:
            raise LlamaError(
                f"{cache_type} has blocks of {CACHE_BLOCK} numbers, which the model's heads of "
                f"{width} can't be cut into: set {flag} f16"
            )


class Context:
    """A ``llama_context``: KV cache and compute buffers. Of one thread at a time."""

    def __init__(self, model: Model, params: ContextParams) -> None:
        raw = lib.llama_context_default_params()
        raw.n_ctx = params.n_ctx
        raw.n_batch = params.n_batch
        raw.n_ubatch = params.n_ubatch
        raw.n_seq_max = params.n_seq_max
        raw.n_outputs_max = params.n_outputs_max
        raw.n_threads = params.n_threads
        raw.n_threads_batch = params.n_threads_batch
        raw.kv_unified = params.kv_unified
        raw.type_k = _GGML_TYPES[params.cache_type_k]
        raw.type_v = _GGML_TYPES[params.cache_type_v]
        raw.offload_kqv = params.kv_offload
        if params.flash_attn is not None:
            raw.flash_attn_type = int(params.flash_attn)
        elif not fuses_attention(model, None, params.cache_type_v):
            raw.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_DISABLED
        _check_cache_types(model, params)
        raw.no_perf = True
        self.model = model
        forget_errors()
        self._context = lib.llama_init_from_model(model.handle, raw)
        if not self._context:
            reason = last_errors()
            raise LlamaError(f"can't create a context of {params.n_ctx} tokens: {reason}")
        self._memory = lib.llama_get_memory(self._context)
        self.n_ctx: int = lib.llama_n_ctx(self._context)
        self.n_ctx_seq: int = lib.llama_n_ctx_seq(self._context)
        """Cells that one sequence can have."""
        self.n_batch: int = lib.llama_n_batch(self._context)
        """Tokens in the largest batch: never more than there are cells."""
        self.n_ubatch: int = lib.llama_n_ubatch(self._context)
        """Those of them that are computed at once, at most."""
        self.n_outputs_max = params.n_outputs_max
        self.is_unified = params.kv_unified
        self.n_streams = 1 if params.kv_unified else params.n_seq_max
        """Parts that the cells are divided into."""
        self.state_layout: StateLayout | None = None
        """Where a token's bytes are in a sequence's state, if that is known and can be cut."""
        self._is_asynchronous = model.n_gpu_layers > 0
        self.before_decode: Callable[[], None] = lambda: None
        """Called right before the thread lets go of the interpreter, which others then have."""
        self._logits: dict[int, LogitsArray] = {}
        """By the number of rows; a view takes 2 us to make."""
        self._logits_address = 0

    def close(self) -> None:
        """Free the context."""
        if self._context:
            self._logits.clear()
            lib.llama_free(self._context)
            self._context = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def decode(self, batch: Batch) -> None:
        """Evaluate ``batch``; releases the GIL meanwhile.

        On a GPU ``llama_decode`` comes back before anything is computed. Whoever learns from what
        decodes take would see no time pass, and nobody has anything else to do meanwhile.

        Raises `KVCacheFullError` when there are no cells for it, `LlamaError` when llama.cpp fails.
        """
        if batch.n_outputs > self.n_outputs_max:  # llama.cpp would end the process
            raise LlamaError(
                f"a batch wants logits of {batch.n_outputs} tokens, and there is room for those of "
                f"{self.n_outputs_max}"
            )
        batch.struct.n_tokens = batch.size
        self.before_decode()
        status = lib.llama_decode(self._context, batch.struct)
        if status == 1:
            raise KVCacheFullError(f"no KV cells for a batch of {batch.size} tokens")
        if status != 0:
            reason = last_errors()
            raise LlamaError(f"llama_decode returned {status}: {reason}")
        if self._is_asynchronous:
            lib.llama_synchronize(self._context)

    def logits(self, n_outputs: int) -> LogitsArray:
        """The last decode's logits, shape ``(n_outputs, n_vocab)``, in the batch's order.

        A view on llama.cpp's memory: the next `decode` overwrites it.
        """
        pointer = lib.llama_get_logits(self._context)
        address = ctypes.addressof(pointer.contents)  # `cast` takes seven times as long
        if address != self._logits_address:
            self._logits.clear()
            self._logits_address = address
        logits = self._logits.get(n_outputs)
        if logits is None:
            raw = (ctypes.c_float * (n_outputs * self.model.n_vocab)).from_address(address)
            view = np.ctypeslib.as_array(raw)
            logits = self._logits[n_outputs] = view.reshape(n_outputs, self.model.n_vocab)
        return logits

    def remove_cells(self, seq_id: int, start: int = 0) -> bool:
        """Drop a sequence's cells from position ``start`` on; False where the memory can't."""
        return bool(lib.llama_memory_seq_rm(self._memory, seq_id, start, -1))

    def share_cells(self, source: int, target: int, n_tokens: int) -> bool:
        """Let ``target`` begin with the first ``n_tokens`` cells of ``source``.

        In a unified pool both use the same cells. Otherwise llama.cpp copies all cells of the
        sequence at the next decode. False where the memory can't be cut.
        """
        if self.is_unified:
            lib.llama_memory_seq_cp(self._memory, source, target, 0, n_tokens)
            return True
        lib.llama_memory_seq_cp(self._memory, source, target, -1, -1)
        return self.remove_cells(target, n_tokens)

    def positions(self, seq_id: int) -> tuple[int, int]:
        """The first and the last position that a sequence has cells for; -1 for none."""
        first: int = lib.llama_memory_seq_pos_min(self._memory, seq_id)
        last: int = lib.llama_memory_seq_pos_max(self._memory, seq_id)
        return first, last

    def read_state(self, seq_id: int) -> Bytes:
        """The cells of a sequence with what is in them (a copy); raises `LlamaError`."""
        size = lib.llama_state_seq_get_size(self._context, seq_id)
        state = np.empty(size, dtype=np.uint8)
        pointer = state.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
        if lib.llama_state_seq_get_data(self._context, pointer, size, seq_id) != size:
            raise LlamaError(f"the state of sequence {seq_id} can't be read: {last_errors()}")
        return state

    def write_state(self, seq_id: int, state: Bytes) -> bool:
        """Give a sequence the cells of ``state``, and no others; False where there is no room.

        Then it has none.
        """
        pointer = state.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
        size = lib.llama_state_seq_set_data(self._context, pointer, len(state), seq_id)
        if size != len(state):
            self.remove_cells(seq_id)
        return bool(size == len(state))
