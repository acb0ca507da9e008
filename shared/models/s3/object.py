"""S3 object: what S3 says about it, and what is wrong when it can't be had."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from shared.models.errors import AccessDeniedError, ModelSourceError
from shared.models.s3.checksum import Checksum, expected_checksum
from shared.models.s3.location import ObjectLocation
from shared.models.s3.transfer import DownloadError, reason

if TYPE_CHECKING:
    from shared.models.s3.access import S3Access

_URL_SECONDS = 3600
_CHUNK_SIZE = 2**20
_PAUSE = 3.0
"""Seconds until S3 is asked again whether access is allowed by now."""
_HINTS = {
    "AccessDenied": "reading needs s3:GetObject (and kms:Decrypt where a key of KMS encrypts), and "
    "without s3:ListBucket a missing key is reported in this way too",
    "ExpiredToken": "the AWS credentials have expired: renew them",
    "InvalidAccessKeyId": "the AWS credentials are wrong",
    "SignatureDoesNotMatch": "the AWS credentials are wrong",
    "RequestTimeTooSkewed": "set this machine's clock",
}
"""What to do, by S3's error code."""

_DENIED = ("AccessDenied", "403")
"""The latter is a HEAD's, of which no GET was told more: it was allowed meanwhile."""

_log = logging.getLogger("pilotlight.models")


class S3Object:
    """One version of an object. Raises `ModelSourceError` if there is none to be had."""

    def __init__(
        self, access: S3Access, location: ObjectLocation, denied_seconds: float = 0
    ) -> None:
        """Ask S3 about it: one request, or several for ``denied_seconds`` of denied access."""
        self.location = location
        self._access = access
        self._which: Any = {"Bucket": location.bucket, "Key": location.key}
        if location.version is not None:
            self._which["VersionId"] = location.version
        self._head = self._ask_until_allowed(denied_seconds)

    @property
    def size(self) -> int:
        """In bytes."""
        return int(self._head["ContentLength"])

    @property
    def etag(self) -> str:
        """Identifies this version, quotes included."""
        return str(self._head["ETag"])

    @property
    def modified(self) -> float:
        """When it was uploaded, in seconds since 1970."""
        return float(self._head["LastModified"].timestamp())

    @cached_property
    def checksum(self) -> Checksum | None:
        """What its bytes must agree with, if S3 has anything that can be computed."""
        return expected_checksum(self._head, self._part_size)

    @property
    def ca_bundle(self) -> str:
        """A file of the certificates to trust."""
        return self._access.ca_bundle

    @property
    def endpoint(self) -> str:
        """Which S3 it is in: AWS's in some region, or another service."""
        return self._access.client.meta.endpoint_url

    def url(self, refused: str = "") -> str:
        """An address that anybody can GET for a while.

        After one that was ``refused`` the credentials are looked up anew. Raises `DownloadError`.
        """
        try:
            if refused:
                self._access.renew()
            return self._access.client.generate_presigned_url(
                "get_object", Params=self._which, ExpiresIn=_URL_SECONDS
            )
        except (BotoCoreError, ModelSourceError) as error:
            raise DownloadError(str(error)) from error

    def chunks(self, start: int) -> Iterator[bytes]:
        """The bytes from ``start`` on, over one connection. Raises `DownloadError`."""
        try:
            answer = self._access.client.get_object(
                **self._which, IfMatch=self.etag, Range=f"bytes={start}-{self.size - 1}"
            )
        except ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            told = error.response["Error"]
            raise DownloadError(reason(status, told["Code"], told["Message"])) from error
        yield from answer["Body"].iter_chunks(_CHUNK_SIZE)

    def _ask_until_allowed(self, seconds: float) -> Mapping[str, Any]:
        last = time.monotonic() + seconds
        while True:
            try:
                return self._ask()
            except AccessDeniedError as error:
                if time.monotonic() + _PAUSE > last:
                    raise
                _log.info("%s; again in %g s, since a role may be too new", error, _PAUSE)
                time.sleep(_PAUSE)

    def _ask(self, **which_part: int) -> Mapping[str, Any]:
        try:
            return self._access.client.head_object(
                **self._which,
                ChecksumMode="ENABLED",
                **which_part,  # type: ignore[arg-type]
            )
        except ClientError as error:
            cause, code = self._cause(error)
            kind = AccessDeniedError if code in _DENIED else ModelSourceError
            raise self.location.error(cause, kind) from error
        except NoCredentialsError as error:
            raise self.location.error("no AWS credentials were found") from error
        except BotoCoreError as error:
            raise self.location.error(error) from error

    def _part_size(self) -> int | None:
        """Bytes of each of the parts that it was uploaded in but the last, None if they differ."""
        first = self._ask(PartNumber=1)
        size, count = int(first["ContentLength"]), int(first.get("PartsCount", 1))
        return size if (count - 1) * size < self.size <= count * size else None

    def _cause(self, error: ClientError) -> tuple[str, str]:
        """What is wrong, and its code: a HEAD's response has no body, so a GET is told."""
        try:
            self._access.client.get_object(**self._which, Range="bytes=0-0")["Body"].close()
        except ClientError as told:
            error = told
        code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
        if code == "NoSuchKey":
            return "no such key", code
        if code == "NoSuchVersion":
            return "no such version", code
        if code == "NoSuchBucket":
            return "no such bucket", code
        cause = f"{code}: {message}"
        if code in _HINTS:
            cause = f"{cause.removesuffix('.')}; {_HINTS[code]}"
        return cause, code
