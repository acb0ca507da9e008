"""GPU offload: which part of a model is where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SplitMode = Literal["none", "layer", "row"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Offload:
    """Which part of a model goes to which GPU; no effect where there is none.

    ``n_gpu_layers``: layers on GPUs, negative for all. ``split_mode``: one GPU (``main_gpu``) takes
    all, or several share the layers, or the rows of each. ``tensor_split``: each GPU's proportion;
    by their free memory if empty. ``repack``: copy weights of the CPU into the order that its
    kernels read fastest, which takes as much memory again.
    """

    n_gpu_layers: int = -1
    split_mode: SplitMode = "layer"
    main_gpu: int = 0
    tensor_split: tuple[float, ...] = ()
    repack: bool = True
