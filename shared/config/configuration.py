"""Configuration: settings from flags, environment and file, and what is wrong with them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from shared.config import settings_file
from shared.config.settings import Settings
from shared.config.settings_file import ConfigurationError, did_you_mean
from shared.config.upstreams import is_upstream


def flag(name: str) -> str:
    """A setting's option on the command line."""
    return f"--{name.replace('_', '-')}"


def variable(name: str) -> str:
    """A setting's environment variable."""
    return f"PILOTLIGHT_{name.upper()}"


def is_switch(name: str) -> bool:
    """Whether a setting is true or false, so that its option needs no value."""
    annotation = Settings.model_fields[name].annotation
    return annotation is bool or bool in get_args(annotation)


def load(flags: Mapping[str, Any]) -> Settings:
    """Settings from ``flags`` (by the settings' names), the environment and the file.

    Raises `ConfigurationError`; each of its problems begins with the flag and the variable, or
    with the file, that the value comes from.
    """
    try:
        settings = Settings(**flags)
    except ValidationError as error:
        details = error.errors(include_url=False)
        raise ConfigurationError([_problem(detail, flags) for detail in details]) from None
    if not (settings.has_own_model or settings.upstreams):
        origin = _origin("model", flags) or f"{settings.config}"
        raise ConfigurationError(
            [
                f"{origin}: without a model of its own a server needs others' "
                f"models: {flag('models')} ({variable('models')})"
            ]
        )
    has_defaults = any(upstream.defaults for upstream in settings.upstreams.values())
    if settings.sampling_defaults:
        _check_sampling_defaults(settings, flags)
    if has_defaults or not all(map(is_upstream, settings.models.values())):
        # Takes the request models, which only a server needs, and only later.
        from shared.config.request_defaults import RequestDefaults, UpstreamDefaults

        try:
            for own in settings.own.values():
                RequestDefaults(own)
            UpstreamDefaults(settings.upstreams)
        except ConfigurationError as error:
            origin = _origin("models", flags) or f"{settings.config}"
            raise ConfigurationError([f"{origin}: {each}" for each in error.problems]) from None
    return settings


def _check_sampling_defaults(settings: Settings, flags: Mapping[str, Any]) -> None:
    """Raise `ConfigurationError` for a value that no endpoint takes."""
    from shared.config.request_defaults import SamplingDefaults

    found = SamplingDefaults(settings).problems
    problems = [f"{_origin(name, flags) or settings.config}: {reason}" for name, reason in found]
    if problems:
        raise ConfigurationError(problems)


def unknown_variables(besides: str | None = None) -> list[str]:
    """What looks like settings' variables and is none, in words.

    `load` leaves them alone: they may be somebody else's, such as an orchestrator's. Names that
    begin with ``besides`` are.
    """
    prefix = variable("")
    known = [variable(name) for name in Settings.model_fields]
    unknown = sorted(
        name
        for name in _environment()
        if name.startswith(prefix) and name not in known
        if besides is None or not name.startswith(besides)
    )
    return [f"{name}: no such setting{did_you_mean(name, known, prefix)}" for name in unknown]


def _problem(detail: ErrorDetails, flags: Mapping[str, Any]) -> str:
    """What is wrong with one setting, and where it was set."""
    name = str(detail["loc"][0]) if detail["loc"] else "models"  # which are checked together
    message = detail["msg"].removeprefix("Value error, ")
    file = settings_file.find(flags.get("config") or _environment().get(variable("config")))
    is_unknown = detail["type"] == "extra_forbidden"
    if is_unknown and len(detail["loc"]) > 1:  # within a setting's tables
        message = f"nothing is called '{'.'.join(map(str, detail['loc'][1:]))}'"
    elif is_unknown:  # only a file can bring it
        return f"{file}: unknown setting '{name}'{did_you_mean(name, Settings.model_fields)}"
    if origin := _origin(name, flags):
        return f"{origin}: {message}"
    key = ".".join(map(str, detail["loc"] or [name]))
    return f"{file}: {key}: {message}"


def _origin(name: str, flags: Mapping[str, Any]) -> str | None:
    """The flag and the variable of a setting that one of them sets; None for the file's."""
    if name in flags or variable(name) in _environment():
        return f"{flag(name)} ({variable(name)})"
    return None


def _environment() -> dict[str, str]:
    """The environment as settings are looked up in it: whatever the case."""
    return {name.upper(): value for name, value in os.environ.items()}
