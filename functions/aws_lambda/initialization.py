"""Initialization of Lambda's functions: settings, and what ends it."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, NoReturn

from functions.aws_lambda import json_logs
from shared.config import configuration
from shared.config.settings import Settings
from shared.config.settings_file import ConfigurationError
from shared.runtime.process import set_switch_interval

if TYPE_CHECKING:
    from fastapi import FastAPI

    from functions.http.app import App
    from shared.runtime.loader import ModelLoader

_log = logging.getLogger("pilotlight")


def lambda_settings(service: str) -> Settings:
    """The settings, from the environment and the file; ``service`` is the log's name of itself.

    Ends the process if they are wrong, and if they accept no key: a function's URL is public. All
    of a function's environment is its own, so a variable that is no setting is misspelled.
    """
    json_logs.configure(Settings.model_fields["log_level"].default, service)
    set_switch_interval()
    try:
        settings = configuration.load({})
    except ConfigurationError as error:
        end_initialization(*error.problems)
    if unknown := configuration.unknown_variables():
        end_initialization(*unknown)
    logging.getLogger().setLevel(settings.log_level.upper())
    if not settings.needs_key:
        end_initialization(
            "without an API key anybody could call this function: set PILOTLIGHT_API_KEY_HASH to "
            "the SHA-256 hashes of the keys that are accepted"
        )
    return settings


def inference_app(settings: Settings, loader: ModelLoader) -> App | FastAPI:
    """The app of InferenceFunction; without a model of its own that for models of others.

    Where no invocation waits for it, it has all that is imported at first need.
    """
    if settings.has_own_model:
        from functions.http.app import create_app

        app = create_app(settings, loader)
        if not is_on_demand():
            app.resources()
        return app
    from functions.http.api_app import create_api_app

    return create_api_app(settings, asks_upstreams=True)


def is_on_demand() -> bool:
    """Whether an invocation waits for this initialization already.

    Else Lambda initializes ahead of all invocations (SnapStart, provisioned concurrency): that may
    take as long as the function's timeout, and a failure keeps the version from being used.
    """
    return os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand") == "on-demand"


def end_initialization(*problems: str) -> NoReturn:
    """Fail with a line per problem in the log.

    Not by raising an error: Lambda's runtime client would add a traceback to it, which says nothing
    of what is wrong with a setting or a bucket.
    """
    for problem in problems:
        _log.error(problem)
    sys.exit(1)
