"""Loading of a served model's weights, with the imports that this takes and no others.

llama.cpp needs no interpreter while it loads. So what can be imported meanwhile is not imported
before: the engine, chat templates, the web framework.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from shared.engine.llama.errors import ModelLoadError
from shared.engine.llama.model import Model
from shared.engine.llama.model_fit import load_model
from shared.engine.llama.offload import Offload
from shared.host.snap_start import is_snapshot_being_made
from shared.models.errors import ModelSourceError
from shared.runtime import early_load

if TYPE_CHECKING:
    from shared.config.settings import Settings
    from shared.models.files import ModelFiles


def load_weights(
    settings: Settings,
    files: ModelFiles,
    n_gpu_layers: int,
    on_progress: Callable[[float], None],
) -> Model:
    """The model in ``files``, on the devices that ``settings`` name; raises `LlamaError`."""
    offload = Offload(
        n_gpu_layers=n_gpu_layers,
        split_mode=settings.split_mode,
        main_gpu=settings.main_gpu,
        tensor_split=tuple(settings.tensor_split),
    )
    return early_load.take(files.paths, offload, on_progress) or load_model(
        files.paths,
        offload,
        on_progress=on_progress,
        frees_files=bool(files.descriptors) and is_snapshot_being_made(),
    )


def load_own_model(
    settings: Settings, files: ModelFiles, on_progress: Callable[[float], None]
) -> Model:
    """The model in ``files``, loaded as ``settings`` have it.

    ``on_progress`` receives the loaded fraction, 0 to 1. Raises `ModelSourceError` and
    `shared.engine.llama.errors.LlamaError`.
    """
    try:
        return load_weights(settings, files, settings.n_gpu_layers, on_progress)
    except ModelLoadError as error:
        if not files.is_remote:
            raise
        # The file's path says nothing to somebody who named an object.
        raise ModelSourceError(f"can't load {settings.model}: {error.reason}") from error
