"""State of a server: settings, model, API keys, store and metrics, shared by its handlers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING

from shared.config.settings import Settings
from shared.protocol.errors import (
    model_not_found,
    model_not_permitted,
    model_stopped,
    model_unavailable,
    shutting_down,
)
from shared.runtime.configured_keys import ConfiguredKeys
from shared.runtime.loader import ModelLoader
from shared.runtime.metrics import Metrics
from shared.runtime.model_pool import ModelPool
from shared.runtime.pooled_model import still_loading
from shared.runtime.recent_speed import RecentSpeed
from shared.runtime.request_context import request_context
from shared.runtime.stores import Stores

if TYPE_CHECKING:
    from shared.config.request_defaults import UpstreamDefaults
    from shared.engine.config import EngineStats
    from shared.runtime.alert_sender import AlertSender
    from shared.runtime.background_responses import BackgroundResponses
    from shared.runtime.caller import Caller
    from shared.runtime.deadline import TimeLimit
    from shared.runtime.key_cache import KeyCache
    from shared.runtime.organization_budget import OrganizationBudget
    from shared.runtime.served_model import ServedModel
    from shared.runtime.tracing import Tracing
    from shared.upstreams.client import UpstreamClient

RequestGuard = Callable[[str, Iterable[tuple[bytes, bytes]]], None]
"""Given method and headers; raises `APIError` for requests that are not to be handled."""


class ServerState:
    """Settings, model, keys and metrics; ``is_shutting_down`` while shutting down."""

    def __init__(
        self, settings: Settings, loader: ModelLoader | None, *, asks_upstreams: bool = True
    ) -> None:
        """Where no model is served, but what is stored, ``loader`` is None.

        ``asks_upstreams``: whether requests may be passed on to those that serve other models.
        """
        self.settings = settings
        self.has_model = loader is not None
        self.models = ModelPool(settings, loader or ModelLoader(settings))  # that's never started
        """The models that this server loads itself."""
        keys = [key.get_secret_value() for key in settings.api_key]
        self.keys = ConfiguredKeys(keys, settings.api_key_hash)
        self.guard: RequestGuard | None = None
        """Where no key is needed, and only this machine can connect."""
        self.time_limit: TimeLimit | None = None
        """Where the platform ends requests after a time."""
        self.metrics = self._new_metrics()
        self.speed = RecentSpeed()
        """Of the models, lately."""
        self.metrics.observers.append(self.speed.observe)
        self.tracing: Tracing | None = None
        """Where traces are configured."""
        self.stores = Stores(settings)
        self.key_cache = self._new_key_cache() if settings.accounts else None
        """Keys of accounts; None where there are none."""
        self._alert_sender: AlertSender | None = None
        self._organization_budget: OrganizationBudget | None = None
        self.upstreams = self._new_upstreams() if settings.upstreams and asks_upstreams else None
        """Client of models that somebody else serves; None where there are none."""
        self.background: BackgroundResponses | None = None
        """Responses in the background, where this process goes on and gets all requests."""
        self.clock = time.time
        self.is_ready_cold = settings.answers_while_cold
        """Whether it is ready while the default model is loaded, since another one answers."""
        self.is_frozen_between = False
        """Whether the process stands still between requests, so that nothing is left for then."""
        self.is_shutting_down = False
        self._is_aborted = False
        """Whether nothing is generated any more, not even for requests from before."""
        self.n_active = 0
        """Requests being handled right now."""
        self.n_begun: Callable[[], int] = lambda: self.n_active
        """The same, with those that are about to be, where the server knows."""

    @property
    def has_one_request(self) -> bool:
        """Whether nothing waits but the request that asks."""
        return self.n_begun() == 1

    @property
    def loader(self) -> ModelLoader:
        """Loader of the default model."""
        return self.models.default.loader

    @loader.setter
    def loader(self, loader: ModelLoader) -> None:
        self.models.default.loader = loader

    def model(self) -> ServedModel:
        """The default model; raises `APIError` 503 while it is not loaded, 500 if that failed."""
        if self._is_aborted:
            raise shutting_down()
        served = self.loader.served
        if served is None:
            if self.is_shutting_down:
                raise shutting_down()
            if self.loader.error is not None:
                raise model_unavailable()
            raise still_loading(self.models.default)
        if not served.engine.is_alive:
            raise model_stopped()
        return served

    async def use_model(self, name: str | None) -> ServedModel:
        """The own model ``name``, None for the default one, until the current request ends.

        Where there are several it is loaded if need be. Raises `APIError` 403, 404, 429, 500, 503.
        """
        models, context = self.models, request_context()
        if len(models) == 1:
            served = self.model()
            models.hold(models.default)
            context.at_end.append(lambda: models.release(models.default))
            return served
        if self._is_aborted:
            raise shutting_down()
        model = models.default if name is None else models.get(name)
        if model is None and self.settings.any_model:
            model = models.default
        if model is None:
            raise model_not_found(name or "", self.known_names(context.caller))
        if not context.caller.may_use(model.names):
            raise model_not_permitted(name or model.name)
        models.check_started()
        deadline, begin_by = context.deadline, context.begin_by
        ends = [] if deadline is None else [deadline.end_of_generation]
        until = min([*ends, *([] if begin_by is None else [begin_by])], default=None)
        served = await models.use(model, until)
        context.at_end.append(lambda: models.release(model))
        return served

    async def use_permitted_model(self, name: str | None) -> ServedModel:
        """The same for what no completion's validation follows; raises `APIError` 403, too."""
        served = await self.use_model(name)
        if not request_context().caller.may_use(served.names):
            raise model_not_permitted(served.name)
        return served

    def ready_models(self) -> list[ServedModel]:
        """The models that are loaded; raises `APIError` 503 while one is missing that has to be."""
        if self.is_shutting_down:
            raise shutting_down()
        is_answered = self.is_ready_cold and self.loader.error is None
        if not is_answered:
            if len(self.models) == 1:
                return [self.model()]
            self.models.check_started()
        loaded = self.models.loaded()
        if not all(served.engine.is_alive for served in loaded):
            raise model_stopped()
        return loaded

    def known_names(self, caller: Caller) -> list[str]:
        """Names of the models that a caller may use, own ones and others'."""
        models = self.models if self.settings.has_own_model else ()
        own = [name for model in models if caller.may_use(model.names) for name in model.names]
        return [*own, *(name for name in self.settings.upstreams if caller.may_use((name,)))]

    def _new_upstreams(self) -> UpstreamClient:
        from shared.upstreams.client import UpstreamClient

        return UpstreamClient(self.settings.upstreams)

    def _new_metrics(self) -> Metrics:
        return Metrics(
            lambda: self.n_active, self._engine_stats, has_several_models=len(self.models) > 1
        )

    def _engine_stats(self) -> list[tuple[str, EngineStats]]:
        return [(served.name, served.engine.stats()) for served in self.models.loaded()]

    def abort(self) -> None:
        """End all generations; their clients get an error, or an error event."""
        self._is_aborted = True
        for served in self.models.loaded():
            served.engine.abort()
        if self.upstreams is not None:
            self.upstreams.abort()

    def retention_days(self, tenant: str) -> int:
        """Days after which a tenant's stored completions expire; 0 for never."""
        settings = self.settings
        return settings.tenant_retention_days.get(tenant, settings.retention_days)

    @cached_property
    def upstream_defaults(self) -> UpstreamDefaults:
        """Request fields' defaults of upstreams' models; to load them loads the request schemas."""
        from shared.config.request_defaults import UpstreamDefaults

        return UpstreamDefaults(self.settings.upstreams)

    @property
    def spend_alerts(self) -> AlertSender:
        """What sends spend alerts, made where one is first needed."""
        if self._alert_sender is None:
            from shared.runtime.alert_sender import AlertSender, channels

            self._alert_sender = AlertSender(
                self.stores.in_accounts, channels(self.settings, self.clock), self.clock
            )
        return self._alert_sender

    @property
    def organization_budget(self) -> OrganizationBudget:
        """What all projects together have spent, made where it is first needed."""
        if self._organization_budget is None:
            from shared.runtime.organization_budget import OrganizationBudget

            self._organization_budget = OrganizationBudget(self.stores.in_accounts, self.clock)
        return self._organization_budget

    def _new_key_cache(self) -> KeyCache:
        from shared.runtime.key_cache import KeyCache

        return KeyCache(lambda key_hash: self.stores.in_keys(lambda keys: keys.holder(key_hash)))

    def reset_metrics(self) -> None:
        """Count from zero."""
        observers = self.metrics.observers
        self.metrics = self._new_metrics()
        self.metrics.observers = observers

    def close(self) -> None:
        """Let go of the model and the store, and send the last spans."""
        self.models.close()
        self.stores.close()
        if self.tracing is not None:
            self.tracing.close()
