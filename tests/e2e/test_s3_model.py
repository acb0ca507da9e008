"""``serve --model s3://...``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import OpenAI

from shared.models.sources import BUILTIN_PATH
from tests.conftest import StartServer
from tests.forked_program import run_command
from tests.models.s3_server import BUCKET, S3Server, environment
from tests.models.variant import write_split
from tests.server import environment as without_settings

pytestmark = pytest.mark.usefixtures("processes")


@pytest.fixture
def s3() -> Iterator[S3Server]:
    """A bucket with the built-in model."""
    server = S3Server()
    server.put("llms/small.gguf", BUILTIN_PATH.read_bytes())
    with server.serving():
        yield server


def capital(url: str) -> str | None:
    """What the model says of France's capital."""
    with OpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0, timeout=300) as client:
        answer = client.chat.completions.create(
            model="small",
            messages=[{"role": "user", "content": "What is the capital of France?"}],
            temperature=0,
        )
    return answer.choices[0].message.content


@pytest.mark.parametrize("cache", ["memory", "directory"])
def test_an_object_is_served(
    s3: S3Server, start_server: StartServer, tmp_path: Path, cache: str
) -> None:
    where = "memory" if cache == "memory" else str(tmp_path / "cache")
    server = start_server(
        *("--model", f"s3://{BUCKET}/llms/small.gguf", "--model-cache", where),
        environ=environment(s3.url),
    )
    assert server.model == "small"
    assert "Paris" in str(capital(server.url))
    assert f"s3://{BUCKET}/llms/small.gguf: 0.00 of 0.00 GB" in server.log_text()


def test_a_split_model_is_served(s3: S3Server, start_server: StartServer, tmp_path: Path) -> None:
    for part in write_split(tmp_path):
        s3.put(part.name.replace("split", "small"), part.read_bytes())
    first = next(key for key in s3.objects if "-00001-of-" in key)
    server = start_server(
        *("--model", f"s3://{BUCKET}/{first}", "--model-cache", "memory"),
        environ=environment(s3.url),
    )
    assert "Paris" in str(capital(server.url))


@pytest.mark.parametrize(
    ("source", "body", "cause"),
    [
        (f"s3://{BUCKET}/none.gguf", None, "key 'none.gguf' of bucket 'models' from S3: no such"),
        ("s3://nowhere/none.gguf", None, "key 'none.gguf' of bucket 'nowhere' from S3: no such"),
        (f"s3://{BUCKET}/page.gguf", b"<html>", "not a GGUF file, it begins with b'<htm'"),
        (
            f"s3://{BUCKET}/half.gguf",
            BUILTIN_PATH.read_bytes()[: BUILTIN_PATH.stat().st_size // 2],
            f"can't load s3://{BUCKET}/half.gguf: ",
        ),
        (f"s3://{BUCKET}/head.gguf", b"GGUF\xff\xff\xff\xff", "head.gguf: "),
    ],
    ids=["missing key", "missing bucket", "not gguf", "truncated", "corrupt"],
)
def test_what_can_not_be_had_ends_the_start(
    s3: S3Server, source: str, body: bytes | None, cause: str
) -> None:
    if body is not None:
        s3.put(source.rpartition("/")[2], body)
    done = run_command(
        *("serve", "--port", "0", "--model", source, "--model-cache", "memory"),
        environ=without_settings(environment(s3.url)),
    )
    assert done.returncode == 1
    assert cause in done.stderr
    assert "Traceback" not in done.stderr
