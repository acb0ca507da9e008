"""The cache of models from S3, shared by processes that come, wait and die; and what it costs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from shared.models.s3.source import fetch
from shared.models.s3.transfer import PART_SIZE
from tests.models.s3_server import BUCKET, S3Server, environment
from tests.server import environment as without_settings
from tests.server import wait_until

pytestmark = pytest.mark.usefixtures("processes")

SOURCE = f"s3://{BUCKET}/tiny.gguf"
CONTENT = b"GGUF" + np.random.default_rng(0).bytes(3 * PART_SIZE + 12345)

PRINT_PATH = (
    "from shared.models.s3.source import fetch; import sys; print(*fetch(*sys.argv[1:]).paths)"
)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """A bucket with a model."""
    server = S3Server()
    for name, value in environment(server.url).items():
        monkeypatch.setenv(name, value)
    server.put("tiny.gguf", CONTENT)
    with server.serving():
        yield server


def start(code: str, *arguments: str) -> subprocess.Popen[str]:
    """A program in another process."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        env=without_settings(),
        text=True,
    )


def killed_after(s3: S3Server, directory: Path, n_parts: int) -> int:
    """Have a process that downloads killed when it has the first ``n_parts`` parts.

    Returns the number of bytes that it left: more may arrive before the signal does.
    """

    def left() -> int:
        return sum(path.stat().st_size for path in directory.rglob("partial"))

    with start(PRINT_PATH, SOURCE, str(directory)) as process:

        def on_get(number: int) -> None:
            if s3.gets[number] >= n_parts * PART_SIZE:
                wait_until(lambda: left() >= n_parts * PART_SIZE, "so many parts are there")
                process.kill()

        s3.on_get = on_get
        process.wait(60)
    assert process.returncode == -signal.SIGKILL
    s3.on_get = lambda number: None
    s3.gets.clear()
    return left()


def test_processes_that_start_together_download_once(s3: S3Server, tmp_path: Path) -> None:
    processes = [start(PRINT_PATH, SOURCE, str(tmp_path)) for _ in range(3)]
    paths = {process.communicate(timeout=300)[0] for process in processes}
    assert len(paths) == 1
    assert Path(paths.pop().strip()).read_bytes() == CONTENT
    assert s3.sent == len(CONTENT)


def test_what_a_killed_process_got_is_not_downloaded_again(s3: S3Server, tmp_path: Path) -> None:
    left = killed_after(s3, tmp_path, 2)
    path = fetch(SOURCE, str(tmp_path)).paths[0]
    assert path.read_bytes() == CONTENT
    assert left >= 2 * PART_SIZE
    assert min(s3.gets) == left
    assert sorted(each.name for each in path.parent.iterdir()) == ["lock", "tiny.gguf"]


def test_a_killed_process_leaves_no_model_behind(s3: S3Server, tmp_path: Path) -> None:
    killed_after(s3, tmp_path, 3)
    assert not list(tmp_path.rglob("*.gguf"))


def test_what_is_left_is_not_trusted(s3: S3Server, tmp_path: Path) -> None:
    killed_after(s3, tmp_path, 2)
    (partial,) = tmp_path.rglob("partial")
    with partial.open("r+b") as file:
        for offset in range(4, len(CONTENT), PART_SIZE):
            file.seek(offset)
            file.write(b"not what was downloaded")
    assert fetch(SOURCE, str(tmp_path)).paths[0].read_bytes() == CONTENT


def test_what_is_left_may_end_anywhere(s3: S3Server, tmp_path: Path) -> None:
    killed_after(s3, tmp_path, 2)
    (partial,) = tmp_path.rglob("partial")
    os.truncate(partial, PART_SIZE + 1)
    assert fetch(SOURCE, str(tmp_path)).paths[0].read_bytes() == CONTENT
    assert min(s3.gets) == PART_SIZE + 1


def test_all_bytes_may_be_left(s3: S3Server, tmp_path: Path) -> None:
    killed_after(s3, tmp_path, 1)
    (partial,) = tmp_path.rglob("partial")
    partial.write_bytes(CONTENT)
    assert fetch(SOURCE, str(tmp_path)).paths[0].read_bytes() == CONTENT
    assert s3.gets == []


MEASURE = """
import os, sys
import awscrt.checksums, boto3
from shared.models.s3.source import fetch

def status(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name))

before = status("VmRSS:")
files = fetch(*sys.argv[1:])
held = sum(512 * os.fstat(descriptor).st_blocks for descriptor in files.descriptors)
print((status("VmHWM:") - before) * 1024, held)
"""


@pytest.mark.parametrize("place", ["memory", "directory"])
@pytest.mark.parametrize("n_files", [1, 2])
def test_beside_the_model_it_takes_little_memory(
    s3: S3Server, tmp_path: Path, place: str, n_files: int
) -> None:
    # In memory the model is in pages of the file, which no process has mapped yet.
    size = 200 * 10**6 // n_files
    names = ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"] if n_files == 2 else ["m.gguf"]
    for name in names:
        s3.put(name, b"GGUF" + np.random.default_rng(1).bytes(size - 4))
    cache = "memory" if place == "memory" else str(tmp_path)
    with start(MEASURE, f"s3://{BUCKET}/{names[0]}", cache) as process:
        taken, held = map(int, process.communicate(timeout=300)[0].split())
    assert taken <= 192 * 2**20  # of which the client has 128 MiB for parts
    assert held <= (size * n_files + n_files * 4096 if place == "memory" else 0)
