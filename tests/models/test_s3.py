"""Models from S3: what arrives, in memory and in the cache, whatever the network does."""

from __future__ import annotations

import base64
import hashlib
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from awscrt.checksums import crc64nvme

from shared.models.errors import ModelSourceError
from shared.models.files import ModelFiles
from shared.models.s3 import transfer
from shared.models.s3.source import fetch
from shared.models.s3.transfer import ATTEMPTS, PART_SIZE
from tests.models.s3_server import BUCKET, Fault, S3Server, crc32, environment

KEY = "llms/tiny.gguf"
SOURCE = f"s3://{BUCKET}/{KEY}"
CONTENT = b"GGUF" + np.random.default_rng(0).bytes(3 * PART_SIZE + 12345)


@pytest.fixture
def s3(stand_ins: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """A bucket with a model."""
    server = S3Server()
    for name, value in environment(server.url).items():
        monkeypatch.setenv(name, value)
    server.put(KEY, CONTENT)
    with server.serving():
        yield server


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries wait for the sake of S3, which isn't here."""
    monkeypatch.setattr(transfer, "_BACKOFF_MILLISECONDS", 1)


def content(files: ModelFiles) -> bytes:
    """All bytes of a model; lets go of it."""
    found = b"".join(path.read_bytes() for path in files.paths)
    files.close()
    return found


def refused(source: str = SOURCE, cache: str = "memory") -> str:
    """Why a model can't be had."""
    with pytest.raises(ModelSourceError) as caught:
        fetch(source, cache)
    return str(caught.value)


class TestPlaces:
    """Memory, and a directory."""

    def test_in_memory_it_is_in_no_directory(self, s3: S3Server) -> None:
        files = fetch(SOURCE, "memory")
        assert os.readlink(files.paths[0]).startswith("/memfd:tiny.gguf")
        assert content(files) == CONTENT

    def test_it_is_as_old_as_the_object(self, s3: S3Server) -> None:
        files = fetch(SOURCE, "memory")
        assert files.paths[0].stat().st_mtime == 1795348800
        files.close()

    def test_in_a_directory_it_is_downloaded_once(self, s3: S3Server, tmp_path: Path) -> None:
        first = fetch(SOURCE, str(tmp_path / "new"))
        gets = len(s3.gets)
        second = fetch(SOURCE, str(tmp_path / "new"))
        assert first.paths == second.paths
        assert first.paths[0].name == "tiny.gguf"
        assert first.paths[0].is_relative_to(tmp_path)
        assert content(second) == CONTENT
        assert len(s3.gets) == gets == 4

    def test_a_new_version_is_downloaded_again(self, s3: S3Server, tmp_path: Path) -> None:
        fetch(SOURCE, str(tmp_path))
        s3.put(KEY, b"GGUF, improved")
        assert content(fetch(SOURCE, str(tmp_path))) == b"GGUF, improved"

    def test_the_default_is_a_directory_of_the_users(
        self, s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        files = fetch(SOURCE, None)
        assert files.paths[0].is_relative_to(tmp_path / "pilotlight" / "models")

    def test_without_a_place_for_that_directory_memory_serves(
        self, s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").write_text("no directory")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
        files = fetch(SOURCE, None)
        assert files.descriptors
        assert content(files) == CONTENT

    def test_a_directory_that_was_asked_for_must_be_there(
        self, s3: S3Server, tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_text("no directory")
        assert "can't write the model cache" in refused(cache=str(tmp_path / "file" / "cache"))

    def test_progress_reaches_one_and_is_logged(
        self, s3: S3Server, caplog: pytest.LogCaptureFixture
    ) -> None:
        seen: list[float] = []
        with caplog.at_level(logging.INFO):
            fetch(SOURCE, "memory", seen.append).close()
        assert seen == sorted(seen)
        assert seen[-1] == 1
        assert f"{SOURCE}: 0.01 of 0.01 GB" in caplog.text


class TestFaults:
    """What networks and S3 do."""

    @pytest.mark.parametrize("fault", ["reset", "cut", "short", "slow-down"])
    @pytest.mark.parametrize("cache", ["memory", "directory"])
    def test_each_part_may_fail_once(
        self, s3: S3Server, tmp_path: Path, fault: Fault, cache: str
    ) -> None:
        failed: set[int] = set()

        def plan(number: int, start: int) -> Fault | None:
            is_new = start % PART_SIZE == 0 and start not in failed
            failed.add(start)
            return fault if is_new else None

        s3.plan = plan
        where = "memory" if cache == "memory" else str(tmp_path)
        assert content(fetch(SOURCE, where)) == CONTENT
        assert len(s3.gets) == 8

    def test_only_the_part_that_ended_early_is_asked_for_again(self, s3: S3Server) -> None:
        s3.plan = lambda number, start: "short" if number == 0 else None
        assert content(fetch(SOURCE, "memory")) == CONTENT
        assert sorted(s3.gets) == [0, 0, PART_SIZE, 2 * PART_SIZE, 3 * PART_SIZE]

    def test_what_the_client_does_not_retry_is_asked_for_again(self, s3: S3Server) -> None:
        s3.plan = lambda number, start: "too-many" if number < 7 else None
        assert content(fetch(SOURCE, "memory")) == CONTENT

    def test_a_transfer_that_gets_on_goes_on(self, s3: S3Server) -> None:
        has_two = threading.Event()

        def on_progress(fraction: float) -> None:
            if fraction * len(CONTENT) >= 2 * PART_SIZE:
                has_two.set()

        def on_get(number: int) -> None:
            if s3.gets[number] == 2 * PART_SIZE:
                has_two.wait(60)

        s3.on_get = on_get
        failing = 2 * PART_SIZE
        s3.plan = lambda number, start: (
            "short" if start == failing and s3.gets.count(start) <= ATTEMPTS else None
        )
        assert content(fetch(SOURCE, "memory", on_progress)) == CONTENT
        assert s3.gets.count(0) == s3.gets.count(PART_SIZE) == 1

    def test_many_failures_of_different_parts_are_endured(self, s3: S3Server) -> None:
        s3.plan = lambda number, start: "short" if s3.gets.count(start) < 8 else None
        assert content(fetch(SOURCE, "memory")) == CONTENT
        assert len(s3.gets) == 4 * 8

    @pytest.mark.parametrize(
        ("fault", "reason"),
        [
            ("reset", "8 attempts"),
            ("slow-down", "503 SlowDown: Please reduce your request rate. (8 attempts)"),
            ("too-many", "429 TooManyRequests: Too many. (8 attempts)"),
            ("denied", "403 AccessDenied"),
            ("error", "400 InvalidRequest: injected"),
        ],
    )
    def test_what_never_ends_is_given_up(self, s3: S3Server, fault: Fault, reason: str) -> None:
        s3.plan = lambda number, start: fault
        message = refused()
        assert f"key '{KEY}' of bucket '{BUCKET}'" in message
        assert reason in message

    def test_a_refused_address_is_signed_again(self, s3: S3Server) -> None:
        s3.plan = lambda number, start: "denied" if number == 2 else None
        assert content(fetch(SOURCE, "memory")) == CONTENT

    def test_an_object_that_is_replaced_meanwhile_is_an_error(self, s3: S3Server) -> None:
        def on_get(number: int) -> None:
            if number == 3:
                s3.put(KEY, CONTENT[:-1] + b"!")

        s3.on_get = on_get
        s3.plan = lambda number, start: "reset" if number == 3 else None
        assert "the object was replaced while it was downloaded" in refused()


def composite(parts: list[bytes]) -> str:
    """As in ``x-amz-checksum-sha256`` of an object that was uploaded in parts."""
    digests = b"".join(hashlib.sha256(part).digest() for part in parts)
    return f"{base64.b64encode(hashlib.sha256(digests).digest()).decode()}-{len(parts)}"


def crc32_of_parts(parts: list[bytes]) -> str:
    """As in ``x-amz-checksum-crc32`` of an object that was uploaded in parts."""
    return f"{crc32(b''.join(base64.b64decode(crc32(part)) for part in parts))}-{len(parts)}"


PART = 5 * 2**20 + 1
PARTS = [CONTENT[start : start + PART] for start in range(0, len(CONTENT), PART)]
SIZES = [len(part) for part in PARTS]
SHA256 = base64.b64encode(hashlib.sha256(CONTENT).digest()).decode()
CRC64NVME = base64.b64encode(crc64nvme(CONTENT).to_bytes(8, "big")).decode()


class TestVerification:
    """Checksums and ETags."""

    UPLOADS = (
        pytest.param({}, "ETag", id="etag"),
        pytest.param({"part_sizes": SIZES}, "ETag", id="etag of parts"),
        pytest.param({"headers": {"x-amz-checksum-sha256": SHA256}}, "SHA256", id="sha256"),
        pytest.param({"headers": {"x-amz-checksum-crc32": crc32(CONTENT)}}, "CRC32", id="crc32"),
        pytest.param(
            {"headers": {"x-amz-checksum-sha256": composite(PARTS)}, "part_sizes": SIZES},
            "SHA256",
            id="sha256 of parts",
        ),
        pytest.param(
            {"headers": {"x-amz-checksum-crc64nvme": CRC64NVME}}, "CRC64NVME", id="crc64nvme"
        ),
        pytest.param(
            {"headers": {"x-amz-checksum-crc32": crc32_of_parts(PARTS)}, "part_sizes": SIZES},
            "CRC32",
            id="crc32 of parts",
        ),
    )

    @pytest.mark.parametrize(("upload", "name"), UPLOADS)
    def test_what_is_right_is_accepted(
        self, s3: S3Server, upload: dict[str, object], name: str
    ) -> None:
        s3.put(KEY, CONTENT, **upload)
        assert content(fetch(SOURCE, "memory")) == CONTENT

    @pytest.mark.parametrize(("upload", "name"), UPLOADS)
    def test_a_flipped_bit_is_noticed(
        self, s3: S3Server, upload: dict[str, object], name: str
    ) -> None:
        s3.put(KEY, CONTENT, **upload)
        s3.plan = lambda number, start: "corrupt" if 0 < start < 2 * PART_SIZE else None
        message = refused()
        assert f"key '{KEY}' of bucket '{BUCKET}'" in message
        assert f"corrupt: its {name} is " in message

    @pytest.mark.parametrize(
        "upload",
        [
            {"etag": '"0123-opaque"'},
            {"headers": {"x-amz-server-side-encryption": "aws:kms"}, "etag": f'"{"0" * 32}"'},
            {"part_sizes": [2**20, len(CONTENT) - 2**20]},
        ],
        ids=["opaque", "kms", "unequal parts"],
    )
    def test_what_can_not_be_verified_is_said(
        self, s3: S3Server, upload: dict[str, object], caplog: pytest.LogCaptureFixture
    ) -> None:
        s3.put(KEY, CONTENT, **upload)
        with caplog.at_level(logging.INFO):
            assert content(fetch(SOURCE, "memory")) == CONTENT
        assert "no checksum that could be verified" in caplog.text

    def test_what_is_corrupt_does_not_stay_in_the_cache(self, s3: S3Server, tmp_path: Path) -> None:
        s3.plan = lambda number, start: "corrupt" if start == PART_SIZE else None
        refused(cache=str(tmp_path))
        assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["lock"]
        s3.plan = lambda number, start: None
        assert content(fetch(SOURCE, str(tmp_path))) == CONTENT


class TestRefused:
    """What can't be had, and why."""

    @pytest.mark.parametrize(
        "source",
        ["s3://", "s3://models", "s3://models/", "s3://models/a.bin", "s3://Models/a.gguf"],
    )
    def test_a_bad_spelling_is_refused_with_the_right_one(self, source: str) -> None:
        assert "s3://BUCKET/KEY.gguf" in refused(source)

    def test_a_missing_key(self, s3: S3Server) -> None:
        message = refused(f"s3://{BUCKET}/other.gguf")
        assert f"key 'other.gguf' of bucket '{BUCKET}' from S3: no such key" in message

    def test_a_missing_bucket(self, s3: S3Server) -> None:
        message = refused("s3://elsewhere/other.gguf")
        assert "key 'other.gguf' of bucket 'elsewhere' from S3: no such bucket" in message

    def test_a_denied_bucket(self, s3: S3Server) -> None:
        s3.denied.add("secret")
        message = refused("s3://secret/m.gguf")
        assert "key 'm.gguf' of bucket 'secret' from S3: AccessDenied: " in message
        assert "s3:GetObject" in message

    @pytest.mark.parametrize("body", [b"", b"GG", b"<html>" * 100])
    def test_what_is_not_gguf(self, s3: S3Server, body: bytes) -> None:
        s3.put(KEY, body)
        assert "from S3: not a GGUF file, it " in refused()

    def test_no_credentials(self, s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        assert "no AWS credentials were found" in refused()

    def test_nobody_there(self, s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        assert "Could not connect" in refused()
