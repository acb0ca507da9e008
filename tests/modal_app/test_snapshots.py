"""Copies of a container's memory share nothing that they must not, and serve."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.modal_app.control_plane import ROOT
from tests.modal_app.variables import KEY_HASH, environment

pytestmark = pytest.mark.usefixtures("processes")


class _Refusing(BaseHTTPRequestHandler):
    """AWS, which denies everything and notes by whose key it was asked."""

    def _refuse(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", "0")))
        server: Any = self.server
        server.keys += re.findall(r"Credential=([^/]+)/", self.headers["authorization"])
        self.send_response(403)
        self.send_header("content-length", "0")
        self.end_headers()

    do_PUT = do_POST = do_GET = do_HEAD = _refuse

    def log_message(self, format: str, *args: object) -> None:
        """Not to the tests' output."""


@pytest.fixture
def aws() -> Iterator[ThreadingHTTPServer]:
    """An endpoint in the place of AWS; ``keys`` are the access keys that requests came with."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Refusing)
    vars(server)["keys"] = []
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(("way", "gpu_snapshot"), [("fork", "false"), ("repeat", "true")])
def test_two_copies_differ_where_they_must_and_both_serve(
    aws: ThreadingHTTPServer, tmp_path: Path, way: str, gpu_snapshot: str
) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.modal_app.run_snapshot", way],
        cwd=ROOT,
        env=environment(
            {
                "PILOTLIGHT_API_KEY_HASH": KEY_HASH,
                "PILOTLIGHT_MODAL_GPU_SNAPSHOT": gpu_snapshot,
                "PILOTLIGHT_STORE": "dynamodb:table,bucket",
                "AWS_ENDPOINT_URL": f"http://127.0.0.1:{aws.server_port}",
                "AWS_DEFAULT_REGION": "eu-central-1",
                "AWS_ACCESS_KEY_ID": "before-the-snapshot",
                "AWS_SECRET_ACCESS_KEY": "secret",
                "AWS_MAX_ATTEMPTS": "1",
            }
        ),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    first, second = (json.loads(line) for line in ended.stdout.splitlines())

    assert "Paris" in first["answer"]
    assert first["answer"] == second["answer"]
    for name in ("id", "request_id", "random", "varied"):
        assert first[name] != second[name], name
    assert set(vars(aws)["keys"]) == {"copy-0", "copy-1"}
