"""Settings: flag, environment variable, default and explanation of each."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
)

from shared.config import settings_file
from shared.config.own_models import OwnModel, is_own, own_sections
from shared.config.prices import Price
from shared.config.stand_ins import StandIns, stand_ins
from shared.config.store_settings import StoreSettings
from shared.config.texts import parse_json
from shared.config.upstreams import UpstreamModel, is_upstream, upstream_models
from shared.models.names import NONE


class Settings(StoreSettings):
    """Settings of a server.

    Each field is a flag of ``pilotlight serve`` (``ctx_size`` is ``--ctx-size``, in llama-server's
    spelling), an environment variable (``PILOTLIGHT_CTX_SIZE``) and a key of the configuration
    file (``ctx_size``). Flags win over the environment, and that over the file.

    Making one raises `pydantic.ValidationError`, or `ConfigurationError` for a file that can't be
    read. `shared.config.configuration.load` puts both into words.
    """

    config: Path | None = Field(
        default=None,
        description="TOML file with settings and each model's request defaults "
        f"(default: {settings_file.DEFAULT_FILE} in the working directory, if it is there)",
        json_schema_extra={"metavar": "FILE"},
    )
    models: Annotated[dict[str, dict[str, Any]], NoDecode] = Field(
        default={},
        description="defaults of request fields for each of the model's names, further models, and "
        'models that somebody else serves, as JSON; in the file a section [models."NAME"] each',
        json_schema_extra={"metavar": "JSON"},
    )
    any_model: bool = Field(
        default=False,
        description="whether requests that name a model which is not there are for the default "
        "one, and not refused: for programs that ask for one by its name",
        json_schema_extra={"metavar": "BOOL"},
    )
    models_max: int = Field(
        default=0,
        ge=0,
        description="own models that are loaded at once, where there are several; 0 for as many "
        "as there is memory for. The least recently used one makes room",
        json_schema_extra={"metavar": "N"},
    )

    _parse_models = field_validator("models", mode="before")(parse_json)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments over environment over the file; raises `ConfigurationError`."""
        named = (env_settings() | init_settings()).get("config")
        file = settings_file.find(named)
        return (
            InitSettingsSource(cls, {"config": file}),
            init_settings,
            env_settings,
            InitSettingsSource(cls, settings_file.read(file) if file else {}),
        )

    @field_validator("models")
    @classmethod
    def _check_models(
        cls, models: dict[str, dict[str, Any]], info: ValidationInfo
    ) -> dict[str, dict[str, Any]]:
        priced: Mapping[str, UpstreamModel | OwnModel]
        priced = {**upstream_models(models), **own_sections(models)}
        prices = info.data.get("prices", {})
        for name, model in priced.items():
            if model.price is not None and name in prices:
                raise ValueError(f'[models."{name}"]: its price is in [prices."{name}"], too')
        return models

    @model_validator(mode="after")
    def _check_names_of_models(self) -> Self:
        """Names are unique. Upstreams' keys are taken from the environment as all settings are."""
        own = [name for settings in self.own.values() for name in settings.names]
        for name in (*own, *self.upstreams):
            if own.count(name) + (name in self.upstreams) > 1:
                raise ValueError(
                    f'[models."{name}"]: another model has this name: call one of them otherwise'
                )
        for name in self.models if len(self.own) > 1 else ():
            if name not in own and name not in self.upstreams:
                raise ValueError(
                    f'[models."{name}"]: no model has this name, only {", ".join(own)}; '
                    "a 'source' would make it one"
                )
        _ = self.stand_ins
        return self

    @cached_property
    def stand_ins(self) -> dict[str, StandIns]:
        """Who answers where a model fails or is cold, by each name of the models that have some."""
        own = {settings.names[0]: settings.names for settings in self.own.values()}
        known = {*self.upstreams, *(name for names in own.values() for name in names)}
        found = stand_ins(self.models, known)
        return {name: each for first, each in found.items() for name in own.get(first, (first,))}

    @cached_property
    def upstreams(self) -> dict[str, UpstreamModel]:
        """Models that somebody else serves, by name."""
        return upstream_models(self.models)

    @cached_property
    def own(self) -> dict[str, Settings]:
        """Settings of each model that this server loads, by its first name; the default one first.

        That is ``model``, unless only sections name models.
        """
        sections = own_sections(self.models)
        if not sections:
            return {self.names[0]: self}
        own = {name: self._own(name, section) for name, section in sections.items()}
        if "model" not in self.model_fields_set or self.model == NONE:
            return own
        taken = {name for settings in own.values() for name in settings.names}
        rest = {
            name: section
            for name, section in self.models.items()
            if name not in taken and not is_upstream(section)
        }
        default = _OwnSettings(**{**self._fields(), "models": rest})
        return {default.names[0]: default, **own}

    @property
    def loaded_at_start(self) -> frozenset[str]:
        """First names of further own models that are loaded at the start."""
        sections = own_sections(self.models)
        return frozenset(name for name, section in sections.items() if section.load == "start")

    def _own(self, name: str, section: OwnModel) -> Settings:
        """Settings of the model of a section; raises `ValueError`."""
        own = section.settings
        names = [name, *own.pop("alias", [])]
        flat = {
            alias: self.models[alias]
            for alias in names[1:]
            if alias in self.models and not is_own(self.models[alias])
        }
        defaults = {each: {**section.defaults, **flat.get(each, {})} for each in names}
        fields = {
            **self._fields(),
            # A draft model has the vocabulary of the model that it was named for.
            "model_draft": None,
            "spec_type": [t for t in self.spec_type if t != "draft-simple"] or ["prediction"],
            **own,
            "model": section.source,
            "alias": names,
            "models": {each: values for each, values in defaults.items() if values},
        }
        try:
            return _OwnSettings(**fields)
        except ValidationError as error:
            detail = error.errors(include_url=False, include_input=False)[0]
            field = ".".join(map(str, detail["loc"]))
            message = detail["msg"].removeprefix("Value error, ")
            raise ValueError(f"[models.\"{name}\"]: '{field}': {message}") from None

    def _fields(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in type(self).model_fields}

    def price(self, model: str) -> Price | None:
        """The price of a model's tokens; None where it has none."""
        return self._prices.get(model)

    @cached_property
    def _prices(self) -> dict[str, Price]:
        priced: Mapping[str, UpstreamModel | OwnModel]
        priced = {**self.upstreams, **own_sections(self.models)}
        found = {name: model.price for name, model in priced.items() if model.price is not None}
        found = {**self.prices, **found}
        for names in self._own_names:  # tokens are counted by the first one
            named = next((found[name] for name in names if name in found), None)
            if named is not None:
                found[names[0]] = named
        return found

    @property
    def unused_prices(self) -> list[str]:
        """Names that have a price and are no model's: what they were meant for costs nothing."""
        names = self.priceable_names
        return [name for name in self.prices if name not in names]

    @property
    def priceable_names(self) -> list[str]:
        """Names of all models, by any of which a price may be given."""
        return [*(name for names in self._own_names for name in names), *self.upstreams]

    @property
    def _own_names(self) -> list[tuple[str, ...]]:
        return [each.names for each in self.own.values()] if self.has_own_model else []

    @property
    def has_own_model(self) -> bool:
        """Whether there is a model besides those that somebody else serves."""
        return self.model != NONE or bool(own_sections(self.models))

    @property
    def answers_while_cold(self) -> bool:
        """Whether another model answers until the default one is loaded."""
        found = self.stand_ins.get(self.served_names[0])
        return found is not None and found.while_cold is not None

    @property
    def served_names(self) -> tuple[str, ...]:
        """The names that requests may call the default model by; the first one is its own."""
        return next(iter(self.own.values())).names


class _OwnSettings(Settings):
    """Settings of one of several own models: made from all settings, not read from anywhere.

    Others are not known to it, so it has no stand-ins.
    """

    @cached_property
    def stand_ins(self) -> dict[str, StandIns]:
        """None."""
        return {}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments alone."""
        return (init_settings,)
