"""What the AWS library uploads, as moto's server keeps it, comes back and is verified."""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import boto3
import moto.s3.models
import numpy as np
import pytest
from awscrt.checksums import crc32c
from boto3.s3.transfer import TransferConfig
from moto.s3.models import MultipartChecksumBuilder
from moto.s3.utils import compute_checksum

from shared.models.errors import ModelSourceError
from shared.models.s3.source import fetch
from tests.storage.dynamodb.moto_server import ENVIRONMENT, moto_server

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

PART = 5 * 2**20
CONTENT = b"GGUF" + np.random.default_rng(0).bytes(2 * PART + 12345)
ALGORITHMS = ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"]


@pytest.fixture(scope="module")
def url(stand_ins: None) -> Iterator[str]:
    """moto's server with a bucket; corrected where it differs from S3."""
    build = MultipartChecksumBuilder.build

    def with_number(builder: MultipartChecksumBuilder) -> Any:
        """To a HEAD, moto does not tell the number of parts that belongs to such a checksum."""
        kind, value, count = cast("Any", build(builder))
        return kind, f"{value}-{count}" if kind == "COMPOSITE" else value, count

    def with_crc32c(body: bytes, algorithm: str, encode_base64: bool = True) -> bytes:
        """Without a further library, moto computes another CRC."""
        if algorithm != "CRC32C":
            return compute_checksum(body, algorithm, encode_base64)
        value = crc32c(body).to_bytes(4, "big")
        return base64.b64encode(value) if encode_base64 else value

    with pytest.MonkeyPatch.context() as patches, moto_server() as url:
        patches.setattr(MultipartChecksumBuilder, "build", with_number)
        patches.setattr(moto.s3.models, "compute_checksum", with_crc32c)
        for name, value in {**ENVIRONMENT, "AWS_ENDPOINT_URL": url}.items():
            patches.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket="models")
        yield url


@pytest.fixture
def s3(url: str, monkeypatch: pytest.MonkeyPatch) -> S3Client:
    """A client, and the environment with which `fetch` finds the server."""
    return boto3.client("s3")


def content(source: str) -> bytes:
    """What is fetched."""
    files = fetch(source, "memory")
    found = files.paths[0].read_bytes()
    files.close()
    return found


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("threshold", [PART, 2**30], ids=["in parts", "at once"])
def test_whatever_checksum_was_asked_for(
    s3: S3Client, algorithm: str, threshold: int, caplog: pytest.LogCaptureFixture
) -> None:
    key = f"{algorithm}-{threshold}.gguf"
    config = TransferConfig(multipart_threshold=threshold, multipart_chunksize=PART)
    s3.upload_fileobj(
        *(io.BytesIO(CONTENT), "models", key),
        ExtraArgs={"ChecksumAlgorithm": algorithm},
        Config=config,
    )
    with caplog.at_level(logging.INFO):
        assert content(f"s3://models/{key}") == CONTENT
    assert "no checksum" not in caplog.text
    _corrupt(key)
    with pytest.raises(ModelSourceError, match=f"corrupt: its {algorithm} is "):
        content(f"s3://models/{key}")


def _corrupt(key: str) -> None:
    """Flip a bit of what the server has."""
    stored = cast(
        "Any", moto.s3.models.s3_backends["123456789012"]["aws"].get_object("models", key)
    )
    stored.value = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])


class TestVersions:
    """Objects that were replaced."""

    @pytest.fixture
    def first(self, s3: S3Client) -> str:
        """The id of the first of two versions."""
        s3.create_bucket(Bucket="versions")
        s3.put_bucket_versioning(Bucket="versions", VersioningConfiguration={"Status": "Enabled"})
        first = s3.put_object(Bucket="versions", Key="m.gguf", Body=b"GGUF, the first")
        s3.put_object(Bucket="versions", Key="m.gguf", Body=b"GGUF, the second")
        return first["VersionId"]

    def test_the_latest_is_the_default(self, first: str) -> None:
        assert content("s3://versions/m.gguf") == b"GGUF, the second"

    def test_an_earlier_one_may_be_named(self, first: str) -> None:
        assert content(f"s3://versions/m.gguf?versionId={first}") == b"GGUF, the first"

    def test_a_missing_one_is_an_error(self, first: str) -> None:
        with pytest.raises(
            ModelSourceError, match=r"version 'x' of key 'm\.gguf' .*no such version"
        ):
            content("s3://versions/m.gguf?versionId=x")
