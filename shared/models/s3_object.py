"""An object in S3: where it is, what S3 says about it, and what is wrong when it can't be had."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from shared.models.s3_checksum import Checksum, expected_checksum
from shared.models.source_error import ModelSourceError

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

_LOCATION = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9])/(?P<key>.+\.gguf)")
_URL_SECONDS = 3600
_SIGN_AGAIN_SECONDS = 300.0
"""Well before temporary credentials end, since boto3 renews those some 10 minutes ahead."""
_DENIED = (
    "access denied; reading needs s3:GetObject (and kms:Decrypt where a key of KMS encrypts), and "
    "without s3:ListBucket a missing key is reported in this way too"
)


@dataclass(frozen=True, slots=True)
class ObjectLocation:
    """A bucket and a key."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, source: str) -> ObjectLocation:
        """Read ``s3://BUCKET/KEY.gguf``; raises `ModelSourceError`."""
        match = _LOCATION.fullmatch(source)
        if match is None:
            raise ModelSourceError(f"expected s3://BUCKET/KEY.gguf, not {source!r}")
        return cls(match["bucket"], match["key"])

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    @property
    def name(self) -> str:
        """The key without what looks like directories."""
        return self.key.rpartition("/")[2]

    def error(
        self, cause: object, kind: type[ModelSourceError] = ModelSourceError
    ) -> ModelSourceError:
        """Names bucket, key and cause."""
        return kind(f"can't load key {self.key!r} of bucket {self.bucket!r} from S3: {cause}")


class S3Object:
    """One version of an object. Raises `ModelSourceError` if there is none to be had."""

    def __init__(self, client: S3Client, location: ObjectLocation) -> None:
        """Ask S3 about it: one request."""
        self.location = location
        self._client = client
        self._head = self._ask()
        self._url = ""
        self._url_ends = 0.0

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
    def endpoint(self) -> str:
        """Which S3 it is in: AWS's in some region, or another service."""
        return self._client.meta.endpoint_url

    def url(self, anew: bool = False) -> str:
        """An address that anybody can GET for a while. Safe to call from several threads."""
        now = time.monotonic()
        if anew or now >= self._url_ends:
            try:
                self._url = self._client.generate_presigned_url(
                    "get_object",
                    Params={"Bucket": self.location.bucket, "Key": self.location.key},
                    ExpiresIn=_URL_SECONDS,
                )
            except BotoCoreError as error:
                raise self.location.error(error) from error
            self._url_ends = now + _SIGN_AGAIN_SECONDS
        return self._url

    def _ask(self, **which_part: int) -> Mapping[str, Any]:
        try:
            return self._client.head_object(
                Bucket=self.location.bucket,
                Key=self.location.key,
                ChecksumMode="ENABLED",
                **which_part,  # type: ignore[arg-type]
            )
        except ClientError as error:
            raise self.location.error(self._cause(error)) from error
        except NoCredentialsError as error:
            raise self.location.error("no AWS credentials were found") from error
        except BotoCoreError as error:
            raise self.location.error(error) from error

    def _part_size(self) -> int | None:
        """Bytes of each of the parts that it was uploaded in but the last, None if they differ."""
        first = self._ask(PartNumber=1)
        size, count = int(first["ContentLength"]), int(first.get("PartsCount", 1))
        return size if (count - 1) * size < self.size <= count * size else None

    def _cause(self, error: ClientError) -> str:
        """A HEAD's response has no body: its status is all that is known."""
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        if status == 403:
            return _DENIED
        if status == 404:
            return "no such key" if self._bucket_exists() else "no such bucket"
        return str(error)

    def _bucket_exists(self) -> bool:
        try:
            self._client.head_bucket(Bucket=self.location.bucket)
        except ClientError as error:
            return bool(error.response["ResponseMetadata"]["HTTPStatusCode"] != 404)
        return True


def new_client() -> S3Client:
    """Credentials, region and endpoint (``AWS_ENDPOINT_URL_S3``) are boto3's defaults."""
    try:
        return boto3.session.Session().client(
            "s3",
            config=Config(
                signature_version="s3v4",
                connect_timeout=5,
                read_timeout=15,
                retries={"mode": "standard", "total_max_attempts": 5},
            ),
        )
    except (BotoCoreError, ValueError) as error:
        raise ModelSourceError(f"can't use S3: {error}") from error
