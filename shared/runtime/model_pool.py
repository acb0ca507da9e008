"""Model pool: own models of a server, loaded at the start or when a request first names them.

As many are loaded as there is memory for, or as a setting says. Where one more does not fit, the
least recently used makes room: at once if it is idle, else when the requests that it has by then
have ended. Those that come for it meanwhile wait until it is loaded again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING

from shared.protocol.errors import (
    APIError,
    model_stopped,
    model_unavailable,
    overloaded,
    shutting_down,
)
from shared.runtime.loader import ModelLoader
from shared.runtime.loading_turns import LoadingTurns
from shared.runtime.pooled_model import PooledModel, Waiting, still_loading

if TYPE_CHECKING:
    from shared.config.settings import Settings
    from shared.runtime.served_model import ServedModel

_UNUSED_SECONDS = 5.0
"""That the end of a server waits for the last threads of requests that were cut off."""

_log = logging.getLogger("pilotlight.models")


class ModelPool:
    """All own models of a server. The first one is served to requests that name none."""

    def __init__(self, settings: Settings, loader: ModelLoader) -> None:
        """``loader`` is the default model's, which is started elsewhere."""
        self._models = [
            PooledModel(own, ModelLoader(own) if index else loader)
            for index, own in enumerate(settings.own.values())
        ]
        self._by_name = {name: model for model in self._models for name in model.names}
        self._at_start = [
            model for model in self._models[1:] if model.name in settings.loaded_at_start
        ]
        self._starting = [self.default, *self._at_start]
        self._turns = LoadingTurns(self._models, settings.models_max or len(self._models))
        self._changed = self._turns.changed

    def __iter__(self) -> Iterator[PooledModel]:
        return iter(self._models)

    def __len__(self) -> int:
        return len(self._models)

    @property
    def default(self) -> PooledModel:
        """The model of requests that name none."""
        return self._models[0]

    def get(self, name: str) -> PooledModel | None:
        """The model with a name, whichever of its names it is."""
        return self._by_name.get(name)

    def loaded(self) -> list[ServedModel]:
        """The models that are loaded."""
        return [each.loader.served for each in self._models if each.loader.served is not None]

    def start(self) -> None:
        """Begin to load the models that are to be loaded at the start, after the default one."""
        if len(self._models) > 1:
            self._turns.begin_with(self.default)
        for model in self._at_start:
            self._turns.load(model)

    def wait(self) -> ServedModel:
        """The default model, once all that `start` loads is there; raises what loading raised."""
        served = self.default.loader.wait()
        for model in self._at_start:
            if (loading := model.loading) is not None:
                loading.result()
        if self.error is not None:
            raise self.error
        return served

    @property
    def error(self) -> Exception | None:
        """Why a model can't be loaded that the start waits for."""
        errors = (model.loader.error for model in self._starting)
        return next((error for error in errors if error is not None), None)

    def watch(self, watch: Callable[[ServedModel], None]) -> None:
        """Call ``watch`` with each model that is loaded besides the default one at the start."""
        self._turns.watch(watch)

    def check_started(self) -> None:
        """Raise `APIError` 503 while what is loaded at the start is not ready, 500 if it failed."""
        while self._starting:
            model = self._starting[0]
            if model.loader.loaded is None:
                has_failed = model.loader.error is not None
                raise model_unavailable() if has_failed else still_loading(model)
            del self._starting[0]

    async def use(self, model: PooledModel, until: float | None) -> ServedModel:
        """The loaded model, which stays until `release` is called once.

        ``until``: when its request's time is over, on `time.monotonic`'s clock. Raises `APIError`
        429 where too many wait for it, 500 if it can't be loaded, 503 if it is not loaded in time.
        """
        while True:
            with self._changed:
                served = model.loader.served
                if served is not None and not model.is_leaving:
                    if not served.engine.is_alive:
                        raise model_stopped()
                    model.n_users += 1
                    model.last_used = time.monotonic()
                    return served
                if self._turns.is_ending:
                    raise shutting_down()
                loading = self._turns.loading_of(model)
                if len(model.waiting) >= model.settings.max_queue:
                    raise overloaded(
                        f"{len(model.waiting)} requests already wait for the model to be loaded. "
                        "Try again in a moment."
                    )
                waiting = Waiting()
                model.waiting.append(waiting)
            loading.add_done_callback(waiting.wake)
            try:
                await waiting.wait(until)
            except BaseException as error:
                self._give_up(model, waiting)
                if isinstance(error, TimeoutError):
                    raise still_loading(model) from None
                raise
            if waiting.served is not None:
                return waiting.served
            self._give_up(model, waiting)

    def hold(self, model: PooledModel) -> None:
        """Keep a model that is loaded until `release` is called once."""
        with self._changed:
            model.n_users += 1

    def is_cold(self, model: PooledModel) -> bool:
        """Whether a request for the model would wait; then loading begins, if it has not."""
        with self._changed:
            if model.loader.served is not None and not model.is_leaving:
                return False
            if model not in self._starting:
                with suppress(APIError):  # it has just failed
                    self._turns.loading_of(model)
            return True

    def release(self, model: PooledModel) -> None:
        """Let go of a model that `use` gave."""
        with self._changed:
            model.n_users -= 1
            self._changed.notify_all()

    def _give_up(self, model: PooledModel, waiting: Waiting) -> None:
        with self._changed:
            if waiting.served is None:
                model.waiting.remove(waiting)
                return
        self.release(model)

    def abandon(self) -> None:
        """Load nothing more, and refuse who waits for it: the process ends."""
        with self._changed:
            self._turns.end()
            for waiting in chain.from_iterable(model.waiting for model in self._models):
                waiting.wake()
        for model in self._models:
            model.loader.abandon()

    @property
    def is_abandoned(self) -> bool:
        """Whether the process ends while a model is still loading."""
        return any(model.loader.is_abandoned for model in self._models)

    def close(self) -> None:
        """Free all models."""
        self.abandon()
        is_abandoned = self.is_abandoned
        self._turns.close(wait=not is_abandoned)
        for model in self._models:
            if self._is_unused(model):
                model.loader.close()
            else:  # a thread that still reads it would take the process along
                _log.error("the model %s is still in use: it is not freed", model.name)

    def _is_unused(self, model: PooledModel) -> bool:
        """Wait for a model's last requests; whether they have ended."""
        with self._changed:
            return self._changed.wait_for(lambda: not model.n_users, _UNUSED_SECONDS)
