"""S3 download of models: into a cache that processes share, or into memory.

In memory, that is in a ``memfd``, llama.cpp maps the model where it lies: nothing is copied, no
disk is needed, and on AWS Lambda the snapshot has it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence, Set
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from shared.models.errors import CorruptError
from shared.models.files import GGUF_MAGIC, ModelFiles, split_names
from shared.models.progress import FetchProgress, fetch_progress
from shared.models.s3.access import S3Access
from shared.models.s3.cache import CacheEntry, check_memory, open_cache
from shared.models.s3.checksum import Checksum, RangeHash
from shared.models.s3.location import ObjectLocation
from shared.models.s3.object import S3Object
from shared.models.s3.range_request import BUFFER_SIZE, DownloadError, read
from shared.models.s3.ranged_download import RANGE_SIZE, RangedDownload

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
        objects = [S3Object(access, replace(location, key=prefix + name)) for name in names]
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
            os.truncate(descriptors[-1], found.size)
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
        done = entry.resume(_range_size(found)) if found.checksum is not None else frozenset()
        _download(found, descriptor, progress, done=done, on_range=entry.note)


def _range_size(found: S3Object) -> int:
    whole_parts = found.checksum.range_size(RANGE_SIZE) if found.checksum is not None else None
    return whole_parts or RANGE_SIZE


def _download(
    found: S3Object,
    descriptor: int,
    progress: FetchProgress,
    *,
    done: Set[int] = frozenset(),
    on_range: Callable[[int], None] = lambda _: None,
) -> None:
    """Fill ``descriptor`` with an object's bytes and verify them as they come."""
    if found.size < len(GGUF_MAGIC):
        raise found.location.error(f"not a GGUF file, it has {found.size} bytes")
    checksum = found.checksum
    range_size = checksum.range_size(RANGE_SIZE) if checksum is not None else None
    hashes: list[RangeHash] = []
    if checksum is not None and range_size is not None:
        hashes = [checksum.range_hash(start) for start in range(0, found.size, range_size)]
    download = RangedDownload(
        found,
        found.size,
        descriptor,
        etag=found.etag,
        done=done,
        hashes=hashes,
        on_bytes=progress.add,
        on_range=on_range,
        range_size=range_size or RANGE_SIZE,
        in_order=checksum is not None and not hashes,
    )
    download.start()
    try:
        download.wait_until(len(GGUF_MAGIC))
        magic = os.pread(descriptor, len(GGUF_MAGIC), 0)
        if magic != GGUF_MAGIC:
            raise found.location.error(f"not a GGUF file, it begins with {magic!r}", CorruptError)
        if checksum is None:
            _log.info("%s has no checksum that could be verified", found.location)
        elif not hashes:
            hashes = [_hash_in_order(checksum, found.size, descriptor, download)]
        download.wait_until(found.size)
    except DownloadError as error:
        raise found.location.error(error) from error
    finally:
        download.stop()
    if checksum is not None and (actual := checksum.of(hashes)) != checksum.value:
        raise found.location.error(
            f"what arrived is corrupt: its {checksum} is {actual} instead of {checksum.value}",
            CorruptError,
        )


def _hash_in_order(
    checksum: Checksum, size: int, descriptor: int, download: RangedDownload
) -> RangeHash:
    """Hash the bytes of an object right behind a download that has them in pieces."""
    hashed = checksum.range_hash(0)
    buffer = memoryview(bytearray(BUFFER_SIZE))
    position = 0
    while position < size:
        window = buffer[: size - position]
        download.wait_until(position + len(window))
        count = read(descriptor, window, position)
        hashed.update(window[:count])
        position += count
    return hashed
