"""Export file, which survives a crash at any moment.

Beside ``FILE`` lies ``FILE.state`` until the export is done: what is exported, the last completion
whose lines are in the file, and how long the file was then::

    lines to FILE -> on disk -> FILE.state replaced -> lines to FILE -> ...

Whatever lies behind that length was being written when the process ended. An export that goes on
cuts it off, and gives the same file as one that never stopped.
"""

from __future__ import annotations

import fcntl
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from shared.storage.export.lines import Batch, ExportCounts

_VERSION = 1
"""Of the state's format."""


class ExportError(Exception):
    """The file can't be written or gone on with; the text says why."""


def state_path(path: Path) -> Path:
    """Where the state of an export to ``path`` lies while it is not done."""
    return path.with_name(f"{path.name}.state")


class ExportFile:
    """A file under construction.

    ``request`` says in JSON's types what is exported. It is kept in the state, and an export that
    goes on has the one that it began with.
    """

    def __init__(self, path: Path, request: Mapping[str, Any], *, resume: bool) -> None:
        """Begin anew in ``path``, or with ``resume`` go on if there is a state.

        Raises `ExportError`.
        """
        self._path = path
        self._state_path = state_path(path)
        self.request = request
        self.counts = ExportCounts()
        self.last_id: str | None = None
        offset = 0
        try:
            # For its owner only, as the store is: it has the same texts.
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                self._lock()
                if resume and self._state_path.exists():
                    offset = self._restore()
                self._offset = offset
                self._save()  # before the cut: a state never speaks of more than there is
                os.ftruncate(self._file, offset)
                os.lseek(self._file, offset, os.SEEK_SET)
            except BaseException:
                os.close(self._file)
                raise
        except OSError as error:
            raise ExportError(f"{path}: {error.strerror}") from error

    def write(self, batch: Batch) -> None:
        """Add a batch; afterwards it is on disk, and an export that goes on begins behind it."""
        try:
            _write_all(self._file, batch.lines)
            os.fdatasync(self._file)
            self._offset += len(batch.lines)
            self.last_id = batch.last_id
            self.counts.add(batch.counts)
            self._save()
        except OSError as error:
            raise ExportError(f"{self._path}: {error.strerror}") from error

    def finish(self) -> None:
        """The export is whole: there is nothing to go on with."""
        self._state_path.unlink()

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)

    def _lock(self) -> None:
        """One process at a time; the lock ends with it."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ExportError(f"{self._path}: another export writes it") from None

    def _restore(self) -> int:
        """Take over the state, and return the length that the file had."""
        try:
            state = orjson.loads(self._state_path.read_bytes())
            if state["version"] != _VERSION:
                raise ValueError("it is of another release")
            self.request = state["request"]
            self.last_id = state["last_id"]
            self.counts = ExportCounts(
                completions=state["completions"],
                lines=state["lines"],
                left_out=Counter(state["left_out"]),
                damaged=state.get("damaged", []),
            )
            offset = int(state["offset"])
        except (ValueError, KeyError, TypeError) as error:
            raise ExportError(f"{self._state_path} can't be read: {error}") from None
        if os.fstat(self._file).st_size < offset:
            raise ExportError(f"{self._path} is shorter than {self._state_path.name} says")
        return offset

    def _save(self) -> None:
        state = {
            "version": _VERSION,
            "request": self.request,
            "last_id": self.last_id,
            "offset": self._offset,
            "completions": self.counts.completions,
            "lines": self.counts.lines,
            "left_out": dict(self.counts.left_out),
            "damaged": self.counts.damaged,
        }
        new = self._state_path.with_name(f"{self._state_path.name}.new")
        with new.open("wb") as file:
            file.write(orjson.dumps(state))
            file.flush()
            os.fdatasync(file.fileno())
        new.replace(self._state_path)


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
