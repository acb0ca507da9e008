"""Early fetch of the model that a function's environment names, before the settings are there."""

from __future__ import annotations

import os
from collections.abc import Mapping

_CONFIGURATION_FILE = "pilotlight.toml"
"""As `shared.config.settings_file` has it."""


def begin_to_fetch(environment: Mapping[str, str]) -> None:
    """Have the model on its way from S3, unless more than one variable has a say in what it is.

    Their imports would keep AWS's library from being imported for as long as they take.
    """
    source = environment.get("PILOTLIGHT_MODEL", "")
    has_others = environment.get("PILOTLIGHT_MODELS", "") not in ("", "{}")
    has_file = environment.get("PILOTLIGHT_CONFIG") or os.path.exists(_CONFIGURATION_FILE)
    if not source.startswith("s3://") or has_others or has_file:
        return
    from shared.models.s3 import early_fetch

    early_fetch.begin(source, environment.get("PILOTLIGHT_MODEL_CACHE") or None).await_transfer()
