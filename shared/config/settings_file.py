"""Configuration file, ``pilotlight.toml``: where it is, and what it says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

DEFAULT_FILE = Path("pilotlight.toml")
"""Read from the working directory when no other file is named, if it is there."""


class ConfigurationError(ValueError):
    """What is wrong with the configuration, a line for each of the ``problems``."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


def find(given: str | Path | None) -> Path | None:
    """The file to read: ``given`` unless it is empty, else `DEFAULT_FILE` if there is one.

    Raises `ConfigurationError` where ``given`` begins with the home directory of nobody.
    """
    if given:
        try:
            return Path(given).expanduser()
        except RuntimeError as error:  # there is no such user
            reason = "can't read the configuration: its ~ has no home directory"
            raise ConfigurationError([f"{given}: {reason}"]) from error
    return DEFAULT_FILE if DEFAULT_FILE.exists() else None


def read(path: Path) -> dict[str, Any]:
    """The file's tables, as TOML 1.0 has them. Raises `ConfigurationError`."""
    import tomllib  # 3 ms that a start without a file is spared

    try:
        tables = tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        reason = f"can't read the configuration: {error.strerror}"
    except UnicodeDecodeError as error:
        reason = f"not UTF-8: {error.reason} at byte {error.start}"
    except tomllib.TOMLDecodeError as error:
        reason = f"not TOML: {error}"
    else:
        if not any(key.lower() == "config" for key in tables):
            return tables
        reason = "'config' names the file itself, it can't be set in it"
    raise ConfigurationError([f"{path}: {reason}"])


def did_you_mean(name: str, known: Iterable[str], prefix: str = "") -> str:
    """``", did you mean 'port'?"``, or nothing when no known name resembles ``name``.

    All have the ``prefix``, which makes none alike.
    """
    from difflib import get_close_matches  # only mistakes need it

    rests = {each.removeprefix(prefix): each for each in known}
    alike = get_close_matches(name.removeprefix(prefix), rests, n=1)
    return f", did you mean '{rests[alike[0]]}'?" if alike else ""
