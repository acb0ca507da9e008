"""Model pool: own models of a server, loaded at the start or when a request first names them.

As many are loaded as there is memory for, or as a setting says. Where one more does not fit, the
least recently used makes room: at once if it is idle, else when the requests that it has by then
have ended. Those that come for it meanwhile wait until it is loaded again.

Files are fetched side by side, so that a slow source holds up no other model. Then models take
turns: which of them fit is decided by the memory that is free.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
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
from shared.runtime.pooled_model import PooledModel, Waiting, still_loading

if TYPE_CHECKING:
    from shared.config.settings import Settings
    from shared.runtime.served_model import ServedModel

_RETRY_SECONDS = 30.0
"""From a failure to load a model to the next attempt."""

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
        self._most = settings.models_max or len(self._models)
        self._at_start = [
            model for model in self._models[1:] if model.name in settings.loaded_at_start
        ]
        self._starting = [self.default, *self._at_start]
        self._changed = threading.Condition()
        """Guards what is in the models, and tells when one gets idle."""
        self._turn: PooledModel | None = None
        """The model that room is made for, or that is being loaded from its files."""
        self._workers = ThreadPoolExecutor(len(self._models), "model-pool")
        self._is_ending = False
        self._unwatched: list[ServedModel] = []
        self._watch: Callable[[ServedModel], None] = self._unwatched.append

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
            self._turn = self.default
            self._submit(self.default, self._await_default)
        for model in self._at_start:
            self._submit(model, partial(self._load, model))

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
        with self._changed:
            self._watch = watch
            for served in self._unwatched:
                watch(served)
            self._unwatched.clear()

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
                if self._is_ending:
                    raise shutting_down()
                loading = self._wanted(model)
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
                    self._wanted(model)
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
            self._is_ending = True
            self._changed.notify_all()
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
        self._workers.shutdown(wait=not is_abandoned, cancel_futures=True)
        for model in self._models:
            if self._is_unused(model):
                model.loader.close()
            else:  # a thread that still reads it would take the process along
                _log.error("the model %s is still in use: it is not freed", model.name)

    def _is_unused(self, model: PooledModel) -> bool:
        """Wait for a model's last requests; whether they have ended."""
        with self._changed:
            return self._changed.wait_for(lambda: not model.n_users, _UNUSED_SECONDS)

    def _wanted(self, model: PooledModel) -> Future[None]:
        """The model's loading, begun if need be; raises `APIError` 500 soon after a failure."""
        if model.loading is not None:
            return model.loading
        failed_at = model.failed_at
        if failed_at is not None and time.monotonic() < failed_at + _RETRY_SECONDS:
            raise model_unavailable()
        return self._submit(model, partial(self._load, model))

    def _submit(self, model: PooledModel, work: Callable[[], None]) -> Future[None]:
        def run() -> None:
            try:
                work()
            finally:
                with self._changed:
                    model.loading = None

        with self._changed:  # else it could have ended by then
            model.loading = loading = self._workers.submit(run)
        return loading

    def _await_default(self) -> None:
        try:
            self.default.loader.has_ended()
        finally:
            self._end_turn(self.default)

    def _load(self, model: PooledModel) -> None:
        """Load a model, on a worker's thread; whatever goes wrong is noted and in the log."""
        try:
            self._load_in_turn(model)
        finally:
            self._end_turn(model)

    def _load_in_turn(self, model: PooledModel) -> None:
        """Load a model whose turn comes when its files are there, and is the caller's to end."""
        while True:
            with self._changed:  # what makes room for another one is freed before
                self._changed.wait_for(lambda: not model.is_leaving or self._is_ending)
                if self._is_ending:
                    return
                model.loader = loader = ModelLoader(model.settings, partial(self._make_room, model))
            loader.start()
            try:
                served = loader.wait()
            except Exception as error:
                if self._is_ending:
                    return
                if _is_shortage(error) and self._unload_one():
                    continue
                model.failed_at = time.monotonic()
                _log.error("the model %s could not be loaded: %s", model.name, error)
                return
            with self._changed:
                self._watch(served)
                model.failed_at = None
                # Theirs from now on: else a model that is loaded next could take its place first.
                for each in model.waiting:
                    each.served = served
                model.n_users += len(model.waiting)
                model.last_used = time.monotonic()
                model.waiting.clear()
            return

    def _end_turn(self, model: PooledModel) -> None:
        with self._changed:
            if self._turn is model:
                self._turn = None
                self._changed.notify_all()

    def _make_room(self, model: PooledModel) -> None:
        """Unload what is above the limit, once a model's files are there and it is its turn.

        Raises `APIError` 503 where the process ends meanwhile.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._turn in (None, model) or self._is_ending)
            if not self._is_ending:
                self._turn = model
        while len(self.loaded()) >= self._most and self._unload_one():
            pass
        if self._is_ending:  # nothing has been unloaded: there may be no memory for it
            raise shutting_down()

    def _unload_one(self) -> bool:
        """Unload the least recently used model, an idle one if there is one; False if none is."""
        with self._changed:
            loaded = [each for each in self._models if each.loader.served is not None]
            if not loaded:
                return False
            leaving = min(loaded, key=lambda each: (each.n_users > 0, each.last_used))
            leaving.is_leaving = True
            self._changed.wait_for(lambda: not leaving.n_users or self._is_ending)
            if self._is_ending:
                return False
        _log.info("model %s makes room for another one", leaving.name)
        try:
            leaving.loader.close()
        finally:
            with self._changed:
                leaving.is_leaving = False
                self._changed.notify_all()
        return True


def _is_shortage(error: BaseException) -> bool:
    from shared.engine.llama.errors import MemoryShortageError

    return isinstance(error, MemoryShortageError) or isinstance(
        error.__cause__, MemoryShortageError
    )
