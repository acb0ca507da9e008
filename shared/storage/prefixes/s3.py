"""Prefix store in a bucket of S3.

No call is repeated: a prefix that can't be had at once is evaluated. A connection gets 50 to 100
MB/s from S3 however large the file is, so files are read in parts, side by side.
"""

from __future__ import annotations

import io
import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from shared.engine.prefixes.store import BlockStoreError, IsCancelled
from shared.storage.aws_session import new_session
from shared.storage.prefixes.files import PATH, StoredFile

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

_CONNECT_SECONDS = 1.0
_IDLE_SECONDS = 2.0
"""Without a byte, after which a connection is given up."""
_STEP = 2**18
"""Bytes that are read at once."""
_DELETED_AT_ONCE = 1000
"""Objects, as many as S3 takes."""
_MISSING = ("NoSuchKey", "404", "InvalidRange", "416")
_PRESENT = ("PreconditionFailed", "ConditionalRequestConflict")
"""Another process has written the file, or is about to."""


class S3Store:
    """Objects under a prefix of a bucket (`shared.storage.prefixes.files.PrefixFiles`)."""

    n_connections = 16
    part_size = 4 * 2**20

    def __init__(self, bucket: str, prefix: str, *, max_age: float = math.inf) -> None:
        """``max_age``: seconds for which objects count; those that are older are replaced."""
        self._bucket = bucket
        self._max_age = max_age
        self._prefix = prefix.rstrip("/") + "/" if prefix.strip("/") else ""
        self._client: S3Client | None = None
        self._lock = threading.Lock()

    def read(self, path: str, start: int, into: memoryview, until: float) -> int:
        """See `BlockStore.read`."""
        try:
            answer = self._opened().get_object(
                Bucket=self._bucket,
                Key=self._prefix + path,
                Range=f"bytes={start}-{start + len(into) - 1}",
            )
            n_read = 0
            with answer["Body"] as body:
                while data := body.read(min(_STEP, len(into) - n_read)):
                    into[n_read : n_read + len(data)] = data
                    n_read += len(data)
                    if time.monotonic() > until:
                        raise BlockStoreError(f"{self._name} takes too long to read")
            return n_read
        except ClientError as error:
            if error.response["Error"]["Code"] in _MISSING:
                return 0
            raise self._error(error) from error
        except (BotoCoreError, HTTPClientError, OSError, ValueError) as error:
            raise self._error(error) from error

    def write(self, path: str, parts: Sequence[memoryview], is_cancelled: IsCancelled) -> bool:
        """See `BlockStore.write`. S3 has all of it or none."""
        try:
            if not self._put(path, parts, is_cancelled, IfNoneMatch="*"):
                # Lifecycle rules delete once a day: until then what is too old is in the way.
                old = self._expired(path)
                return old is not None and self._put(path, parts, is_cancelled, IfMatch=old)
        except ClientError as error:
            raise self._error(error) from error
        except (BotoCoreError, HTTPClientError, OSError, ValueError) as error:
            if is_cancelled():
                return False
            raise self._error(error) from error
        return True

    def _put(
        self, path: str, parts: Sequence[memoryview], is_cancelled: IsCancelled, **condition: str
    ) -> bool:
        """Write an object if the condition holds; whether it did."""
        body = _Body(parts, is_cancelled)
        put: Callable[..., object] = self._opened().put_object
        try:
            put(
                Bucket=self._bucket,
                Key=self._prefix + path,
                Body=body,
                ContentLength=body.size,
                **condition,
            )
        except ClientError as error:
            if error.response["Error"]["Code"] in _PRESENT:
                return False
            raise
        return True

    def _expired(self, path: str) -> str | None:
        """The entity tag of an object that is too old to count; None if it does, or is gone."""
        try:
            found = self._opened().head_object(Bucket=self._bucket, Key=self._prefix + path)
        except ClientError as error:
            if error.response["Error"]["Code"] in _MISSING:
                return None
            raise
        age = time.time() - found["LastModified"].timestamp()
        return found["ETag"] if age > self._max_age else None

    def discard(self, path: str) -> None:
        """Nothing: whoever reads may not delete. The lifecycle rule does, in the end."""

    def files(self, folder: str = "") -> Iterator[StoredFile]:
        """See `PrefixFiles.files`. Needs ``s3:ListBucket``."""
        try:
            pages = (
                self._opened()
                .get_paginator("list_objects_v2")
                .paginate(Bucket=self._bucket, Prefix=f"{self._prefix}{folder}")
            )
            for page in pages:
                for found in page.get("Contents", ()):
                    path = found["Key"].removeprefix(self._prefix)
                    if PATH.fullmatch(path):
                        yield StoredFile(path, found["Size"], found["LastModified"].timestamp())
        except (ClientError, BotoCoreError, HTTPClientError, OSError, ValueError) as error:
            raise self._error(error) from error

    def delete(self, paths: Iterable[str]) -> None:
        """See `PrefixFiles.delete`. Needs ``s3:DeleteObject``."""
        try:
            waiting = iter(paths)
            while some := list(islice(waiting, _DELETED_AT_ONCE)):
                answer = self._opened().delete_objects(
                    Bucket=self._bucket,
                    Delete={"Objects": [{"Key": self._prefix + p} for p in some], "Quiet": True},
                )
                if errors := answer.get("Errors"):
                    raise BlockStoreError(f"{self._name}: {errors[0].get('Message')}")
        except (ClientError, BotoCoreError, HTTPClientError, OSError, ValueError) as error:
            raise self._error(error) from error

    def warm_up(self) -> None:
        """See `BlockStore.warm_up`. Making a client takes 0.3 s, and later ones a tenth of it."""
        try:
            self._opened()
        except (BotoCoreError, ValueError) as error:
            raise self._error(error) from error

    def close(self) -> None:
        """See `BlockStore.close`."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    @property
    def _name(self) -> str:
        return f"s3://{self._bucket}/{self._prefix}"

    def _error(self, error: Exception) -> BlockStoreError:
        return BlockStoreError(f"{self._name}: {error}")

    def _opened(self) -> S3Client:
        with self._lock:
            if self._client is None:
                self._client = new_session().client("s3", config=self._config())
            return self._client

    def _config(self) -> Config:
        names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
        is_elsewhere = any(os.environ.get(name) for name in names)
        return Config(
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_IDLE_SECONDS,
            max_pool_connections=2 * self.n_connections,
            tcp_keepalive=True,
            retries={"total_max_attempts": 1},
            # Blocks have checksums of their own, and the connection is encrypted.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={
                "payload_signing_enabled": False,
                "addressing_style": "path" if is_elsewhere else "auto",
            },
        )


class _CancelledError(OSError):
    """The body was not wanted any more while it was sent."""


class _Body(io.RawIOBase):
    """What is sent, until it is cancelled."""

    def __init__(self, parts: Sequence[memoryview], is_cancelled: IsCancelled) -> None:
        self._data = memoryview(b"".join(parts))
        self._position = 0
        self._is_cancelled = is_cancelled
        self.size = len(self._data)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = (0, self._position, self.size)[whence]
        self._position = base + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        if self._is_cancelled():
            raise _CancelledError("it was cancelled")
        end = self.size if size is None or size < 0 else min(self._position + size, self.size)
        data = bytes(self._data[self._position : end])
        self._position = end
        return data
