"""A bucket of prefixes: what is written is read, in parts, and what fails says why."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import boto3
import pytest

from shared.config.warm_prefix import warm_messages
from shared.engine.llama.model import Model
from shared.engine.prefixes.store import BlockStoreError
from shared.storage.prefixes.location import check_prefix_store, open_prefix_store
from shared.storage.prefixes.s3 import S3Store
from tests.engine.conftest import EngineFactory, make_engine, model
from tests.engine.prefixes.prompts import answer, asked, assert_alike, engine_of, prompt
from tests.ports import free_port
from tests.storage.dynamodb.moto_server import ENVIRONMENT, moto_server

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

__all__ = ["make_engine", "model"]  # fixtures

BUCKET = "prefixes"
FOREVER = time.monotonic() + 1e6


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with moto_server() as url:
        yield url


@pytest.fixture
def client(url: str, monkeypatch: pytest.MonkeyPatch) -> S3Client:
    for name, value in {**ENVIRONMENT, "AWS_ENDPOINT_URL": url}.items():
        monkeypatch.setenv(name, value)
    client: S3Client = boto3.client("s3")
    client.create_bucket(Bucket=BUCKET)
    for found in client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        client.delete_object(Bucket=BUCKET, Key=found["Key"])
    return client


@pytest.fixture
def store(client: S3Client) -> Iterator[S3Store]:
    store = S3Store(BUCKET, "below/this")
    yield store
    store.close()


def write(store: S3Store, path: str, data: bytes) -> bool:
    return store.write(path, [memoryview(data[:3]), memoryview(data[3:])], lambda: False)


def read(store: S3Store, path: str, start: int, size: int) -> bytes:
    into = bytearray(size)
    n_read = store.read(path, start, memoryview(into), FOREVER)
    return bytes(into[:n_read])


def test_what_is_written_is_read(store: S3Store, client: S3Client) -> None:
    data = bytes(range(256)) * 4096

    assert write(store, "a/b", data)

    keys = [found["Key"] for found in client.list_objects_v2(Bucket=BUCKET)["Contents"]]
    assert keys == ["below/this/a/b"]
    assert read(store, "a/b", 0, len(data)) == data
    assert read(store, "a/b", 100, 50) == data[100:150]
    assert len(read(store, "a/b", len(data) - 10, 50)) == 10
    assert read(store, "a/b", len(data) + 5, 50) == b""
    assert read(store, "a/c", 0, 50) == b""


def test_a_second_writer_changes_nothing(store: S3Store) -> None:
    assert write(store, "a/b", b"first")

    assert not write(store, "a/b", b"second")
    assert read(store, "a/b", 0, 10) == b"first"


def test_what_is_too_old_to_count_is_replaced(
    store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bucket's rule may not have deleted it yet."""
    store._max_age = 3600
    write(store, "a/b", b"first")
    assert not write(store, "a/b", b"second")
    later = time.time() + 2 * 3600

    with monkeypatch.context() as patch:
        patch.setattr("shared.storage.prefixes.s3.time.time", lambda: later)
        assert write(store, "a/b", b"third")

    assert read(store, "a/b", 0, 10) == b"third"


def test_a_writer_that_is_cancelled_leaves_nothing(store: S3Store, client: S3Client) -> None:
    assert not store.write("a/b", [memoryview(bytes(2**20))], lambda: True)

    assert "Contents" not in client.list_objects_v2(Bucket=BUCKET)


def test_what_takes_too_long_is_given_up(store: S3Store) -> None:
    write(store, "a/b", bytes(2**20))

    with pytest.raises(BlockStoreError, match="takes too long"):
        store.read("a/b", 0, memoryview(bytearray(2**20)), time.monotonic() - 1)


def test_errors_name_the_bucket(client: S3Client) -> None:
    store = S3Store("another", "")

    with pytest.raises(BlockStoreError, match=r"s3://another/: .*NoSuchBucket"):
        read(store, "a/b", 0, 5)
    with pytest.raises(BlockStoreError, match="NoSuchBucket"):
        write(store, "a/b", b"12345")


def test_nobody_answers(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")

    with pytest.raises(BlockStoreError, match="Could not connect"):
        read(store, "a/b", 0, 5)
    with pytest.raises(BlockStoreError):
        write(store, "a/b", b"12345")


def test_after_closing_it_connects_anew(store: S3Store) -> None:
    write(store, "a/b", b"12345")
    store.close()
    store.warm_up()

    assert read(store, "a/b", 0, 5) == b"12345"


@pytest.mark.slow
def test_many_at_once(store: S3Store) -> None:
    with ThreadPoolExecutor(store.n_connections) as threads:
        written = threads.map(lambda i: write(store, f"a/{i}", bytes([i]) * 1000), range(40))
        assert all(written)
        found = list(threads.map(lambda i: read(store, f"a/{i}", 0, 1000), range(40)))

    assert found == [bytes([i]) * 1000 for i in range(40)]


@pytest.mark.slow
def test_an_engine_finds_what_another_has_written(
    make_engine: EngineFactory, model: Model, store: S3Store
) -> None:
    tokens = prompt(model, 900)
    first = engine_of(make_engine, store=store)

    async def ask() -> int:
        generation = first.submit(asked(tokens, stores_prefix=True))
        async for _ in generation:
            pass
        return await first.end_writes(generation)

    assert asyncio.run(ask()) == 768
    evaluated = answer(first, tokens)
    for part_size in (2**22, 100_000):
        store.part_size = part_size
        other = engine_of(make_engine, store=store)

        restored = answer(other, tokens)

        assert restored.cost.restored_tokens == 768
        assert_alike(restored, evaluated)
    assert (
        answer(engine_of(make_engine, store=store), prompt(model, 900, "other")).cost.cached_tokens
        == 0
    )


@pytest.mark.parametrize("location", ["s3://", "s3://-x-/x", "s3:bucket", "https://x/y", "gs://x"])
def test_what_is_no_location_is_refused(location: str) -> None:
    with pytest.raises(ValueError, match="s3://BUCKET"):
        check_prefix_store(location)


@pytest.mark.parametrize(
    ("location", "key"),
    [
        ("s3://prefixes", "a/b"),
        ("s3://prefixes/", "a/b"),
        ("s3://prefixes/x", "x/a/b"),
        ("s3://prefixes/x/y/", "x/y/a/b"),
    ],
)
def test_locations_name_keys(client: S3Client, location: str, key: str) -> None:
    store = open_prefix_store(check_prefix_store(location), budget=1, max_age=1)

    store.write("a/b", [memoryview(b"1")], lambda: False)

    assert client.list_objects_v2(Bucket=BUCKET)["Contents"][0]["Key"] == key


def test_a_warm_prefix_is_read_from_a_bucket(client: S3Client) -> None:
    client.put_object(Bucket=BUCKET, Key="prompts/system.txt", Body="Sei kürzer.\n".encode())

    found = warm_messages(f"s3://{BUCKET}/prompts/system.txt")

    assert found == [{"role": "system", "content": "Sei kürzer."}]
    with pytest.raises(OSError, match="NoSuchKey"):
        warm_messages(f"s3://{BUCKET}/prompts/missing.txt")
