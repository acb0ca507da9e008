"""Command line of ``pilotlight serve`` and ``chat`` at first sight: which model it is about.

Reading it properly takes the settings, which take 0.3 s to import. The model loads meanwhile.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.runtime.early_load import EarlyLoad

_HAVE_A_SAY = frozenset(
    (
        *("--config", "--models", "--log-level"),
        *("--n-gpu-layers", "--gpu-layers", "-ngl", "--split-mode", "-sm"),
        *("--main-gpu", "-mg", "--tensor-split", "-ts"),
    )
)
"""Options that change what is loaded, or what the log says of it."""
_LOADS_NOTHING = ("--help", "-h", "--url")
_ATTACHED = ("-m", "-ngl", "-sm", "-ts")
"""How an option begins whose value may be written right behind it, such as -ngl3."""
_CONFIGURATION_FILE = "pilotlight.toml"
"""As `shared.config.settings_file` has it."""


def begin_to_load(arguments: Sequence[str], environment: Mapping[str, str]) -> EarlyLoad | None:
    """Begin to load the model of a command line, where that is told at first sight."""
    source = model_source(arguments, environment)
    if source is None or os.path.exists(_CONFIGURATION_FILE):
        return None
    from shared.runtime import early_load  # brings llama.cpp

    return early_load.begin(source, environment)


def model_source(arguments: Sequence[str], environment: Mapping[str, str]) -> str | None:
    """The model that a command with these arguments loads with defaults: a path, or ``hf:``.

    None where it loads none, or more has a say.
    """
    if not arguments or arguments[0] not in ("serve", "chat"):
        return None
    variables = {name.upper(): value for name, value in environment.items()}
    if any(_variable(option) in variables for option in _HAVE_A_SAY):
        return None
    source = variables.get("PILOTLIGHT_MODEL", "")
    for option, value in zip_longest(arguments[1:], arguments[2:], fillvalue=""):
        name, equals, given = option.partition("=")
        if name in ("--model", "-m"):
            source = given if equals else value
        elif name in _HAVE_A_SAY or name in _LOADS_NOTHING or _may_be_read_as_one(name):
            return None
    return source if source.endswith(".gguf") and not source.startswith("s3:") else None


def _may_be_read_as_one(name: str) -> bool:
    """Whether the parser may take it for one of these: it takes unique beginnings of long ones."""
    if name.startswith("--"):
        return any(option.startswith(name) for option in (*_HAVE_A_SAY, *_LOADS_NOTHING))
    return name.startswith(_ATTACHED)


def _variable(option: str) -> str:
    return f"PILOTLIGHT_{option.lstrip('-').replace('-', '_').upper()}"
