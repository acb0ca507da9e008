"""Directories of the build: the checkout's own, and a cache that all checkouts of a user share."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if sys.platform != "win32":
    import fcntl

ROOT = Path(__file__).resolve().parents[2]


def build_directory() -> Path:
    """``build/lambda``, or a temporary directory where the checkout is read-only.

    It is inside of SAM's build containers.
    """
    return _first_writable(ROOT / "build" / "lambda")


def cache_directory() -> Path:
    """Cache of compiled wheels, beside pip's: ``LLAMA_WHEEL_CACHE`` says another place.

    Not called ``PILOTLIGHT_``: the service warns of such a variable that is no setting of its own.
    """
    if chosen := os.environ.get("LLAMA_WHEEL_CACHE"):
        return _first_writable(Path(chosen))
    home = Path("~").expanduser()
    if sys.platform == "win32":
        caches = Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local"))
    elif sys.platform == "darwin":
        caches = home / "Library" / "Caches"
    else:
        caches = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return _first_writable(caches / "pilotlight", ROOT / "build" / "cache")


def _first_writable(*wanted: Path) -> Path:
    temporary = Path(tempfile.gettempdir()) / "pilotlight-build"
    for directory in (*wanted, temporary):
        try:
            directory.mkdir(
                mode=0o700 if directory == temporary else 0o777, parents=True, exist_ok=True
            )
        except OSError:
            continue
        if os.access(directory, os.W_OK) and (directory != temporary or _is_own(directory)):
            return directory
    raise SystemExit(f"the build can write neither to {wanted[0]} nor to a temporary directory")


def _is_own(directory: Path) -> bool:
    """Whether nobody else has made it, as anybody may in a place for temporary files."""
    return sys.platform == "win32" or directory.stat().st_uid == os.getuid()


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Exclusive lock: ``sam build --parallel`` builds functions side by side.

    Windows has none: there both compile, and the last one's result stays.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        if sys.platform != "win32":
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
