"""Prefix store in a directory that several processes share, such as a volume.

A file appears under its name when all of it is there (atomic rename). What a killed process left
unfinished has another name, and is deleted with the next cleaning. Files that are too old, or more
than the size budget, oldest first, are deleted by whoever has written a sixteenth of the budget.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from shared.engine.prefixes.store import BlockStoreError, IsCancelled
from shared.storage.prefixes.files import FOLDER, PATH, StoredFile

_UNFINISHED = ".part-"
_UNFINISHED_SECONDS = 3600.0
"""Age at which an unfinished file is taken for one that nobody will finish."""
_STEP = 2**20
"""Bytes that are written before it is asked again whether to go on."""
_CLEANINGS = 16
"""In the time that a budget takes to fill."""

_log = logging.getLogger("pilotlight.prefixes")


class DirectoryStore:
    """Files in a directory (`shared.storage.prefixes.files.PrefixFiles`)."""

    n_connections = 4
    part_size = 2**62

    def __init__(self, root: Path, *, budget: int, max_age: float) -> None:
        """``budget``: bytes of all files together. ``max_age``: seconds that they are kept."""
        self._root = root
        self._budget = budget
        self._max_age = max_age
        self._lock = threading.Lock()
        self._cleaning = threading.Lock()
        self._n_written = budget  # the first file that is written has what is there cleaned

    def read(self, path: str, start: int, into: memoryview, until: float) -> int:  # noqa: ARG002
        """See `BlockStore.read`. A local disk is not given up on."""
        try:
            with open(self._root / path, "rb", buffering=0) as file:
                file.seek(start)
                n_read = 0
                while n_read < len(into) and (n := file.readinto(into[n_read:])):
                    n_read += n
                return n_read
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise BlockStoreError(f"{self._root / path}: {error.strerror}") from error

    def write(self, path: str, parts: Sequence[memoryview], is_cancelled: IsCancelled) -> bool:
        """See `BlockStore.write`."""
        target = self._root / path
        if self._is_valid(target):
            return False
        unfinished = target.with_name(f"{_UNFINISHED}{secrets.token_hex(8)}")
        try:
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                if not _write(unfinished, parts, is_cancelled):
                    return False
                unfinished.rename(target)
            finally:
                unfinished.unlink(missing_ok=True)
        except OSError as error:
            raise BlockStoreError(f"{target}: {error.strerror}") from error
        self._note_written(sum(part.nbytes for part in parts))
        return True

    def _is_valid(self, target: Path) -> bool:
        """Whether there is a file that counts. One that is too old is replaced."""
        try:
            return time.time() - target.stat().st_mtime <= self._max_age
        except FileNotFoundError:
            return False
        except OSError as error:
            raise BlockStoreError(f"{target}: {error.strerror}") from error

    def discard(self, path: str) -> None:
        """See `BlockStore.discard`."""
        try:
            (self._root / path).unlink(missing_ok=True)
        except OSError as error:
            _log.warning("an invalid prefix can't be deleted: %s", error)

    def files(self, folder: str = "") -> Iterator[StoredFile]:
        """See `PrefixFiles.files`."""
        for path, found in self._walk(folder):
            name = path.relative_to(self._root).as_posix()
            if PATH.fullmatch(name):
                yield StoredFile(name, found.st_size, found.st_mtime)

    def delete(self, paths: Iterable[str]) -> None:
        """See `PrefixFiles.delete`."""
        for path in paths:
            try:
                (self._root / path).unlink(missing_ok=True)
            except OSError as error:
                raise BlockStoreError(f"{self._root / path}: {error.strerror}") from error

    def warm_up(self) -> None:
        """There is nothing to load."""

    def close(self) -> None:
        """Nothing is open."""

    def _note_written(self, n_bytes: int) -> None:
        with self._lock:
            self._n_written += n_bytes
            is_due = self._n_written > self._budget // _CLEANINGS
            if is_due:
                self._n_written = 0
        if is_due and self._cleaning.acquire(blocking=False):
            try:
                self.clean()
            except OSError as error:
                _log.warning("the directory of prefixes can't be cleaned: %s", error)
            finally:
                self._cleaning.release()

    def clean(self) -> None:
        """Delete what is too old or too much."""
        now = time.time()
        files: list[tuple[float, int, Path]] = []
        for path, found in self._walk():
            is_unfinished = path.name.startswith(_UNFINISHED)
            max_age = _UNFINISHED_SECONDS if is_unfinished else self._max_age
            if now - found.st_mtime > max_age:
                path.unlink(missing_ok=True)
            elif not is_unfinished:
                files.append((found.st_mtime, found.st_size, path))
        n_bytes = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if n_bytes <= self._budget:
                break
            path.unlink(missing_ok=True)
            n_bytes -= size

    def _walk(self, tenant: str = "") -> Iterator[tuple[Path, os.stat_result]]:
        """What lies where blocks do: whoever owns the directory may keep other files in it."""
        for folder, _, names in os.walk(self._root / tenant):
            if not FOLDER.fullmatch(Path(folder).relative_to(self._root).as_posix()):
                continue
            for name in names:
                path = Path(folder, name)
                is_block = PATH.fullmatch(path.relative_to(self._root).as_posix())
                if not is_block and not name.startswith(_UNFINISHED):
                    continue
                try:
                    yield path, path.stat()
                except FileNotFoundError:  # another process cleans, too
                    continue


def _write(path: Path, parts: Sequence[memoryview], is_cancelled: IsCancelled) -> bool:
    """Whether all was written before it was cancelled."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb", buffering=0) as file:
        for part in parts:
            data = part.cast("B")
            while data:
                if is_cancelled():
                    return False
                data = data[file.write(data[:_STEP]) :]
    return True
