"""What a fetch leaves in the process, which a snapshot would carry into others: the model only."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from shared.models.sources import BUILTIN_PATH
from tests.models.s3_server import BUCKET, S3Server, environment
from tests.server import environment as without_settings

SCAN = """
import gc, json, os, pathlib, sys
from shared.runtime.loader import ModelLoader
from shared.config.settings import Settings

loader = ModelLoader(Settings(model=sys.argv[1], model_cache="memory"))
loader.start()
served = loader.wait()
gc.collect()  # as all do that start a server or take a snapshot
kinds = {}
for each in gc.get_objects():
    name = f"{type(each).__module__}.{type(each).__qualname__}"
    kinds[name] = kinds.get(name, 0) + 1
links = []
for descriptor in os.listdir("/proc/self/fd"):
    try:
        links.append(os.readlink(f"/proc/self/fd/{descriptor}"))
    except OSError:  # the listing's own
        pass
print(json.dumps({
    "kinds": kinds,
    "links": links,
    "threads": [
        pathlib.Path(f"/proc/self/task/{thread}/comm").read_text().strip()
        for thread in os.listdir("/proc/self/task")
    ],
}))
served.close()
"""


@pytest.fixture(scope="module")
def remains(processes: None) -> dict[str, object]:
    """What is in a process that has loaded the built-in model from S3."""
    server = S3Server()
    server.put("tiny.gguf", BUILTIN_PATH.read_bytes())
    with server.serving():
        printed = subprocess.run(
            [sys.executable, "-c", SCAN, f"s3://{BUCKET}/tiny.gguf"],
            env={**without_settings(), **environment(server.url)},
            stdout=subprocess.PIPE,
            check=True,
        ).stdout
    found: dict[str, object] = json.loads(printed)
    return found


def test_no_connection_and_no_file(remains: dict[str, list[str]]) -> None:
    left = [link for link in remains["links"] if link.startswith(("socket:", "/memfd:"))]
    assert left == []


def test_no_thread_that_downloads(remains: dict[str, list[str]]) -> None:
    left = [name for name in remains["threads"] if name.startswith(("Aws", "EvntLoop"))]
    assert left == []


@pytest.mark.parametrize(
    "kind",
    [
        "botocore.client.S3",
        "botocore.session.Session",
        "botocore.credentials.Credentials",
        "botocore.httpsession.URLLib3Session",
        "awscrt.s3.S3Client",
        "awscrt.io.EventLoopGroup",
        "http.client.HTTPConnection",
        "socket.socket",
        "shared.models.s3.object.S3Object",
        "shared.models.s3.access.S3Access",
    ],
)
def test_no_client_and_no_credentials(remains: dict[str, dict[str, int]], kind: str) -> None:
    assert remains["kinds"].get(kind, 0) == 0


def test_the_scan_sees_what_is_there(remains: dict[str, dict[str, int]]) -> None:
    assert remains["kinds"]["shared.runtime.served_model.ServedModel"] == 1
