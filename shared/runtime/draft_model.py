"""Draft model of a served model, as its settings have it."""

from __future__ import annotations

from collections.abc import Callable

from shared.config.settings import Settings
from shared.engine.llama.errors import ModelLoadError
from shared.engine.llama.model import Model
from shared.engine.speculation.compatibility import draft_problem
from shared.engine.speculation.options import SpeculationOptions
from shared.models.files import ModelFiles
from shared.models.sources import ModelSourceError
from shared.runtime.model_loading import load_weights


def speculation_options(settings: Settings) -> SpeculationOptions | None:
    """How drafts are made; None where there are none."""
    if "none" in settings.spec_type:
        return None
    return SpeculationOptions(
        n_max=settings.spec_draft_n_max,
        n_min=settings.spec_draft_n_min,
        p_min=settings.spec_draft_p_min,
        looks_up="ngram-simple" in settings.spec_type,
        has_draft_model=settings.model_draft is not None,
        n_threads=settings.spec_draft_threads,
    )


def load_draft_model(
    settings: Settings, files: ModelFiles, target: Model, on_progress: Callable[[float], None]
) -> Model:
    """The model in ``files``, which drafts for ``target``; raises `ModelSourceError`.

    ``on_progress`` receives the loaded fraction, 0 to 1.
    """
    try:
        model = load_weights(settings, files, settings.spec_draft_ngl, on_progress)
    except ModelLoadError as error:
        raise _problem(settings, error.reason) from error
    if problem := draft_problem(target, model):
        model.close()
        raise _problem(settings, problem)
    return model


def _problem(settings: Settings, reason: str) -> ModelSourceError:
    return ModelSourceError(f"can't use the draft model {settings.model_draft}: {reason}")
