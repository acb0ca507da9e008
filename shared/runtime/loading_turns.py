"""Turns of loading: models of a pool get memory one after the other, and others make room.

Files are fetched side by side, so that a slow source holds up no other model. Which of the models
fit is decided by the memory that is free, so from there on it is one model's turn.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from shared.protocol.errors import model_unavailable, shutting_down
from shared.runtime.loader import ModelLoader
from shared.runtime.pooled_model import PooledModel

if TYPE_CHECKING:
    from shared.runtime.served_model import ServedModel

_RETRY_SECONDS = 30.0
"""From a failure to load a model to the next attempt."""

_log = logging.getLogger("pilotlight.models")


class LoadingTurns:
    """Loads models on threads of their own, and unloads those that make room for them."""

    def __init__(self, models: Sequence[PooledModel], most: int) -> None:
        """``most`` of ``models`` are loaded at once."""
        self.changed = threading.Condition()
        """Guards what is in the models, and tells when one gets idle."""
        self._models = models
        self._most = most
        self._turn: PooledModel | None = None
        """The model that room is made for, or that is being loaded from its files."""
        self._workers = ThreadPoolExecutor(len(models), "model-pool")
        self.is_ending = False
        self._unwatched: list[ServedModel] = []
        self._watch: Callable[[ServedModel], None] = self._unwatched.append

    def watch(self, watch: Callable[[ServedModel], None]) -> None:
        """Call ``watch`` with each model that is loaded here."""
        with self.changed:
            self._watch = watch
            for served in self._unwatched:
                watch(served)
            self._unwatched.clear()

    def begin_with(self, model: PooledModel) -> None:
        """Give the first turn to a model that is loaded elsewhere."""
        self._turn = model
        self._submit(model, partial(self._await, model))

    def loading_of(self, model: PooledModel) -> Future[None]:
        """The model's loading, begun if need be; raises `APIError` 500 soon after a failure."""
        if model.loading is not None:
            return model.loading
        failed_at = model.failed_at
        if failed_at is not None and time.monotonic() < failed_at + _RETRY_SECONDS:
            raise model_unavailable()
        return self.load(model)

    def load(self, model: PooledModel) -> Future[None]:
        """Begin to load a model."""
        return self._submit(model, partial(self._load, model))

    def end(self) -> None:
        """Begin nothing more, and wait for no turn: the process ends."""
        with self.changed:
            self.is_ending = True
            self.changed.notify_all()

    def close(self, *, wait: bool) -> None:
        """End the threads, once what they load is there if ``wait`` says so."""
        self._workers.shutdown(wait=wait, cancel_futures=True)

    def _submit(self, model: PooledModel, work: Callable[[], None]) -> Future[None]:
        def run() -> None:
            try:
                work()
            finally:
                with self.changed:
                    model.loading = None

        with self.changed:  # else it could have ended by then
            model.loading = loading = self._workers.submit(run)
        return loading

    def _await(self, model: PooledModel) -> None:
        try:
            model.loader.has_ended()
        finally:
            self._end_turn(model)

    def _load(self, model: PooledModel) -> None:
        """Load a model, on a worker's thread; whatever goes wrong is noted and in the log."""
        try:
            self._load_in_turn(model)
        finally:
            self._end_turn(model)

    def _load_in_turn(self, model: PooledModel) -> None:
        """Load a model whose turn comes when its files are there, and is the caller's to end."""
        while True:
            with self.changed:  # what makes room for another one is freed before
                self.changed.wait_for(lambda: not model.is_leaving or self.is_ending)
                if self.is_ending:
                    return
                model.loader = loader = ModelLoader(model.settings, partial(self._make_room, model))
            loader.start()
            try:
                served = loader.wait()
            except Exception as error:
                if self.is_ending:
                    return
                if _is_shortage(error) and self._unload_one():
                    continue
                model.failed_at = time.monotonic()
                _log.error("the model %s could not be loaded: %s", model.name, error)
                return
            with self.changed:
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
        with self.changed:
            if self._turn is model:
                self._turn = None
                self.changed.notify_all()

    def _make_room(self, model: PooledModel) -> None:
        """Unload what is above the limit, once a model's files are there and it is its turn.

        Raises `APIError` 503 where the process ends meanwhile.
        """
        with self.changed:
            self.changed.wait_for(lambda: self._turn in (None, model) or self.is_ending)
            if not self.is_ending:
                self._turn = model
        while len(self._loaded()) >= self._most and self._unload_one():
            pass
        if self.is_ending:  # nothing has been unloaded: there may be no memory for it
            raise shutting_down()

    def _unload_one(self) -> bool:
        """Unload the least recently used model, an idle one if there is one; False if none is."""
        with self.changed:
            loaded = self._loaded()
            if not loaded:
                return False
            leaving = min(loaded, key=lambda each: (each.n_users > 0, each.last_used))
            leaving.is_leaving = True
            self.changed.wait_for(lambda: not leaving.n_users or self.is_ending)
            if self.is_ending:
                return False
        _log.info("model %s makes room for another one", leaving.name)
        try:
            leaving.loader.close()
        finally:
            with self.changed:
                leaving.is_leaving = False
                self.changed.notify_all()
        return True

    def _loaded(self) -> list[PooledModel]:
        return [each for each in self._models if each.loader.served is not None]


def _is_shortage(error: BaseException) -> bool:
    from shared.engine.llama.errors import MemoryShortageError

    return isinstance(error, MemoryShortageError) or isinstance(
        error.__cause__, MemoryShortageError
    )
