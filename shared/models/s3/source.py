"""S3 download of models: into a cache that processes share, or into memory.

In memory, that is in a ``memfd``, llama.cpp maps the model where it lies: nothing is copied, no
disk is needed, and on AWS Lambda the snapshot has it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from shared.host.snap_start import is_snapshot_being_made
from shared.models.errors import CorruptError
from shared.models.files import GGUF_MAGIC, ModelFiles, split_names
from shared.models.progress import FetchProgress, fetch_progress
from shared.models.s3.access import S3Access
from shared.models.s3.cache import CacheEntry, check_memory, open_cache
from shared.models.s3.location import ObjectLocation
from shared.models.s3.object import S3Object
from shared.models.s3.stream import needs_stream, stream
from shared.models.s3.transfer import DownloadError, download

_BLOCK_SIZE = 512 * 2**10
"""Bytes that are read and hashed at once, of those that are there already."""

_NEW_ROLE_SECONDS = 60.0
"""For a role's permissions to be known everywhere: CloudFormation makes a function's role seconds
before the version that SnapStart initializes, and IAM is eventually consistent."""

_log = logging.getLogger("pilotlight.models")


def fetch(
    source: str, cache: str | None, on_progress: Callable[[float], None] = lambda _: None
) -> ModelFiles:
    """The files of the model at ``s3://BUCKET/KEY.gguf``, verified; ``?versionId=ID`` may follow.

    ``cache`` is a directory, ``memory``, or None for the user's cache directory, or memory where
    that can't be written. ``on_progress`` receives the fetched fraction, 0 to 1. Raises
    `ModelSourceError`, which names bucket, key and cause.
    """
    location = ObjectLocation.parse(source)
    names = split_names(location.name)
    if len(names) > 1 and location.version is not None:
        raise location.error("each file of a split model has a version of its own: name none")
    prefix = location.key.removesuffix(location.name)
    with closing(S3Access()) as access:
        wait = _NEW_ROLE_SECONDS if is_snapshot_being_made() else 0
        objects = [S3Object(access, replace(location, key=prefix + name), wait) for name in names]
        size = sum(found.size for found in objects)
        directory = open_cache(cache)
        with fetch_progress(str(location), size, on_progress) as progress:
            if directory is None:
                check_memory(location, size)
                return _into_memory(objects, progress)
            paths = [
                _into_cache(found, CacheEntry(directory, found), progress) for found in objects
            ]
            return ModelFiles(tuple(paths), is_remote=True)


def _into_memory(objects: Sequence[S3Object], progress: FetchProgress) -> ModelFiles:
    descriptors: list[int] = []
    try:
        for found in objects:
            descriptors.append(os.memfd_create(found.location.name))
            _download(found, descriptors[-1], progress)
            os.utime(descriptors[-1], (found.modified, found.modified))
    except BaseException:
        for descriptor in descriptors:
            os.close(descriptor)
        raise
    paths = tuple(Path(f"/proc/self/fd/{descriptor}") for descriptor in descriptors)
    return ModelFiles(paths, tuple(descriptors), is_remote=True)


def _into_cache(found: S3Object, entry: CacheEntry, progress: FetchProgress) -> Path:
    before = progress.done
    with entry.locked():
        if entry.is_complete():
            _log.info("%s is in the cache: %s", found.location, entry.path)
            progress.add(found.size)
            return entry.path
        try:
            _into_entry(found, entry, progress)
        except CorruptError:
            if not entry.was_resumed:
                raise
            _log.warning("%s: what an earlier process left is corrupt: once again", found.location)
            progress.reset(before)
            _into_entry(found, entry, progress)
    return entry.path


def _into_entry(found: S3Object, entry: CacheEntry, progress: FetchProgress) -> None:
    with entry.writing() as descriptor:
        # What can't be verified at the end is not gone on with.
        start = entry.resume(descriptor) if found.checksum is not None else 0
        os.truncate(descriptor, start)
        _download(found, descriptor, progress, start)


def _download(found: S3Object, descriptor: int, progress: FetchProgress, start: int = 0) -> None:
    """Fill ``descriptor`` with an object's bytes from ``start`` on, and verify all of them."""
    if found.size < len(GGUF_MAGIC):
        raise found.location.error(f"not a GGUF file, it has {found.size} bytes")
    checksum = found.checksum
    if checksum is None:
        _log.info("%s has no checksum that could be verified", found.location)
    hashed = checksum.hash() if checksum is not None else None
    position = 0

    def note(data: bytes) -> None:
        nonlocal position
        magic = data[: len(GGUF_MAGIC)]
        if position == 0 and magic != GGUF_MAGIC:
            raise found.location.error(f"not a GGUF file, it begins with {magic!r}", CorruptError)
        if hashed is not None:
            hashed.update(memoryview(data))
        position += len(data)
        progress.add(len(data))

    def take(data: bytes) -> None:
        _write(descriptor, memoryview(data), position)
        note(data)

    try:
        while position < start:
            note(_read(descriptor, min(_BLOCK_SIZE, start - position), position))
        if needs_stream(found.endpoint):
            stream(found.chunks, start, found.size, take)
        else:
            download(found, start, take)
    except DownloadError as error:
        raise found.location.error(error) from error
    if checksum is None or hashed is None:
        return
    if (actual := checksum.of(hashed)) != checksum.value:
        raise found.location.error(
            f"what arrived is corrupt: its {checksum} is {actual} instead of {checksum.value}",
            CorruptError,
        )


def _read(descriptor: int, size: int, offset: int) -> bytes:
    """As far as it goes at once, at least a byte."""
    try:
        data = os.pread(descriptor, size, offset)
    except OSError as error:
        raise DownloadError(f"can't read what was written: {error.strerror}") from error
    if not data:
        raise DownloadError("what was written is gone: another process truncated the file")
    return data


def _write(descriptor: int, data: memoryview, offset: int) -> None:
    """All of ``data``: a write may be short, for instance before the disk is full."""
    try:
        while data:
            count = os.pwrite(descriptor, data, offset)
            data, offset = data[count:], offset + count
    except OSError as error:  # not one of the cache's, which would name another place
        raise DownloadError(f"can't write: {error.strerror}") from error
