"""Model cache: a directory of downloads, shared by all processes of the machine.

A model appears under its name by a rename, once it is complete and verified. Who downloads holds a
lock, which the system frees when the process ends, however it ends; the others wait and find the
file. What a killed process got, a prefix of the file, is kept for the next one to go on from.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from shared.host.memory import host_memory
from shared.models.errors import CorruptError, ModelSourceError

if TYPE_CHECKING:
    from shared.models.s3.object import S3Object

MEMORY = "memory"
"""The cache setting's value for none at all."""


_log = logging.getLogger("pilotlight.models")


def open_cache(setting: str | None) -> Path | None:
    """The cache's directory, None for memory.

    ``setting`` is a directory, `MEMORY`, or None for a directory among the user's caches (XDG), or
    memory where that can't be written. Raises `ModelSourceError`.
    """
    if setting == MEMORY:
        return None
    if setting is not None:
        directory = Path(setting).expanduser()
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        directory = Path(base) / "pilotlight" / "models"
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if setting is None:
            _log.info("models stay in memory: %s: %s", directory, error.strerror)
            return None
        raise ModelSourceError(
            f"can't write the model cache {directory}: {error.strerror}"
        ) from error
    if setting is None and not os.access(directory, os.W_OK):
        _log.info("models stay in memory: %s can't be written", directory)
        return None
    return directory


class CacheEntry:
    """Where one version of an object is, or will be."""

    def __init__(self, directory: Path, found: S3Object) -> None:
        self._found = found
        identity = "\n".join((found.endpoint, str(found.location), found.etag))
        version = hashlib.blake2b(identity.encode(), digest_size=8).hexdigest()
        self._directory = directory / found.location.bucket / version
        self.path = self._directory / found.location.name
        """The model's file, once it is complete."""
        self.was_resumed = False
        """Whether the last download began with bytes of an earlier process."""
        self._partial = self._directory / "partial"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """While it lasts no other process downloads the same."""
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            lock = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                _log.info("another process downloads %s: waiting for it", self._found.location)
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def is_complete(self) -> bool:
        """Whether the file is there."""
        return self.path.is_file() and self.path.stat().st_size == self._found.size

    @contextmanager
    def writing(self) -> Iterator[int]:
        """A descriptor to write the file to.

        The file gets its name when the block ends. If that raises `CorruptError`, all is thrown
        away; whatever else it raises, the next process goes on from there.
        """
        try:
            descriptor = os.open(self._partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                self._check_space(descriptor)
                yield descriptor
                os.utime(descriptor, (self._found.modified, self._found.modified))
            finally:
                os.close(descriptor)
            self._partial.rename(self.path)
        except CorruptError:
            self._partial.unlink()
            raise
        except OSError as error:
            raise self._unwritable(error) from error

    def _check_space(self, descriptor: int) -> None:
        missing = self._found.size - 512 * os.fstat(descriptor).st_blocks
        free = shutil.disk_usage(self._directory).free
        if missing > free:
            raise self._found.location.error(
                f"it takes {missing / 1e9:.2f} GB and {self._directory} has {free / 1e9:.2f} GB "
                "free; --model-cache names another place"
            )

    def resume(self, descriptor: int) -> int:
        """How many bytes an earlier process got."""
        size = os.fstat(descriptor).st_size
        self.was_resumed = 0 < size <= self._found.size
        return size if self.was_resumed else 0

    def _unwritable(self, error: OSError) -> ModelSourceError:
        return ModelSourceError(
            f"can't write the model cache {self._directory}: {error.strerror}; --model-cache names "
            "another place"
        )


def check_memory(location: object, size: int) -> None:
    """Raise `ModelSourceError` if ``size`` bytes don't fit into the memory that there is.

    Without it the kernel would end the process, and nobody would know why.
    """
    limit = host_memory()
    if limit is not None and size > limit.free:
        raise ModelSourceError(
            f"can't load {location}: it takes {size / 1e9:.2f} GB and {limit.free / 1e9:.2f} GB "
            f"of memory are free on {limit.owner}: it needs more memory, a smaller quantisation, "
            "or a directory to keep it in (--model-cache)"
        )
